/*
 * shell_edit: lines from a terminal, edited by libedit.
 *
 * Built without it, shell_edit_new() says that there is none.
 */
#include "shell.h"

#ifdef KEVO_EDIT

#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct shell_edit {
	struct shell *sh;
	EditLine *el;
	History *history;
	const char *prompt;
	char *line;
};

static char *
prompt_of(EditLine *el)
{
	struct shell_edit *e = NULL;
	static char none[] = "";

	el_get(el, EL_CLIENTDATA, &e);
	return e != NULL ? (char *)(uintptr_t)e->prompt : none;
}

/* ---- completion -------------------------------------------------------- */

static size_t
characters(const char *s, size_t len)
{
	size_t i, n = 0;

	for (i = 0; i < len; i++)
		n += ((unsigned char)s[i] & 0xc0) != 0x80;
	return n;
}

/* Words in columns, as many as fit. */
static void
list(const struct shell_choices *c)
{
	struct winsize w = { .ws_row = 0 };
	size_t i, n, len, widest = 0, columns;
	size_t count = c->count - (c->more ? 1 : 0);

	for (i = 0; i < count; i++) {
		len = characters(c->word[i], strlen(c->word[i])) + 2;
		widest = len > widest ? len : widest;
	}
	ioctl(1, TIOCGWINSZ, &w);
	columns = (w.ws_col > 0 ? w.ws_col : 80u) / (widest > 0 ? widest : 1);
	putchar('\n');
	for (i = 0, n = 1; i < count; i++, n++) {
		len = characters(c->word[i], strlen(c->word[i]));
		printf("%s%*s", c->word[i], n < columns && i + 1 < count ?
		    (int)(widest - len) : 0, "");
		if (n >= columns) {
			putchar('\n');
			n = 0;
		}
	}
	if (n > 1)
		putchar('\n');
	if (c->more)
		puts("...");
	fflush(stdout);
}

/* Put the words' common part in the place of what was typed; whether that
 * changed anything. */
static int
insert(EditLine *el, const struct shell_choices *c, const char *typed,
    size_t len)
{
	size_t n = strlen(c->common);

	if (n < len || (n == len && memcmp(c->common, typed, n) == 0))
		return 0;
	el_deletestr(el, (int)characters(typed, len));
	el_insertstr(el, c->common);
	return 1;
}

static unsigned char
complete(EditLine *el, int ch)
{
	const LineInfo *info = el_line(el);
	size_t cursor = (size_t)(info->cursor - info->buffer), len;
	struct shell_edit *e = NULL;
	struct shell_choices c;
	int result = CC_ERROR;
	char *typed;

	(void)ch;
	el_get(el, EL_CLIENTDATA, &e);
	/* libedit's buffer moves under what is inserted. */
	if ((typed = strndup(info->buffer, cursor)) == NULL)
		return CC_ERROR;
	shell_complete(e->sh, typed, cursor, &c);
	len = cursor - c.start;
	if (insert(el, &c, typed + c.start, len))
		result = CC_REFRESH;
	if (c.whole && c.common[strlen(c.common) - 1] != '/') {
		el_insertstr(el, " ");
		result = CC_REFRESH;
	} else if (c.count > 1 && result == CC_ERROR) {
		list(&c);
		result = CC_REDISPLAY;
	}
	shell_choices_free(&c);
	free(typed);
	return (unsigned char)result;
}

/* ---- lines ------------------------------------------------------------- */

#ifdef __SANITIZE_ADDRESS__
/* libedit 3.1 never frees the two names that EL_ADDFN copies. */
const char *__lsan_default_suppressions(void);

const char *
__lsan_default_suppressions(void)
{
	return "leak:wcsdup\n";
}
#endif

static void
set_up(struct shell_edit *e)
{
	HistEvent ev;

	el_set(e->el, EL_CLIENTDATA, e);
	el_set(e->el, EL_PROMPT, prompt_of);
	el_set(e->el, EL_EDITOR, "emacs");
	el_set(e->el, EL_SIGNAL, 0);
	el_set(e->el, EL_ADDFN, "kevo-complete", "complete a word", complete);
	el_set(e->el, EL_BIND, "^I", "kevo-complete", NULL);
	el_set(e->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
	if ((e->history = history_init()) != NULL) {
		history(e->history, &ev, H_SETSIZE, 10000);
		el_set(e->el, EL_HIST, history, e->history);
	}
	el_source(e->el, NULL);
}

struct shell_edit *
shell_edit_new(struct shell *sh)
{
	struct shell_edit *e;
	size_t i;

	/* What is typed is UTF-8, whatever the environment says. */
	if (setlocale(LC_CTYPE, "C.UTF-8") == NULL ||
	    (e = calloc(1, sizeof(*e))) == NULL)
		return NULL;
	e->sh = sh;
	e->prompt = "";
	if ((e->el = el_init("kevo", stdin, stdout, stderr)) == NULL) {
		free(e);
		return NULL;
	}
	set_up(e);
	for (i = 0; i < sh->history.count; i++)
		shell_edit_remember(e, sh->history.line[i]);
	return e;
}

void
shell_edit_free(struct shell_edit *e)
{
	if (e == NULL)
		return;
	if (e->history != NULL)
		history_end(e->history);
	el_end(e->el);
	free(e->line);
	free(e);
}

int
shell_edit_line(struct shell_edit *e, const char *prompt, char **line,
    size_t *len)
{
	const char *s;
	int n = 0;

	/* Before the prompt is seen: what is typed next is for libedit. */
	el_set(e->el, EL_PREP_TERM, 1);
	e->prompt = prompt;
	errno = 0;
	s = el_gets(e->el, &n);
	if (s == NULL || n <= 0)
		return n < 0 || errno == EINTR ? -1 : 0;
	while (n > 0 && (s[n - 1] == '\n' || s[n - 1] == '\r'))
		n--;
	free(e->line);
	if ((e->line = strndup(s, (size_t)n)) == NULL)
		return -1;
	*line = e->line;
	*len = (size_t)n;
	return 1;
}

void
shell_edit_remember(struct shell_edit *e, const char *line)
{
	HistEvent ev;

	if (e != NULL && e->history != NULL)
		history(e->history, &ev, H_ENTER, line);
}

#else

struct shell_edit *
shell_edit_new(struct shell *sh)
{
	(void)sh;
	return NULL;
}

void
shell_edit_free(struct shell_edit *e)
{
	(void)e;
}

int
shell_edit_line(struct shell_edit *e, const char *prompt, char **line,
    size_t *len)
{
	(void)e;
	(void)prompt;
	(void)line;
	(void)len;
	return 0;
}

void
shell_edit_remember(struct shell_edit *e, const char *line)
{
	(void)e;
	(void)line;
}

#endif
