/*
 * options: the options that mean the same in every tool, as rows for its
 * table, and what takes their arguments.
 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "cli.h"
#include "format.h"

/* Ids of options without a short name. */
enum {
	OPT_SYNC = 300,
	OPT_IF_ABSENT,
	OPT_IF_PRESENT,
	OPT_IF_VALUE,
	OPT_IF_VERSION,
	OPT_FROM,
	OPT_TO,
	OPT_AFTER,
	OPT_ALL,
	OPT_SUFFIX,
	OPT_GLOB,
	OPT_MATCH_VALUE,
	OPT_VALUES,
	OPT_DEFAULT,
	OPT_INPUT_FORMAT,
	OPT_PRINT_VERSION,
	OPT_ACK,
	OPT_PROGRESS,
	OPT_CRLF,
	OPT_ENCODE,
	OPT_BYTEVALUE,
	OPT_MAPSIZE,
	OPT_TABLE,
	OPT_ON_DUPLICATE,
	OPT_SORTED,
	OPT_SET,
	OPT_PROFILE,
	OPT_AT,
	OPT_SINCE,
	OPT_CURSOR_FILE,
	OPT_INITIAL,
	OPT_IDLE
};

#define ROW_END { 0, 0, NULL, CLI_NONE, NULL, NULL }
#define ROW_QUIET { 'q', 'q', "quiet", CLI_NONE, NULL, \
	"no notes on standard error" }
#define ROW_VERBOSE { 'v', 'v', "verbose", CLI_NONE, NULL, "more notes" }
#define ROW_WAIT { 'w', 'w', "wait", CLI_REQUIRED, "S", \
	"wait at most S for the write lock (10; 0; inf)" }
#define ROW_NO_CREATE { 'C', 'C', "no-create", CLI_NONE, NULL, \
	"do not create a missing database" }
#define ROW_SYNC { OPT_SYNC, 0, "sync", CLI_REQUIRED, \
	"MODE:full batch none", \
	"full: on disk at exit 0; batch; none" }
#define ROW_ESCAPED { 'E', 'E', "escaped", CLI_NONE, NULL, \
	"operands are in escape notation" }
#define ROW_STDIN(help) { 'i', 'i', "stdin", CLI_NONE, NULL, help }
#define ROW_FORMAT(help) { 'f', 'f', "format", CLI_REQUIRED, "FORMAT", help }
#define ROW_FORMAT_OF(names, help) \
	{ 'f', 'f', "format", CLI_REQUIRED, "FORMAT:" names, help }
#define ROW_NULL { '0', '0', "null", CLI_NONE, NULL, \
	"same as -f nul, for key lists too" }
#define ROW_JSON_VALUES { 'j', 'j', "json-values", CLI_NONE, NULL, \
	"with jsonl: values are JSON themselves" }
#define ROW_KEYS_ONLY { 'k', 'k', "keys-only", CLI_NONE, NULL, \
	"records are the key alone" }
#define ROW_META { 'm', 'm', "meta", CLI_NONE, NULL, \
	"add the version to each record" }
#define ROW_LIMIT { 'l', 'l', "limit", CLI_REQUIRED, "N", \
	"at most N records" }
#define ROW_PREFIX(help) { 'P', 'P', "prefix", CLI_REQUIRED, "P", help }
#define ROW_FROM { OPT_FROM, 0, "from", CLI_REQUIRED, "K", \
	"only keys from K on" }
#define ROW_TO { OPT_TO, 0, "to", CLI_REQUIRED, "K", \
	"only keys before K" }
#define ROW_PRINT(help) { 'p', 'p', "print", CLI_NONE, NULL, help }
#define ROW_SINGLE { '1', '1', "single-transaction", CLI_NONE, NULL, \
	"all of the input or none of it" }
#define ROW_TTL { 't', 't', "ttl", CLI_REQUIRED, "TTL", \
	"expire after TTL (90, 5m, 12h, 7d)" }
#define ROWS_CONDITION \
	{ OPT_IF_ABSENT, 0, "if-absent", CLI_NONE, NULL, \
	    "only if the key is absent" }, \
	{ OPT_IF_PRESENT, 0, "if-present", CLI_NONE, NULL, \
	    "only if the key is present" }, \
	{ OPT_IF_VALUE, 0, "if-value", CLI_REQUIRED, "V", \
	    "only if its value is V" }, \
	{ OPT_IF_VERSION, 0, "if-version", CLI_REQUIRED, "N", \
	    "only if its version is N (0: absent)" }
#define ROW_PROGRESS { OPT_PROGRESS, 0, "progress", CLI_OPTIONAL, \
	"WHEN:auto always never numeric", \
	"auto, always, never, numeric" }
#define ROW_CRLF(help) { OPT_CRLF, 0, "crlf", CLI_NONE, NULL, help }
#define ROW_ENCODE { OPT_ENCODE, 0, "encode", CLI_REQUIRED, \
	"ENCODING:hex base64", \
	"with csv: hex or base64 in both fields" }
#define ROW_BYTEVALUE { OPT_BYTEVALUE, 0, "bytevalue", CLI_NONE, NULL, \
	"with db and lmdb: write hex" }
#define ROW_MAPSIZE { OPT_MAPSIZE, 0, "mapsize", CLI_REQUIRED, "SIZE", \
	"with lmdb: size of the map" }
#define ROW_TABLE { OPT_TABLE, 0, "table", CLI_REQUIRED, "NAME", \
	"with sql: name of the table (kv)" }

/* ---- formats ----------------------------------------------------------- */

#define FORMATS_LINES (1u << FORMAT_TSV | 1u << FORMAT_TEXT | \
	1u << FORMAT_NUL | 1u << FORMAT_HEX | 1u << FORMAT_BASE64 | \
	1u << FORMAT_JSONL | 1u << FORMAT_JSONL64 | 1u << FORMAT_CSV)
#define FORMATS_STREAM (FORMATS_LINES | 1u << FORMAT_CDB | \
	1u << FORMAT_DB | 1u << FORMAT_LMDB | 1u << FORMAT_RESP | \
	1u << FORMAT_OPS)
#define FORMATS_WRITE (FORMATS_STREAM | 1u << FORMAT_SQL)
#define FORMATS_RAW (1u << FORMAT_RAW)

/* The same as words, for completions. */
#define NAMES_LINES "tsv text nul hex base64 jsonl jsonl64 csv"
#define NAMES_STREAM NAMES_LINES " cdb db lmdb resp ops"
#define NAMES_WRITE NAMES_STREAM " sql"

/*
 * Take -f (restricted to allowed), -0, -j, -k, -m, --values, --crlf,
 * --encode, --bytevalue, --mapsize or --table into f: 1 if id is one.
 */
int opt_format(struct format *f, const struct cli_args *a, int id,
    unsigned allowed);

/* Refuse options that have no meaning for the format chosen. */
void opt_format_check(const struct format *f);

/* ---- conditions -------------------------------------------------------- */

struct opt_cond {
	enum kevo_cond_kind kind;
	char *value;		/* of --if-value, as it was given */
	uint64_t version;
};

/* Take a condition: 1 if id is one.  A second, other one is refused. */
int opt_cond(struct opt_cond *c, const struct cli_args *a, int id);

/* The condition for the library; value's escapes are removed if escaped. */
void opt_cond_get(const struct opt_cond *c, int escaped,
    struct kevo_cond *out);

/* ---- time -------------------------------------------------------------- */

/* The argument of -t in nanoseconds; 0 for NULL and for "inf". */
uint64_t opt_ttl(const char *arg);

/* When a record stored now expires, since 1970; 0, never, for a ttl of 0. */
uint64_t opt_expiry(uint64_t ttl_ns);

#endif /* OPTIONS_H */
