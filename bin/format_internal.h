/*
 * format_internal: what the files format*.c share; nobody else includes it.
 *
 * format.c holds one struct format_ops for each format and the functions of
 * format.h.  format_input.c finds tokens in the input and reports what is
 * wrong with them.  Each other file knows some formats.
 *
 * Reading is done in place: a record points into the input's buffer, and
 * escapes are removed there.  So a reader first finds the whole record,
 * which may move the buffer, and only then makes pointers.  Offsets are
 * relative to the first byte not yet taken (in->buf + in->pos); they
 * survive a move.
 */
#ifndef FORMAT_INTERNAL_H
#define FORMAT_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "cli.h"
#include "format.h"

struct format_reader {
	const struct format *f;
	struct cli_in *in;
	const struct format_ops *ops;
	uint64_t line;		/* of the record being read, from 1 */
	uint64_t lines;		/* csv: line ends in the record before */
	uint64_t taken;		/* bytes taken before it */
	int started;		/* the header was read */
	int ended;		/* the end mark was read */
	int notation;		/* db: what the header says, or 0 */
};

/* What a format can do besides writing key and value. */
enum {
	CAN_READ = 1,
	CAN_READ_KEYS = 2,
	CAN_WRITE = 4,
	CAN_WRITE_KEYS = 8,
	CAN_WRITE_VALUES = 16,
	CAN_META = 32,
	CAN_DELETE = 64,
	IS_BINARY = 128		/* messages name bytes, not lines */
};

struct format_ops {
	const char *name;
	unsigned can;
	int (*read)(struct format_reader *r, struct format_record *rec);
	void (*begin)(const struct format *f);
	void (*write)(const struct format *f, const struct kevo_record *rec);
	void (*remove)(const struct format *f, const struct kevo_record *rec);
	void (*end)(const struct format *f);
};

extern const struct format_ops format_tsv, format_text, format_hex,
    format_base64, format_ops_lines, format_nul, format_raw, format_cdb,
    format_jsonl, format_jsonl64, format_csv, format_db, format_lmdb,
    format_resp, format_sql;

/* ---- input: format_input.c --------------------------------------------- */

/* Malformed: report the record's line, or in a binary format byte off of
 * the record, and end the program with 65.  hint may be NULL. */
void format_bad(struct format_reader *r, const char *hint, const char *fmt,
    ...) __attribute__((noreturn, format(printf, 3, 4)));
void format_bad_at(struct format_reader *r, size_t off, const char *fmt, ...)
    __attribute__((noreturn, format(printf, 3, 4)));

/* Malformed unless the length is allowed. */
void format_check_key(struct format_reader *r, size_t klen);
void format_check_value(struct format_reader *r, size_t vlen);

/* The first byte not yet taken; valid until more is read. */
static inline uint8_t *
format_at(struct format_reader *r)
{
	return r->in->buf + r->in->pos;
}

/* Bytes that can be looked at without reading. */
static inline size_t
format_have(const struct format_reader *r)
{
	return r->in->end - r->in->pos;
}

/* Read on until there is more than have bytes; 0 at the end of input. */
int format_more(struct format_reader *r, size_t have);

/* Make n bytes available, whatever n claims: memory grows only as they
 * really arrive.  0 if the input ends before. */
int format_fill(struct format_reader *r, size_t n);

/* The byte at off, or -1 at the end of input. */
int format_byte(struct format_reader *r, size_t off);

/* Take n bytes that are available. */
void format_take(struct format_reader *r, size_t n);

/*
 * Find delim at or after from.  Returns its offset; FORMAT_NONE if the
 * input ends without it, when all of it is available; FORMAT_LONG if it is
 * not among the first max bytes.
 */
#define FORMAT_NONE ((size_t)-1)
#define FORMAT_LONG ((size_t)-2)
size_t format_find(struct format_reader *r, size_t from, int delim,
    size_t max);

/* A record that the format cannot hold: report its key and end the program
 * with 65.  hint may be NULL. */
void format_refuse(const struct kevo_record *rec, const char *hint,
    const char *why) __attribute__((noreturn));

/* ---- codes: format_code.c ---------------------------------------------- */

/* Encode into dst: 2 * len bytes, or base64_size(len). */
size_t hex_encode(uint8_t *dst, const uint8_t *src, size_t len);
size_t base64_encode(uint8_t *dst, const uint8_t *src, size_t len);

static inline size_t
base64_size(size_t len)
{
	return (len + 2) / 3 * 4;
}

/* Decode into dst, which may be src.  Returns the length, or (size_t)-1
 * with *bad set to the offset of what is wrong. */
size_t hex_decode(uint8_t *dst, const uint8_t *src, size_t len, size_t *bad);
size_t base64_decode(uint8_t *dst, const uint8_t *src, size_t len,
    size_t *bad);

/* The value of a hexadecimal digit, or -1. */
int hex_digit(uint8_t c);

/*
 * Write a field to cli_out through an encoder that makes at most grow bytes
 * of each one; long fields go in pieces, so that memory stays small.  Pieces
 * are multiples of 3 bytes and do not split a character of UTF-8.
 */
typedef size_t format_encoder(uint8_t *dst, const uint8_t *src, size_t len);
void format_put(format_encoder *encode, size_t grow, const void *p,
    size_t len);

/* A decimal number at dst, which has room for 20 bytes; its length. */
size_t format_decimal(uint8_t *dst, uint64_t n);

/* cli_out of a string, and of a number. */
void format_puts(const char *s);
void format_putn(uint64_t n);

/* ---- JSON: format_json.c ----------------------------------------------- */

/* A place in JSON text; error is set by what returned 0. */
struct json {
	const uint8_t *p, *end;
	const char *error;
};

struct json_string {
	const uint8_t *p;	/* between the quotes */
	size_t len;
	int escapes;		/* it has some */
};

void json_space(struct json *j);

/* Pass one string, number or value of any kind; 1, or 0 if malformed. */
int json_string(struct json *j, struct json_string *s);
int json_number(struct json *j);
int json_value(struct json *j);

/* Whether all of p is one JSON value. */
int json_valid(const uint8_t *p, size_t len);

/* Remove the escapes of a string that json_string() passed; dst may be its
 * own place.  Returns the length. */
size_t json_decode(uint8_t *dst, const struct json_string *s);

/* Encode for between quotes: at most 6 bytes for each one of well-formed
 * UTF-8.  The second form is for terminals. */
size_t json_encode(uint8_t *dst, const uint8_t *src, size_t len);
size_t json_encode_terminal(uint8_t *dst, const uint8_t *src, size_t len);

/* Write a member to cli_out, as NAME or, if it is not UTF-8, NAME_base64; and
 * a time as seconds. */
void json_put_member(const struct format *f, const char *name, const void *p,
    size_t len);
void json_put_seconds(uint64_t ns);

#endif /* FORMAT_INTERNAL_H */
