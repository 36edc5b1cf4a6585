/*
 * command: transactions of kevo-txn, as events of a history.
 *
 * Such a transaction is many processes: kevo-txn, a shell that it runs, and a
 * tool for everything that the shell does.  What is read, and what is about
 * to be written, the shell writes down in a file, and last of all that it has
 * come to its end.  So whoever is killed, it is known what the transaction
 * would have done; and one that did not come to its end has changed nothing,
 * whatever its tools were told.
 *
 * What a command that fails has read was so at some moment; what it has
 * written was never so.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "work.h"

enum how {
	PLAIN,
	FAILS,		/* exits with 3 when half is done */
	KILLED,		/* kevo-txn is killed then, and its tools go on */
	UNDONE,		/* one within it fails, */
	SLAIN,		/* or is killed; it goes on without that one */
	NESTED,		/* its second half is one within it */
	HOWS
};

static const char *const how_words[HOWS] = {
	"plain", "fails", "killed", "undone", "slain", "nested"
};

enum shape { TRANSFER, POP, SEVERAL, LOOK, SHAPES };

static const char *const shape_words[SHAPES] = {
	"transfer", "pop", "several", "look"
};

#define NAMES(shape) { "command " shape, "command " shape ", that fails", \
	"command " shape ", killed", "command " shape ", one within undone", \
	"command " shape ", one within killed", "command " shape ", nested" }

static const char *const names[SHAPES][HOWS] = {
	NAMES("transfer"), NAMES("pop"), NAMES("several"), NAMES("look")
};

/*
 * sh -c SCRIPT sh BASE PADDING SEED TRIES HOW SHAPE KEY...: parts of the event
 * are numbered as the keys are.
 */
static const char script[] =
"base=$1 pad=$2 seed=$3 tries=$4 how=$5 shape=$6\n"
"shift 6\n"
"tab='\t'\n"
/* has_read PART LINE: a line of -m. */
"has_read() {\n"
"	rest=${2#*\"$tab\"}\n"
"	text=${rest#*\"$tab\"}\n"
"	echo \"r $1 ${rest%%\"$tab\"*} $text\"\n"
"	n=$((${text%%.*} & 1048575))\n"
"}\n"
"get() {\n"
"	n=0\n"
"	line=$(kevo-get -m @ \"$2\")\n"
"	case $? in\n"
"	0)	has_read \"$1\" \"$line\" ;;\n"
"	1)	echo \"r $1 0 0\" ;;\n"
"	*)	exit 99 ;;\n"
"	esac\n"
"}\n"
/* What part $1 puts, for the number $2. */
"value() {\n"
"	v=$((base | $1 << 20 | $2))\n"
"	echo \"w $1 $v\"\n"
"	v=$v.$pad\n"
"}\n"
"put() {\n"
"	value \"$1\" \"$3\"\n"
"	kevo-put @ \"$2\" \"$v\" || exit 99\n"
"}\n"
/* After half of it: KEY OTHER. */
"halfway() {\n"
"	case $how in\n"
"	fails)	exit 3 ;;\n"
"	killed)	[ $PPID = $H_REAPER ] || kill -KILL $PPID\n"
"		while [ $tries -gt 0 ]; do\n"
"			kevo-put -w 0 @ \"$2\" lost 2>/dev/null\n"
"			[ $? -ne 69 ] || { echo ended; exit; }\n"
"			tries=$((tries - 1))\n"
"		done\n"
"		exit ;;\n"
"	undone)	kevo-txn @ -- sh -c 'kevo-put @ \"$1\" lost\n"
"			kevo-put @ \"$2\" lost; kevo-delete @ \"$1\"\n"
"			exit 4' sh \"$1\" \"$2\"\n"
"		[ $? -eq 4 ] || exit 99 ;;\n"
"	slain)	kevo-txn @ -- sh -c 'kevo-delete @ \"$2\"\n"
"			kevo-put @ \"$1\" lost\n"
"			[ $PPID = $H_REAPER ] || kill -KILL $PPID\n"
"			' sh \"$1\" \"$2\" 2>/dev/null\n"
"		[ $? -eq 137 ] || exit 99 ;;\n"
"	esac\n"
"}\n"
"second() {\n"
"	case $how in\n"
"	nested)	kevo-txn @ -- \"$@\" || exit 99 ;;\n"
"	*)	\"$@\" || exit 99 ;;\n"
"	esac\n"
"}\n"
"transfer() {\n"
"	get 0 \"$1\"; a=$n\n"
"	get 1 \"$2\"; b=$n\n"
"	[ $a -gt 0 ] || return 0\n"
"	sum=$((1 + seed % a))\n"
"	put 0 \"$1\" $((a - sum)); mine=$v\n"
"	halfway \"$1\" \"$2\"\n"
"	[ \"$(kevo-get @ \"$1\")\" = \"$mine\" ] || exit 99\n"
"	value 1 $((b + sum))\n"
"	second kevo-put @ \"$2\" \"$v\"\n"
"}\n"
/* The first of a queue goes. */
"pop() {\n"
"	line=$(kevo-scan -m -l 1 @ slot/) || exit 99\n"
"	key=${line%%\"$tab\"*}\n"
"	i=0\n"
"	for k; do\n"
"		[ \"$k\" != \"$key\" ] || break\n"
"		echo \"r $i 0 0\"\n"
"		i=$((i + 1))\n"
"	done\n"
"	[ -n \"$key\" ] || return 0\n"
"	has_read $i \"$line\"\n"
"	echo \"d $i\"\n"
"	halfway \"$key\" slot/0\n"
"	second kevo-delete @ \"$key\"\n"
"}\n"
/* Many at once, from standard input. */
"several() {\n"
"	i=0 lines=\n"
"	for k; do\n"
"		value $i 0\n"
"		lines=\"$lines$k$tab$v\n\"\n"
"		i=$((i + 1))\n"
"	done\n"
"	printf %s \"$lines\" | kevo-put -i @ || exit 99\n"
"	halfway \"$1\" \"$2\"\n"
"	[ \"$(kevo-scan -c @ reg/)\" -ge 3 ] || exit 99\n"
"}\n"
"look() {\n"
"	i=0\n"
"	for k; do\n"
"		get $i \"$k\"\n"
"		i=$((i + 1))\n"
"	done\n"
"}\n"
"$shape \"$@\"\n"
"echo end\n";

/* ---- what it wrote down ------------------------------------------------- */

struct notes {
	int end;	/* it came to its end */
	int ended;	/* its tools were told that it has ended */
};

int
h_is_command(const struct h_event *e)
{
	return e->what != NULL && strncmp(e->what, "command ", 8) == 0;
}

static void
notes_path(const struct h_run *run, unsigned w, char path[256])
{
	snprintf(path, 256, "%s/notes.%u", run->notes, w);
}

/* `r PART VERSION TEXT', `w PART VALUE', `d PART'. */
static void
take_line(struct h_event *e, char *line, struct notes *n)
{
	char kind = line[0], *at = line + 1;
	unsigned long part = strtoul(at, &at, 10);
	struct h_part *p = &e->part[part];

	n->end |= strcmp(line, "end") == 0;
	n->ended |= strcmp(line, "ended") == 0;
	if (line[1] != ' ' || part >= e->nparts)
		return;
	if (kind == 'r') {
		p->flags |= H_READ;
		p->got_version = strtoull(at, &at, 10);
		at += *at == ' ';
		p->got = strcmp(at, "0") == 0 ? 0 :
		    h_text_value(at, strlen(at));
	} else {
		p->flags |= H_WRITE;
		p->put = kind == 'w' ? strtoull(at, NULL, 10) : 0;
	}
}

/* A line that a kill has cut short does not count. */
static struct notes
take_notes(const struct h_run *run, unsigned w, struct h_event *e)
{
	struct notes n = { 0, 0 };
	char path[256], line[VALUE_ROOM + 64], *end;
	FILE *f;

	notes_path(run, w, path);
	if ((f = fopen(path, "r")) == NULL)
		return n;
	while (fgets(line, sizeof(line), f) != NULL &&
	    (end = strchr(line, '\n')) != NULL) {
		*end = '\0';
		take_line(e, line, &n);
	}
	fclose(f);
	return n;
}

/* It did not take place: only what it read counts, or not even that. */
static void
undo(struct h_event *e, int outcome)
{
	for (unsigned p = 0; p < e->nparts; p++)
		e->part[p].flags &= (uint8_t)~H_WRITE;
	e->outcome = (uint8_t)outcome;
}

void
h_command_left(struct h_run *run, unsigned w, struct h_event *e)
{
	if (!take_notes(run, w, e).end)
		undo(e, H_NOTHING);
}

/* ---- running it --------------------------------------------------------- */

static void
choose_keys(struct work *k, enum shape shape)
{
	unsigned from = work_rnd(H_ACCOUNTS);
	unsigned more = 1 + work_rnd(H_ACCOUNTS - 1), i;

	switch (shape) {
	case TRANSFER:
		work_part(k, H_ACCOUNT0 + from);
		work_part(k, H_ACCOUNT0 + (from + more) % H_ACCOUNTS);
		break;
	case POP:
		for (i = 0; i < H_SLOTS; i++)
			work_part(k, H_SLOT0 + i);
		break;
	case SEVERAL:
		for (i = 0; i < 3; i++)
			work_part(k, (from + i) % H_REGISTERS);
		break;
	case LOOK:
	case SHAPES:
		for (i = 0; i < 4; i++)
			work_part(k, (from * 4 + i * 5) % H_KEYS);
	}
}

/* In the child.  Who starts it may be killed; then it is not run. */
static void
become(struct work *k, enum shape shape, enum how how, int pipe_fd,
    pid_t parent)
{
	char base[24], random[24], text[VALUE_ROOM], path[256], *argv[24];
	static char sync[3][16] = { "--sync=full", "--sync=batch",
		"--sync=none" };
	uint64_t value = h_value(k->i, 0, 0);
	int n = 0, fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	notes_path(k->run, k->w, path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (getppid() != parent || fd < 0 || dup2(fd, 1) != 1 ||
	    dup2(pipe_fd, 2) != 2)
		_exit(98);
	snprintf(base, sizeof(base), "%" PRIu64, value);
	snprintf(random, sizeof(random), "%u", work_rnd(1 << 20));
	text[h_value_text(value, text)] = '\0';
	argv[n++] = strdup("kevo-txn");
	argv[n++] = shape == LOOK ? strdup("-R") : sync[work_rnd(3)];
	argv[n++] = strdup("--wait=20");
	argv[n++] = strdup(k->path);
	argv[n++] = strdup("--");
	argv[n++] = strdup("sh");
	argv[n++] = strdup("-c");
	argv[n++] = strdup(script);
	argv[n++] = strdup("sh");
	argv[n++] = base;
	argv[n++] = strchr(text, '.') + 1;
	argv[n++] = random;
	argv[n++] = strdup(k->run->without ? "1" : "1000");
	argv[n++] = strdup(how_words[how]);
	argv[n++] = strdup(shape_words[shape]);
	for (unsigned i = 0; i < k->e->nparts; i++)
		argv[n++] = strdup(h_key(k->e->part[i].key));
	argv[n] = NULL;
	execvp(argv[0], argv);
	_exit(97);
}

/* Until the last of its processes is gone; the status of kevo-txn, and what
 * was said on standard error. */
static int
run_command(struct work *k, enum shape shape, enum how how, char *said,
    size_t size)
{
	pid_t parent = getpid(), pid;
	size_t len = 0;
	ssize_t n;
	int p[2], status;

	if (pipe2(p, O_CLOEXEC) != 0)
		work_wrong(k, 0, "no pipe");
	/* From here on the notes are this one's. */
	work_may_change(k);
	if ((pid = fork()) < 0)
		work_wrong(k, 0, "cannot fork");
	if (pid == 0)
		become(k, shape, how, p[1], parent);
	close(p[1]);
	while ((n = read(p[0], said + len, size - 1 - len)) > 0)
		len += (size_t)n;
	close(p[0]);
	said[len] = '\0';
	said[strcspn(said, "\n")] = '\0';
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) :
	    WEXITSTATUS(status);
}

static void
judge_status(struct work *k, int status, enum how how, const char *said)
{
	struct notes n = take_notes(k->run, k->w, k->e);
	char text[300];

	if (status == 0 && n.end)
		return;
	undo(k->e, H_NOTHING);
	if (status == 3 && how == FAILS)
		k->e->outcome = H_DONE;
	else if (status != 75 && !(status == 137 && how == KILLED &&
	    n.ended) && !k->run->without) {
		snprintf(text, sizeof(text), "%s: status %d: %.200s",
		    k->e->what, status, said);
		work_wrong(k, 0, text);
	}
}

void
work_command(struct work *k)
{
	enum shape shape = (enum shape)work_rnd(SHAPES);
	enum how how = work_rnd(3) == 0 ? PLAIN : (enum how)work_rnd(HOWS);
	char said[512], path[256];
	unsigned key;
	int status;

	if (shape == LOOK)
		how = PLAIN;
	if (!work_begin(k, names[shape][how]))
		return;
	choose_keys(k, shape);
	key = k->e->part[0].key;
	notes_path(k->run, k->w, path);
	unlink(path);
	status = run_command(k, shape, how, said, sizeof(said));
	k->e->end = h_now_ns();
	atomic_signal_fence(memory_order_seq_cst);
	/* Killed from here on, the notes are looked at again. */
	judge_status(k, status, how, said);
	if (k->e->outcome == H_OPEN)
		k->e->outcome = H_DONE;
	work_get(k, key);
}
