/*
 * shell_words: words of the shell's language.
 *
 * A word ends at a blank.  One that begins with a quote is a C string, so
 * that every byte can be typed.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "escape.h"
#include "format_internal.h"
#include "shell.h"

static int
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

void
shell_skip_blanks(struct shell_text *t)
{
	while (t->len > 0 && is_blank(*t->p)) {
		t->p++;
		t->len--;
	}
}

int
shell_is(const struct shell_text *word, const char *name)
{
	return word->len == strlen(name) &&
	    strncasecmp(word->p, name, word->len) == 0;
}

/* ---- C strings --------------------------------------------------------- */

/* The byte that a letter stands for behind a backslash, or -1. */
static int
letter(char c)
{
	static const char from[] = "abfnrtv\\\"'?";
	static const char to[] = "\a\b\f\n\r\t\v\\\"'?";
	const char *at = c != '\0' ? strchr(from, c) : NULL;

	return at != NULL ? (unsigned char)to[at - from] : -1;
}

/* Decode the escape at p, behind its backslash; 0 if it is none. */
static size_t
escape(const char *p, size_t len, char *out)
{
	size_t n = 0;
	int c, v = 0;

	if (len == 0)
		return 0;
	if ((c = letter(*p)) >= 0) {
		*out = (char)c;
		return 1;
	}
	if (*p == 'x') {
		if (len < 3 || hex_digit((uint8_t)p[1]) < 0 ||
		    hex_digit((uint8_t)p[2]) < 0)
			return 0;
		*out = (char)(hex_digit((uint8_t)p[1]) << 4 |
		    hex_digit((uint8_t)p[2]));
		return 3;
	}
	while (n < 3 && n < len && p[n] >= '0' && p[n] <= '7')
		v = v * 8 + (p[n++] - '0');
	if (v > 255)
		return 0;
	*out = (char)v;
	return n;
}

size_t
shell_unquote(char *dst, size_t *dlen, const char *p, size_t len,
    const char **why)
{
	size_t i = 0, n, d = 0;
	char c;

	*why = NULL;
	while (i < len && p[i] != '"') {
		c = p[i];
		n = 1;
		if (c == '\\') {
			if ((n = escape(p + i + 1, len - i - 1, &c)) == 0) {
				*why = "bad escape in a C string";
				break;
			}
			n++;
		}
		dst[d++] = c;
		i += n;
	}
	*dlen = d;
	if (i == len && *why == NULL)
		*why = "a C string without its closing quote";
	return *why == NULL ? i + 1 : i;
}

int
shell_word(struct shell_text *t, struct shell_text *word, const char **why)
{
	size_t n = 0;

	shell_skip_blanks(t);
	if (t->len == 0)
		return 0;
	word->p = t->p;
	if (*t->p == '"') {
		n = 1 + shell_unquote(t->p, &word->len, t->p + 1, t->len - 1,
		    why);
		if (*why == NULL && n < t->len && !is_blank(t->p[n]))
			*why = "text behind a closing quote";
		if (*why != NULL)
			return -1;
	} else {
		while (n < t->len && !is_blank(t->p[n]))
			n++;
		word->len = n;
	}
	t->p += n;
	t->len -= n;
	return 1;
}

/* ---- and back ---------------------------------------------------------- */

/* Whether a key is read back if it is typed as it is. */
static int
is_plain(const uint8_t *p, size_t len)
{
	size_t i, n;

	if (len == 0 || *p == '"')
		return 0;
	for (i = 0; i < len; i += n) {
		n = utf8_len(p + i, len - i);
		if (n == 0 || p[i] <= ' ' || p[i] == 0x7f ||
		    utf8_disturbs(p + i, n))
			return 0;
	}
	return 1;
}

static char *
put_byte(char *d, uint8_t c)
{
	static const char hex[] = "0123456789abcdef";

	*d++ = '\\';
	switch (c) {
	case '\t':
		*d++ = 't';
		break;
	case '\n':
		*d++ = 'n';
		break;
	case '\r':
		*d++ = 'r';
		break;
	case '"':
	case '\\':
		*d++ = (char)c;
		break;
	default:
		*d++ = 'x';
		*d++ = hex[c >> 4];
		*d++ = hex[c & 15];
	}
	return d;
}

char *
shell_quote(const void *key, size_t klen, int always)
{
	const uint8_t *p = key;
	char *s = malloc(4 * klen + 3), *d = s;
	size_t i, n;

	if (s == NULL)
		cli_die(EX_IOERR_, "out of memory");
	if (!always && is_plain(p, klen)) {
		memcpy(s, p, klen);
		s[klen] = '\0';
		return s;
	}
	*d++ = '"';
	for (i = 0; i < klen; i += n) {
		n = utf8_len(p + i, klen - i);
		if (n == 0 || p[i] < ' ' || p[i] == 0x7f || p[i] == '"' ||
		    p[i] == '\\' || utf8_disturbs(p + i, n)) {
			d = put_byte(d, p[i]);
			n = 1;
		} else {
			memcpy(d, p + i, n);
			d += n;
		}
	}
	*d++ = '"';
	*d = '\0';
	return s;
}
