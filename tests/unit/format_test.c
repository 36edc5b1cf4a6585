/*
 * format_test: every format read and written, every complaint, and input
 * that is cut anywhere.
 *
 * A conversion ends the program when its input is malformed, so each runs
 * in a child, with files for its input, output and messages.  KEVO_SEED
 * repeats a run; --convert FROM TO converts standard input, to try other
 * programs by hand, and --bench FROM TO measures.
 */
#include "format.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "escape.h"
#include "format_cases.h"

/* ---- TAP, random numbers ----------------------------------------------- */

static int test_number, failures, bad;
static uint64_t rng_state;

#define check(cond, ...) \
	((cond) ? (void)0 : complain(__LINE__, #cond, __VA_ARGS__))

static void complain(int line, const char *cond, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
complain(int line, const char *cond, const char *fmt, ...)
{
	va_list ap;

	if (bad++ >= 10)
		return;
	printf("# line %d: %s: ", line, cond);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

static void
report(const char *name)
{
	printf("%sok %d - %s\n", bad ? "not " : "", ++test_number, name);
	failures += bad != 0;
	bad = 0;
	fflush(stdout);
}

static uint64_t
rnd(uint64_t n)
{
	uint64_t z = (rng_state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (z ^ (z >> 31)) % n;
}

/* ---- bytes ------------------------------------------------------------- */

struct bytes {
	uint8_t *p;
	size_t len, room;
};

static void
append(struct bytes *b, const void *p, size_t len)
{
	if (b->room - b->len < len) {
		b->room = (b->room + len) * 2 + 64;
		if ((b->p = realloc(b->p, b->room)) == NULL)
			abort();
	}
	if (len > 0)
		memcpy(b->p + b->len, p, len);
	b->len += len;
}

static int
same(const struct bytes *a, const struct bytes *b)
{
	return a->len == b->len && (a->len == 0 ||
	    memcmp(a->p, b->p, a->len) == 0);
}

static struct bytes
from_file(int fd)
{
	struct bytes b = { NULL, 0, 0 };
	off_t size = lseek(fd, 0, SEEK_END);

	append(&b, "", 1);
	b.len = 0;
	if (size <= 0)
		return b;
	b.p = realloc(b.p, (size_t)size + 1);
	if (b.p == NULL || pread(fd, b.p, (size_t)size, 0) != size)
		abort();
	b.len = b.room = (size_t)size;
	b.p[b.len] = 0;
	return b;
}

/* ---- conversions ------------------------------------------------------- */

static int files[3];	/* input, output, messages */

static void
make_files(void)
{
	int i;

	for (i = 0; i < 3; i++)
		if ((files[i] = memfd_create("format_test", 0)) < 0)
			abort();
}

static void
count_error(void *arg)
{
	cli_msg("after %lu", *(unsigned long *)arg);
}

static void
convert(const struct format *from, const struct format *to)
{
	static unsigned long n;
	struct cli_in in;
	struct format_reader *r;
	struct format_record rec;
	struct kevo_record out;

	cli_in_open(&in, NULL);
	r = format_reader_new(from, &in);
	format_on_error = count_error;
	format_on_error_arg = &n;
	format_begin(to);
	while (format_read(r, &rec)) {
		out.key = rec.key;
		out.klen = rec.klen;
		out.value = rec.value;
		out.vlen = rec.vlen;
		out.version = ++n;
		out.expires_ns = rec.expires_ns;
		if (rec.op == FORMAT_DELETE)
			format_write_delete(to, &out);
		else
			format_write(to, &out);
	}
	format_end(to);
	cli_out_flush();
	format_reader_free(r);
	cli_in_close(&in);
}

struct result {
	int status;
	struct bytes out, err;
};

static void
release(struct result *r)
{
	free(r->out.p);
	free(r->err.p);
}

/* Feed input in small pieces, each of which is one read. */
static int
feed(const void *input, size_t len)
{
	const uint8_t *p = input;
	uint64_t most = len < 4000 ? 9 : len / 400;
	int fds[2];
	size_t n;

	if (pipe2(fds, O_DIRECT) != 0 && pipe(fds) != 0)
		abort();
	if (fork() == 0) {
		close(fds[0]);
		for (; len > 0; p += n, len -= n) {
			n = 1 + rnd(most);
			n = n < len ? n : len;
			if (write(fds[1], p, n) != (ssize_t)n)
				break;
		}
		_exit(0);
	}
	close(fds[1]);
	return fds[0];
}

static struct result
run(const struct format *from, const struct format *to, const void *input,
    size_t len, int pieces)
{
	struct result r;
	int i, status, fd = files[0];
	pid_t pid;

	for (i = 0; i < 3; i++)
		if (ftruncate(files[i], 0) != 0 ||
		    lseek(files[i], 0, SEEK_SET) != 0)
			abort();
	if (pieces)
		fd = feed(input, len);
	else if (pwrite(fd, input, len, 0) != (ssize_t)len)
		abort();
	fflush(stdout);
	if ((pid = fork()) == 0) {
		dup2(fd, 0);
		dup2(files[1], 1);
		dup2(files[2], 2);
		convert(from, to);
		exit(0);
	}
	if (pieces)
		close(fd);
	if (waitpid(pid, &status, 0) != pid)
		abort();
	while (pieces && wait(NULL) > 0)
		;
	r.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
	r.out = from_file(files[1]);
	r.err = from_file(files[2]);
	return r;
}

/* "csv:encode=hex,crlf" and so on. */
static struct format
parse(const char *text)
{
	char name[64], *word, *rest;
	struct format f;

	memset(&f, 0, sizeof(f));
	snprintf(name, sizeof(name), "%s", text);
	word = strtok_r(name, ":", &rest);
	f.kind = format_parse(word, ~0u);
	while ((word = strtok_r(NULL, ",", &rest)) != NULL) {
		f.keys_only |= strcmp(word, "k") == 0;
		f.values_only |= strcmp(word, "values") == 0;
		f.meta |= strcmp(word, "m") == 0;
		f.json_values |= strcmp(word, "j") == 0;
		f.crlf |= strcmp(word, "crlf") == 0;
		f.bytevalue |= strcmp(word, "bytevalue") == 0;
		f.terminal |= strcmp(word, "terminal") == 0;
		if (strcmp(word, "hex") == 0)
			f.encode = FORMAT_ENC_HEX;
		if (strcmp(word, "base64") == 0)
			f.encode = FORMAT_ENC_BASE64;
		if (strncmp(word, "table=", 6) == 0)
			f.table = strchr(text, '=') + 1;
		if (strncmp(word, "total=", 6) == 0)
			f.total_records = f.total_bytes = strtoul(word + 6,
			    NULL, 10);
		if (strncmp(word, "mapsize=", 8) == 0)
			f.mapsize = strtoul(word + 8, NULL, 10);
	}
	return f;
}

/* ---- examples ---------------------------------------------------------- */

static void
test_examples(void)
{
	const struct example *e = examples;
	const struct example *end = e + sizeof(examples) / sizeof(*e);
	struct format from, to;
	struct result r;
	int pieces;

	for (; e < end; e++)
		for (pieces = 0; pieces < 2; pieces++) {
			from = parse(e->from);
			to = parse(e->to);
			r = run(&from, &to, e->in, e->in_len, pieces);
			check(r.status == 0, "%s to %s: %d %s", e->from,
			    e->to, r.status, r.err.p);
			check(r.out.len == e->out_len &&
			    memcmp(r.out.p, e->out, e->out_len) == 0,
			    "%s to %s: %s", e->from, e->to, r.out.p);
			release(&r);
		}
	report("format: examples are read and written exactly");
}

/* ---- malformed input --------------------------------------------------- */

static int
says(const struct result *r, const char *text)
{
	return strstr((const char *)r->err.p, text) != NULL;
}

static void
test_complaints(void)
{
	const struct complaint *c = complaints;
	const struct complaint *end = c + sizeof(complaints) / sizeof(*c);
	struct format from, to = parse("hex");
	struct result r;

	for (; c < end; c++) {
		from = parse(c->from);
		to.keys_only = from.keys_only;
		r = run(&from, &to, c->in, c->in_len, 0);
		check(r.status == 65, "%s: %d: %s", c->from, r.status,
		    c->said);
		check(says(&r, "kevo: (stdin)") && says(&r, c->said),
		    "%s: %s instead of %s", c->from, r.err.p, c->said);
		check(says(&r, "after "), "%s: %s", c->from, r.err.p);
		check(c->hint != NULL ? says(&r, "hint: ") &&
		    says(&r, c->hint) : !says(&r, "hint: "), "%s: %s",
		    c->from, r.err.p);
		release(&r);
	}
	report("format: malformed input is 65 with place, reason and hint");
}

/* One record, which may be large, that must be refused or not. */
static void
try_record(const char *from, const char *to, const char *key, size_t klen,
    size_t vlen, int status, const char *said)
{
	struct format f = parse(from), t = parse(to);
	struct bytes b = { NULL, 0, 0 };
	struct result r;
	size_t i;

	for (i = 0; i < klen; i++)
		append(&b, key, strlen(key));
	append(&b, "\t", 1);
	for (i = 0; i < vlen; i++)
		append(&b, "v", 1);
	append(&b, "\n", 1);
	r = run(&f, &t, b.p, b.len, 0);
	check(r.status == status, "%s to %s: %d %s", from, to, r.status,
	    r.err.p);
	check(says(&r, said), "%s to %s: %s", from, to, r.err.p);
	free(b.p);
	release(&r);
}

static void
test_limits(void)
{
	try_record("tsv", "hex", "k", 65536, 10, 0, "");
	try_record("tsv", "hex", "\\x6b", 65536, 10, 0, "");
	try_record("tsv", "hex", "k", 65537, 10, 65, "key of 65537 bytes");
	try_record("tsv", "hex", "k", 1000000, 10, 65, "no TAB in");
	try_record("tsv", "tsv", "k", 1, 1000000, 0, "");
	try_record("tsv", "lmdb", "k", 511, 1, 0, "");
	try_record("tsv", "lmdb", "k", 512, 1, 65, "key kkkkk");
	try_record("tsv", "text", "k\\n", 1, 1, 65, "key k\\n: text cannot");
	try_record("tsv", "nul", "k\\x00", 1, 1, 65, "key k\\x00: nul cannot");
	try_record("tsv", "csv", "\\x00", 1, 1, 65, "hint: use --encode");
	try_record("tsv", "csv", "\\xff", 1, 1, 65, "not UTF-8");
	try_record("raw", "tsv", "k", 1, 1, 64, "can only be written");
	try_record("cdb:k", "tsv", "k", 1, 1, 64, "no lists of keys");
	try_record("tsv", "cdb:k", "k", 1, 1, 64, "keys alone");
	try_record("tsv", "sql:values", "k", 1, 1, 64, "values alone");
	try_record("tsv", "db:m", "k", 1, 1, 64, "no place for versions");
	try_record("tsv", "tsv:j", "k", 1, 1, 64, "-j needs -f jsonl");
	try_record("tsv", "tsv:hex", "k", 1, 1, 64, "--encode needs -f csv");
	report("format: limits of keys and of formats");
}

static void
test_depth(void)
{
	static const char start[] = "{\"key\":\"k\",\"value\":\"\",\"x\":";
	struct format f = parse("jsonl"), t = parse("hex");
	struct bytes b;
	struct result r;
	size_t depth, i;

	for (depth = 512; depth <= 513; depth++) {
		memset(&b, 0, sizeof(b));
		append(&b, start, sizeof(start) - 1);
		for (i = 0; i < depth; i++)
			append(&b, "[", 1);
		for (i = 0; i < depth; i++)
			append(&b, "]", 1);
		append(&b, "}\n", 2);
		r = run(&f, &t, b.p, b.len, 0);
		check(r.status == (depth <= 512 ? 0 : 65), "%s", r.err.p);
		check(depth <= 512 || says(&r, "nested too deeply"), "%s",
		    r.err.p);
		release(&r);
		free(b.p);
	}
	report("format: JSON nests up to a bound");
}

/* ---- round trips ------------------------------------------------------- */

static void
random_bytes(uint8_t *p, size_t len, int utf8)
{
	static const char nasty[] = "\\\t\n\r\x7f\x1b\"', ab";
	static const char *const chars[] = {
		"\xc3\xa9", "\xc2\x85", "\xe2\x82\xac", "\xe2\x80\xae",
		"\xf0\x9f\x98\x80", "\xef\xbb\xbf"
	};
	int how = (int)rnd(4);
	const char *c;
	size_t i, n;

	for (i = 0; i < len; i++) {
		if (how == 0 && !utf8) {
			p[i] = (uint8_t)rnd(256);
		} else if (how == 1) {
			p[i] = (uint8_t)nasty[rnd(sizeof(nasty) - 1)];
		} else if (how == 2 && len - i >= 4) {
			c = chars[rnd(6)];
			n = strlen(c);
			memcpy(p + i, c, n);
			i += n - 1;
		} else {
			p[i] = (uint8_t)(0x20 + rnd(0x5f));
		}
	}
}

/* Records as lines of hex. */
static struct bytes
random_records(size_t count, int utf8)
{
	static const size_t lens[] = {
		1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100, 500, 12287, 12290,
		30000
	};
	static uint8_t p[30000];
	static const char digits[] = "0123456789abcdef";
	struct bytes b = { NULL, 0, 0 };
	size_t i, j, len;
	int field;

	for (i = 0; i < count; i++)
		for (field = 0; field < 2; field++) {
			len = lens[rnd(field == 0 ? 12 : 16)] -
			    (size_t)(field == 1 && rnd(20) == 0);
			if (field == 1 && rnd(10) == 0)
				len = 0;
			random_bytes(p, len, utf8);
			for (j = 0; j < len; j++) {
				append(&b, &digits[p[j] >> 4], 1);
				append(&b, &digits[p[j] & 15], 1);
			}
			append(&b, field == 0 ? "\t" : "\n", 1);
		}
	return b;
}

static void
round_trip(const char *name, const struct bytes *hex, int pieces)
{
	struct format h = parse("hex"), f = parse(name);
	struct result there = run(&h, &f, hex->p, hex->len, 0);
	struct result back = run(&f, &h, there.out.p, there.out.len, pieces);

	check(there.status == 0, "%s: %s", name, there.err.p);
	check(back.status == 0, "%s: %s", name, back.err.p);
	check(same(&back.out, hex), "%s", name);
	release(&there);
	release(&back);
}

static void
test_round_trips(void)
{
	static const char *const names[] = {
		"tsv", "tsv:terminal", "tsv:m", "hex", "base64", "base64:m",
		"jsonl", "jsonl:terminal", "jsonl64", "csv:hex",
		"csv:base64,crlf", "cdb", "db", "db:bytevalue", "lmdb",
		"lmdb:bytevalue", "resp", "ops", "csv", "csv:crlf"
	};
	struct bytes all = random_records(1000, 0);
	struct bytes few = random_records(20, 0);
	struct bytes text = random_records(500, 1);
	size_t i;

	for (i = 0; i < 18; i++) {
		round_trip(names[i], &all, 0);
		round_trip(names[i], &few, 1);
		report(names[i]);
	}
	for (; i < 20; i++) {
		round_trip(names[i], &text, 0);
		report(names[i]);
	}
	free(all.p);
	free(few.p);
	free(text.p);
}

/* ---- cuts and damage --------------------------------------------------- */

static void
test_cuts(void)
{
	static const char hex[] = "61\t62\n0a5cff\t00ff0d0a\n63\t\n";
	static const char *const names[] = {
		"cdb", "db", "db:bytevalue", "lmdb"
	};
	struct format h = parse("hex"), f;
	struct result whole, r;
	size_t i, n;

	for (i = 0; i < 4; i++) {
		f = parse(names[i]);
		whole = run(&h, &f, hex, sizeof(hex) - 1, 0);
		for (n = 0; n < whole.out.len; n++) {
			r = run(&f, &h, whole.out.p, n, 0);
			/* DATA=END is whole without its LF. */
			check(r.status == 65 || (r.status == 0 && i > 0 &&
			    n == whole.out.len - 1 &&
			    strcmp((char *)r.out.p, hex) == 0),
			    "%s cut at %zu: %d", names[i], n, r.status);
			release(&r);
		}
		release(&whole);
	}
	report("format: a cut is never success in cdb, db and lmdb");
}

static void
damage(struct bytes *b)
{
	static const char special[] = "0:,\n\r\\\"{}\t";

	b->p[rnd(b->len)] = rnd(2) ? (uint8_t)rnd(256) :
	    (uint8_t)special[rnd(10)];
}

/* Anything may come in; what comes out must be 0 or 65. */
static void
test_damage(void)
{
	static const char hex[] = "61\t62\n0a5cff\t00ff0d0a\n63\t\n";
	static const char *const names[] = {
		"tsv", "text", "nul", "hex", "base64", "jsonl", "jsonl:j",
		"csv:hex", "cdb", "db", "lmdb:bytevalue", "resp", "ops"
	};
	struct format h = parse("hex"), f, w;
	struct result whole, r;
	size_t i, n, k;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		f = w = parse(names[i]);
		w.kind = f.kind == FORMAT_TEXT || f.kind == FORMAT_NUL ?
		    FORMAT_TSV : f.kind;
		whole = run(&h, &w, hex, sizeof(hex) - 1, 0);
		for (n = 0; n < 30; n++) {
			for (k = 0; k < 1 + rnd(3); k++)
				damage(&whole.out);
			r = run(&f, &h, whole.out.p, whole.out.len, 0);
			check(r.status == 0 || r.status == 65, "%s: %d %s",
			    names[i], r.status, r.err.p);
			release(&r);
		}
		release(&whole);
	}
	report("format: damaged input is read or refused");
}

/* ---- escape.c ---------------------------------------------------------- */

static void
test_utf8(void)
{
	static const uint8_t edge[] = { 0x7f, 0x80, 0xbf, 0xc0 };
	unsigned long two = 0, three = 0, four = 0;
	unsigned a, b, c, d;
	uint8_t p[4];

	for (a = 0x80; a < 256; a++)
		for (b = 0; b < 256; b++) {
			p[0] = (uint8_t)a;
			p[1] = (uint8_t)b;
			two += utf8_len(p, 2) == 2;
			for (c = 0; c < 256; c++) {
				p[2] = (uint8_t)c;
				three += utf8_len(p, 3) == 3;
			}
			for (c = 0; c < 16; c++) {
				p[2] = edge[c / 4];
				p[3] = edge[c % 4];
				four += utf8_len(p, 4) == 4;
			}
		}
	check(two == 1920, "%lu", two);
	check(three == 63488 - 2048, "%lu", three);
	check(four == 4 * 256, "%lu", four);
	for (d = 0; d < 128; d++) {
		p[0] = (uint8_t)d;
		check(utf8_len(p, 1) == 1, "%u", d);
	}
	check(utf8_len(p, 0) == 0, "empty");
	report("escape: exactly well-formed UTF-8");
}

static void
test_escape(void)
{
	uint8_t src[100], code[400], back[400];
	size_t n, len, i, at;

	for (i = 0; i < 20000; i++) {
		len = rnd(sizeof(src) + 1);
		random_bytes(src, len, 0);
		n = escape_encode(code, src, len, (int)rnd(2));
		check(escape_decode(back, code, n, &at) == len &&
		    memcmp(back, src, len) == 0, "%.*s", (int)n, code);
		check(escape_decode(code, code, n, &at) == len &&
		    memcmp(code, src, len) == 0, "in place");
	}
	report("escape: decoding undoes encoding");

	check(escape_decode(back, (const uint8_t *)"ab\\x4", 5, &at) ==
	    (size_t)-1 && at == 2, "%zu", at);
	check(strcmp(format_show_key("a\nb", 3), "a\\nb") == 0, "%s",
	    format_show_key("a\nb", 3));
	memset(src, 1, sizeof(src));
	check(strlen(format_show_key(src, 100)) == 14 * 4 + 3, "%s",
	    format_show_key(src, 100));
	memset(src, 'x', sizeof(src));
	check(strlen(format_show_key(src, 60)) == 60, "60");
	check(strlen(format_show_key(src, 61)) == 60, "61");
	report("format: a shown key is escaped and at most 60 characters");
}

/* ---- main -------------------------------------------------------------- */

static void
bench(const struct format *from, const struct format *to)
{
	struct timespec a, b;

	clock_gettime(CLOCK_MONOTONIC, &a);
	convert(from, to);
	clock_gettime(CLOCK_MONOTONIC, &b);
	fprintf(stderr, "%.3f s\n", (double)(b.tv_sec - a.tv_sec) +
	    (double)(b.tv_nsec - a.tv_nsec) / 1e9);
}

int
main(int argc, char *argv[])
{
	const char *seed = getenv("KEVO_SEED");
	struct format from, to;

	if (argc == 4) {
		from = parse(argv[2]);
		to = parse(argv[3]);
		if (strcmp(argv[1], "--bench") == 0)
			bench(&from, &to);
		else
			convert(&from, &to);
		return 0;
	}
	rng_state = seed != NULL ? strtoull(seed, NULL, 10) :
	    (uint64_t)time(NULL);
	printf("# KEVO_SEED=%llu\n", (unsigned long long)rng_state);
	make_files();
	test_utf8();
	test_escape();
	test_examples();
	test_complaints();
	test_limits();
	test_depth();
	test_round_trips();
	test_cuts();
	test_damage();
	printf("1..%d\n", test_number);
	return failures != 0;
}
