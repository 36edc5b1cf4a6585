/*
 * format: records as text and back, in every format of kevo-formats(7).
 *
 * Readers take a struct cli_in, writers use cli_out.  A malformed record
 * ends the program with 65 and a message that names input, line (or byte)
 * and reason; nothing of the malformed record has been delivered then.
 * Before the program ends, format_on_error(), if set, is called with no
 * record pending, so that a tool commits what came before and says so.
 */
#ifndef FORMAT_H
#define FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include <kevo.h>

struct cli_in;

enum format_kind {
	FORMAT_TSV, FORMAT_TEXT, FORMAT_NUL, FORMAT_RAW, FORMAT_HEX,
	FORMAT_BASE64, FORMAT_JSONL, FORMAT_JSONL64, FORMAT_CSV, FORMAT_CDB,
	FORMAT_DB, FORMAT_LMDB, FORMAT_RESP, FORMAT_SQL, FORMAT_OPS
};

enum format_encode { FORMAT_PLAIN, FORMAT_ENC_HEX, FORMAT_ENC_BASE64 };

struct format {
	enum format_kind kind;
	int keys_only;		/* -k: key lists */
	int values_only;	/* --values (writing) */
	int meta;		/* -m */
	int json_values;	/* -j */
	int crlf;		/* --crlf */
	enum format_encode encode;	/* --encode, csv */
	int bytevalue;		/* --bytevalue, db and lmdb (writing) */
	uint64_t mapsize;	/* --mapsize, lmdb; 0: computed from totals */
	uint64_t total_records, total_bytes;	/* lmdb: of what will come */
	const char *table;	/* --table, sql; NULL: kv */
	int terminal;		/* escape what may disturb a terminal */
	int guarded;		/* ops and text (reading): lines of changes and
				 * of the checks of kevo-txn -i */
};

/* The checks come only when f->guarded asks for them. */
enum format_op {
	FORMAT_PUT, FORMAT_DELETE, FORMAT_CHECK_VALUE, FORMAT_CHECK_VERSION,
	FORMAT_CHECK_ABSENT, FORMAT_CHECK_PRESENT
};

/* A record read; pointers are valid until the next format_read(). */
struct format_record {
	enum format_op op;	/* DELETE only from resp and ops */
	const void *key;
	size_t klen;
	const void *value;
	size_t vlen;
	uint64_t expires_ns;	/* 0: none given */
	uint64_t version;	/* of FORMAT_CHECK_VERSION only */
	uint64_t line;		/* where it began, for messages; in nul, cdb
				 * and resp the number of the record */
};

/* Parse a format's name, or end the program with 64 listing the names that
 * are allowed: bit 1 << kind of allowed. */
enum format_kind format_parse(const char *name, unsigned allowed);
const char *format_name(enum format_kind kind);

/* ---- reading ----------------------------------------------------------- */

extern void (*format_on_error)(void *arg);
extern void *format_on_error_arg;

struct format_reader;

/* f and in are borrowed.  Headers are read by the first format_read(). */
struct format_reader *format_reader_new(const struct format *f,
    struct cli_in *in);
void format_reader_free(struct format_reader *r);

/*
 * Read one record (or one key, when f->keys_only).  Returns 1, or 0 at the
 * proper end of input.  Empty keys, keys and values beyond the engine's
 * limits, and input that was cut are malformed.
 */
int format_read(struct format_reader *r, struct format_record *rec);

/* ---- writing ----------------------------------------------------------- */

/*
 * Write what precedes the records, one record, what follows them, to
 * cli_out.  A record that the format cannot hold ends the program with 65,
 * naming the key.
 */
void format_begin(const struct format *f);
void format_write(const struct format *f, const struct kevo_record *rec);
void format_write_delete(const struct format *f,
    const struct kevo_record *rec);		/* resp and ops only */
void format_end(const struct format *f);

/*
 * Write a change of kevo_feed_change(), with its version: in FORMAT_TSV
 * VERSION, `put` or `delete`, KEY and VALUE, in FORMAT_NUL the same four
 * fields, in FORMAT_JSONL an object; in FORMAT_OPS without the version.  No
 * other format has changes.
 */
void format_write_change(const struct format *f, const struct kevo_change *c);

/* A key for a message: escaped, cut to 60 characters; static buffer. */
const char *format_show_key(const void *key, size_t klen);

#endif /* FORMAT_H */
