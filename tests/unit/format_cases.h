/*
 * format_cases: what format_test.c converts: input and what must come out,
 * and malformed input and what must be said of it.
 *
 * A format is written name:word,word where words are the members of struct
 * format that are set.
 */
#ifndef FORMAT_CASES_H
#define FORMAT_CASES_H

#include <stddef.h>

/* ---- examples ---------------------------------------------------------- */

struct example {
	const char *from, *to;
	const char *in, *out;
	size_t in_len, out_len;
};

#define EX(from, to, in, out) \
	{ from, to, in, out, sizeof(in) - 1, sizeof(out) - 1 }

#define DB "VERSION=3\nformat=print\ntype=btree\n"
#define BYTES "VERSION=3\nformat=bytevalue\ntype=btree\n"
#define SQL "CREATE TABLE IF NOT EXISTS kv(k BLOB PRIMARY KEY, " \
	"v BLOB NOT NULL) WITHOUT ROWID; BEGIN;\n"
#define SET "*3\r\n$3\r\nSET\r\n"

static const struct example examples[] = {
	/* tsv: written escapes, read escapes, key lists, versions */
	EX("hex", "tsv", "090a0d5c\t00017f20ff\n",
	    "\\t\\n\\r\\\\\t\\x00\\x01\\x7f \\xff\n"),
	EX("hex", "tsv", "61\tc3a9eda080c080f4908080f09f9880\n",
	    "a\t\xc3\xa9\\xed\\xa0\\x80\\xc0\\x80\\xf4\\x90\\x80\\x80"
	    "\xf0\x9f\x98\x80\n"),
	EX("hex", "tsv", "61\tc285e280aee281a6d89c\n",
	    "a\t\xc2\x85\xe2\x80\xae\xe2\x81\xa6\xd8\x9c\n"),
	EX("hex", "tsv:terminal", "61\tc285e280aee281a6d89cc2a0\n",
	    "a\t\\xc2\\x85\\xe2\\x80\\xae\\xe2\\x81\\xa6\\xd8\\x9c\xc2\xa0\n"),
	EX("tsv", "hex", "\\x6A\\x6b\t\\0\\b\\f\\v\\t\\n\\r\\\\\n",
	    "6a6b\t00080c0b090a0d5c\n"),
	EX("tsv", "hex", "a\tb\tc\\t\td\nb\t", "61\t6209630909" "64\n62\t\n"),
	EX("tsv", "hex", "a\rb\t\rc\n", "610d62\t0d63\n"),
	EX("tsv:crlf", "hex", "a\tb\r\nc\td\n", "61\t62\n63\t64\n"),
	EX("tsv:k", "hex:k", "a\tbad \\q\nb\\x00\nc", "61\n6200\n63\n"),
	EX("tsv", "tsv:m", "a\tb\nc\td\n", "a\t1\tb\nc\t2\td\n"),
	EX("tsv", "tsv:m,k", "a\tb\n", "a\t1\n"),
	EX("tsv:m", "tsv", "a\t17\tb\tc\n", "a\tb\\tc\n"),
	EX("tsv", "tsv:values", "a\tb\nc\t\n", "b\n\n"),
	EX("tsv", "tsv", "", ""),
	/* text */
	EX("text", "hex", "a\\n\t\\q\tb\r\n", "615c6e\t5c7109620d\n"),
	EX("hex", "text", "61\t5c09ff0d\n", "a\t\\\t\xff\r\n"),
	EX("hex", "text:terminal", "61\t5c09ff1b\n", "a\t\\\t\\xff\\x1b\n"),
	EX("text:k", "hex:k", "a\\b\nc\td\n", "615c62\n63\n"),
	/* nul, raw */
	EX("nul", "hex", "a\0b\nc\0d\0\0", "61\t620a63\n64\t\n"),
	EX("nul:k", "hex:k", "a\0b\n\0", "61\n620a\n"),
	EX("tsv", "nul:m", "a\tb\n", "a\0" "1\0b\0"),
	EX("nul:m", "tsv", "a\0" "1\0b\0", "a\tb\n"),
	EX("tsv", "nul:k", "a\tb\n", "a\0"),
	EX("tsv", "raw", "a\tb\\x00\\n\n", "b\0\n"),
	/* hex, base64 */
	EX("hex", "base64", "6162\t63\n61\t\n", "YWI=\tYw==\nYQ==\t\n"),
	EX("base64", "hex", "YWI=\tYw==\n/+8=\tYWJj\n",
	    "6162\t63\nffef\t616263\n"),
	EX("hex:m", "hex:m", "6A\t9\tfF\n", "6a\t1\tff\n"),
	/* jsonl */
	EX("hex", "jsonl", "6b\t76\nff\t00\n",
	    "{\"key\":\"k\",\"value\":\"v\"}\n"
	    "{\"key_base64\":\"/w==\",\"value\":\"\\u0000\"}\n"),
	EX("hex", "jsonl", "225c2f\t080c0a0d091f7fc3a9c080\n",
	    "{\"key\":\"\\\"\\\\/\",\"value_base64\":\"CAwKDQkff8OpwIA=\"}\n"),
	EX("hex", "jsonl", "6b\t080c0a0d091f7fc3a9\n", "{\"key\":\"k\","
	    "\"value\":\"\\b\\f\\n\\r\\t\\u001f\\u007f\xc3\xa9\"}\n"),
	EX("hex", "jsonl:terminal", "6b\tc285e280aec3a9\n", "{\"key\":\"k\","
	    "\"value\":\"\\u0085\\u202e\xc3\xa9\"}\n"),
	EX("hex", "jsonl64", "6b\t76\n",
	    "{\"key_base64\":\"aw==\",\"value_base64\":\"dg==\"}\n"),
	EX("jsonl", "hex", "\t{ \"x\":[1,{\"key\":2}], \"value\" : "
	    "\"\\u00e9\\uD83D\\uDE00\\/\\\"\" ,\"k\\u0065y\":\"a\"} \r\n",
	    "61\tc3a9f09f98802f22\n"),
	EX("jsonl", "hex", "{\"key_base64\":\"YQ==\",\"value_base64\":\"\"}",
	    "61\t\n"),
	EX("jsonl:j", "text", "{\"key\":\"a\",\"value\": [1, \"\\u0041\"] }\n"
	    "{\"key\":\"b\",\"value\":\"x\"}\n",
	    "a\t[1, \"\\u0041\"]\nb\t\"x\"\n"),
	EX("tsv", "jsonl:j", "a\t{\"x\": [1.5e3,null]}\nb\t01\nc\t[1,\\n2]\n"
	    "d\t\"\\\\ud800\"\n", "{\"key\":\"a\",\"value\":{\"x\": "
	    "[1.5e3,null]}}\n{\"key\":\"b\",\"value\":\"01\"}\n"
	    "{\"key\":\"c\",\"value\":[1, 2]}\n"
	    "{\"key\":\"d\",\"value\":\"\\\"\\\\ud800\\\"\"}\n"),
	EX("tsv", "jsonl:j,terminal", "a\t\"\xc2\x85\\x7f\"\n",
	    "{\"key\":\"a\",\"value\":\"\\u0085\\u007f\"}\n"),
	EX("jsonl", "jsonl:m", "{\"key\":\"a\",\"value\":\"\","
	    "\"expires\":1700000000.0500}\n{\"key\":\"b\",\"value\":\"\","
	    "\"expires\":17e8}\n{\"key\":\"c\",\"value\":\"\"}\n",
	    "{\"key\":\"a\",\"value\":\"\",\"version\":1,"
	    "\"expires\":1700000000.05}\n{\"key\":\"b\",\"value\":\"\","
	    "\"version\":2,\"expires\":1700000000}\n"
	    "{\"key\":\"c\",\"value\":\"\",\"version\":3}\n"),
	EX("jsonl:k", "jsonl:k", "{\"key\":\"a\",\"value\":5}\n",
	    "{\"key\":\"a\"}\n"),
	EX("tsv", "jsonl:values", "a\tb\n", "{\"value\":\"b\"}\n"),
	/* csv */
	EX("tsv", "csv", "a,b\tc\"d\ne\t\nf\tg\\nh\\r\n",
	    "key,value\n\"a,b\",\"c\"\"d\"\ne,\nf,\"g\nh\r\"\n"),
	EX("tsv", "csv:crlf", "a\tb\\nc\n",
	    "key,value\r\na,\"b\nc\"\r\n"),
	EX("csv", "tsv", "\"key\",value\n\"a\",\"\"\"b\"\",\n\"\nc,",
	    "a\t\"b\",\\n\nc\t\n"),
	EX("csv:crlf", "tsv", "\xef\xbb\xbfkey,value\r\na,b\r\n\"c\",\"d\"",
	    "a\tb\nc\td\n"),
	EX("hex", "csv:hex", "00\tff\n", "key_hex,value_hex\n00,ff\n"),
	EX("hex", "csv:base64", "00\tff\n",
	    "key_base64,value_base64\nAA==,/w==\n"),
	EX("csv:hex", "hex", "key_hex,value_hex\n00,\"fF\"\n", "00\tff\n"),
	/* cdb, db, lmdb */
	EX("hex", "cdb", "61\t\n0a\t2d3e\n", "+1,0:a->\n+1,2:\n->->\n\n"),
	EX("cdb", "hex", "+1,0:a->\n+01,2:\n->->\n\n", "61\t\n0a\t2d3e\n"),
	EX("hex", "db", "615c\t0aff20\n",
	    DB "HEADER=END\n a\\5c\n \\0a\\ff \nDATA=END\n"),
	EX("hex", "db:bytevalue", "615c\t\n",
	    BYTES "HEADER=END\n 615c\n \nDATA=END\n"),
	EX("db", "hex", DB "database=x\nunknown=1\nHEADER=END\n a\\\\\n "
	    "\\5C\\fF\nDATA=END", "615c\t5cff\n"),
	EX("db", "hex", BYTES "HEADER=END\n 6A\n 0aff\nDATA=END\n",
	    "6a\t0aff\n"),
	EX("hex", "lmdb", "61\t62\n",
	    DB "mapsize=16777216\nHEADER=END\n a\n b\nDATA=END\n"),
	EX("tsv", "lmdb:total=1000000", "",
	    DB "mapsize=66060288\nHEADER=END\nDATA=END\n"),
	EX("tsv", "lmdb:mapsize=12345", "",
	    DB "mapsize=12345\nHEADER=END\nDATA=END\n"),
	/* resp, sql, ops */
	EX("hex", "resp", "61\t0d0a\n",
	    SET "$1\r\na\r\n$2\r\n\r\n\r\n"),
	EX("resp", "ops", SET "$1\r\na\r\n$0\r\n\r\n"
	    "*2\r\n$3\r\ndel\r\n$1\r\n\n\r\n", "put\ta\t\ndelete\t\\n\n"),
	EX("jsonl", "resp", "{\"key\":\"a\",\"value\":\"b\","
	    "\"expires\":1.0000001}\n", "*5\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n"
	    "b\r\n$4\r\nPXAT\r\n$4\r\n1001\r\n"),
	EX("resp", "jsonl:m", "*5\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n$4"
	    "\r\nexat\r\n$1\r\n7\r\n", "{\"key\":\"a\",\"value\":\"b\","
	    "\"version\":1,\"expires\":7}\n"),
	EX("hex", "sql", "61\tff\n", SQL
	    "INSERT OR REPLACE INTO kv VALUES(X'61',X'ff');\nCOMMIT;\n"),
	EX("tsv", "sql:table=o\"r", "", "CREATE TABLE IF NOT EXISTS \"o\"\"r\""
	    "(k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID; BEGIN;\n"
	    "COMMIT;\n"),
	EX("ops", "ops", "put\ta\\n\tb\tc\ndelete\td\n",
	    "put\ta\\n\tb\\tc\ndelete\td\n")
};

/* ---- malformed input --------------------------------------------------- */

struct complaint {
	const char *from;
	const char *in;
	size_t in_len;
	const char *said;	/* in the message */
	const char *hint;	/* in a second line, or NULL */
};

#define BAD(from, in, said, hint) { from, in, sizeof(in) - 1, said, hint }

static const char hint_text[] = "use -f text for unescaped input";

static const struct complaint complaints[] = {
	BAD("tsv", "a\tb\\q\n", ":1: bad escape \\q in value", hint_text),
	BAD("tsv", "ok\t\n\\xg1\t\n", ":2: bad escape \\xg1 in key",
	    hint_text),
	BAD("tsv", "a\tb\\\n", ":1: backslash at the end of value",
	    hint_text),
	BAD("tsv", "a\tb\n\nc\td\n", ":2: blank line", NULL),
	BAD("tsv", "a\n", ":1: no TAB", "-k takes"),
	BAD("tsv", "\tb\n", ":1: empty key", NULL),
	BAD("tsv", "a\tb\r\n", ":1: CR before", "use --crlf"),
	BAD("tsv", "a\tb\r", ":1: CR before", "use --crlf"),
	BAD("tsv:crlf", "\r\n", ":1: blank line", NULL),
	BAD("tsv:k", "a\n\n", ":2: blank line", NULL),
	BAD("tsv:m", "a\tb\n", ":1: no version", NULL),
	BAD("text", "a b\n", ":1: no TAB", "-k takes"),
	BAD("text", "\n", ":1: blank line", NULL),
	BAD("nul", "a\0b\0c\0", "byte 4: a key without a value", NULL),
	BAD("nul", "a\0b", "byte 0: the input ends inside a value", NULL),
	BAD("nul:k", "a\0b", "byte 2: the input ends inside a key", NULL),
	BAD("nul", "\0b\0", "byte 0: empty key", NULL),
	BAD("hex", "616\t\n", ":1: key is not hex: wrong at its character 3",
	    NULL),
	BAD("hex", "61\t0x\n", ":1: value is not hex: wrong at its "
	    "character 2", NULL),
	BAD("hex", "61\t62\r\n", ":1: CR before", "use --crlf"),
	BAD("base64", "YQ=\t\n", ":1: key is not base64", NULL),
	BAD("base64", "YR==\t\n", ":1: key is not base64", NULL),
	BAD("base64", "YQ==YQ==\t\n", ":1: key is not base64", NULL),
	BAD("base64", "====\t\n", ":1: key is not base64", NULL),
	BAD("jsonl", "\n", ":1: blank line", NULL),
	BAD("jsonl", "[]\n", ":1: bad JSON at column 1: no object", NULL),
	BAD("jsonl", "{\"key\":\"a\",\"value\":\"b\"", "no comma or }",
	    NULL),
	BAD("jsonl", "{\"key\":\"a\",\"value\":\"b\"} {}\n",
	    "column 25: text after the object", NULL),
	BAD("jsonl", "{\"key\":\"a\"}\n", "no \"value\"", NULL),
	BAD("jsonl", "{\"value\":\"a\"}\n", "no \"key\"", NULL),
	BAD("jsonl", "{\"key\":\"a\",\"key\":\"a\",\"value\":\"\"}\n",
	    "\"key\" stands there twice", NULL),
	BAD("jsonl", "{\"key\":\"a\",\"value\":\"b\",\"value_base64\":\"\"}",
	    "both \"value\" and \"value_base64\"", NULL),
	BAD("jsonl", "{\"key\":\"a\",\"value\":1}\n",
	    "\"value\" is not a string", "use -j"),
	BAD("jsonl", "{\"key\":\"\",\"value\":\"\"}\n", "empty key", NULL),
	BAD("jsonl", "{\"key\":\"\\ud800\",\"value\":\"\"}\n",
	    "column 9: lone surrogate", NULL),
	BAD("jsonl", "{\"key\":\"\\udc00\",\"value\":\"\"}\n",
	    "lone surrogate", NULL),
	BAD("jsonl", "{\"key\":\"\\ud800\\u0041\",\"value\":\"\"}\n",
	    "lone surrogate", NULL),
	BAD("jsonl", "{\"key\":\"\\u00g0\",\"value\":\"\"}\n",
	    "bad \\u escape", NULL),
	BAD("jsonl", "{\"key\":\"\\v\",\"value\":\"\"}\n", "bad escape",
	    NULL),
	BAD("jsonl", "{\"key\":\"\xff\",\"value\":\"\"}\n", "not UTF-8",
	    NULL),
	BAD("jsonl", "{\"key\":\"\x01\",\"value\":\"\"}\n",
	    "control character", NULL),
	BAD("jsonl", "{\"key\":\"a\",\"value\":\"\",\"x\":01}\n",
	    "no comma or }", NULL),
	BAD("jsonl", "{\"key\":\"a\",\"value\":\"\",\"x\":[1,]}\n",
	    "no value", NULL),
	BAD("jsonl", "{\"key\":\"a\",\"value\":\"\",}\n", "no string", NULL),
	BAD("jsonl", "{\"key\":\"a\",\"value\":\"\",\"x\":nul}\n",
	    "no value", NULL),
	BAD("jsonl", "{\"key\":\"a\",\"value_base64\":\"Y\"}\n",
	    "is not base64", NULL),
	BAD("jsonl", "{\"key\":\"a\",\"value\":\"\",\"expires\":\"1\"}\n",
	    "\"expires\" is not a number", NULL),
	BAD("jsonl", "{\"key\":\"a\",\"value\":\"\",\"expires\":-1}\n",
	    "not a time", NULL),
	BAD("jsonl", "{\"key\":\"a\",\"value\":\"\",\"expires\":1e11}\n",
	    "not a time", NULL),
	BAD("csv", "", ":1: no header line", NULL),
	BAD("csv", "k,v\n", ":1: the header line is not", "--encode"),
	BAD("csv", "key,value\na,b\r\n", ":2: CR before", "use --crlf"),
	BAD("csv", "key,value\n\n", ":2: blank line", NULL),
	BAD("csv", "key,value\na\n", ":2: one field", NULL),
	BAD("csv", "key,value\na,b,c\n", ":2: more than two", NULL),
	BAD("csv", "key,value\na,\"\n\n\"\nb,\"x\"y\n",
	    ":5: text behind a closing quote", NULL),
	BAD("csv", "key,value\na,b\"c\n", ":2: quote inside", NULL),
	BAD("csv", "key,value\na,b\rc\n", ":2: CR outside", NULL),
	BAD("csv", "key,value\na,\"b", ":2: the input ends inside", NULL),
	BAD("csv", "key,value\na,\xff\n", ":2: the value is not UTF-8",
	    NULL),
	BAD("csv", "key,value\na\0,b\n", ":2: NUL in the key", NULL),
	BAD("csv:hex", "key_hex,value_hex\n0,\n", ":2: key is not hex",
	    NULL),
	BAD("cdb", "x", "byte 0: no + before", NULL),
	BAD("cdb", "+1,2:a->b\n\n", "byte 11: the input was cut", NULL),
	BAD("cdb", "+1,1:a->bc\n\n", "byte 9: no LF", NULL),
	BAD("cdb", "+1,1:a=>b\n\n", "byte 6: no ->", NULL),
	BAD("cdb", "+,1:a->b\n\n", "byte 1: bad length of the key", NULL),
	BAD("cdb", "+65537,1:", "byte 1: the key is longer than", NULL),
	BAD("cdb", "+1,1000000001:", "byte 3: the value is longer", NULL),
	BAD("cdb", "+1,99999999999999999999999:", "byte 3: the value is",
	    NULL),
	BAD("cdb", "+1,1000000000:a->b", "byte 18: the input was cut", NULL),
	BAD("cdb", "+0,1:->b\n\n", "byte 0: empty key", NULL),
	BAD("cdb", "+1,1:a->b\n\n+", "byte 11: input after", NULL),
	BAD("db", "", ":1: the input was cut", NULL),
	BAD("db", "format=print\n", ":1: the header does not begin", NULL),
	BAD("db", "VERSION=3\nHEADER=END\n", ":2: no format=", NULL),
	BAD("db", "VERSION=3\nformat=x\n", ":2: format=x is not", NULL),
	BAD("db", "VERSION=3\nformat=print\n a\n", ":3:  a in the header",
	    NULL),
	BAD("db", DB "type=recno\n", ":4: type=recno is not supported",
	    NULL),
	BAD("db", DB "HEADER=END\n a\nDATA=END\n", ":5: a key without a "
	    "value", NULL),
	BAD("db", DB "HEADER=END\n a\n b\\q\nDATA=END\n",
	    ":6: bad escape in the value at its character 2", NULL),
	BAD("db", DB "HEADER=END\n a\nb\nDATA=END\n",
	    ":6: no blank before the value", NULL),
	BAD("db", BYTES "HEADER=END\n 6\n \nDATA=END\n",
	    ":5: bad digit in the key", NULL),
	BAD("db", DB "HEADER=END\nDATA=EN\n", ":5: neither a key nor",
	    NULL),
	BAD("db", DB "HEADER=END\n \n b\nDATA=END\n", ":5: empty key",
	    NULL),
	BAD("db", DB "HEADER=END\nDATA=END\nx", ":6: input after", NULL),
	BAD("resp", "SET a b\r\n", "byte 0: no *", NULL),
	BAD("resp", "*1\r\n$4\r\nPING\r\n", "byte 0: neither SET nor", NULL),
	BAD("resp", "*2\r\n$3\r\nGET\r\n$1\r\na\r\n", "neither SET nor",
	    NULL),
	BAD("resp", "*9\r\n", "byte 1: the number of arguments is larger",
	    NULL),
	BAD("resp", "*3\n", "byte 2: no CR LF", NULL),
	BAD("resp", SET "$0\r\n\r\n$0\r\n\r\n", "empty key", NULL),
	BAD("resp", SET "$1\r\nab\r\n", "no CR LF", NULL),
	BAD("resp", SET "$65537\r\n", "length of a key is larger", NULL),
	BAD("resp", SET "$1\r\na\r\n$5\r\nab", "the input ends inside",
	    NULL),
	BAD("resp", "*5\r\n$3\r\nSET\r\n$1\r\na\r\n$0\r\n\r\n$2\r\nPX\r\n",
	    "PXAT or EXAT only", NULL),
	BAD("resp", "*5\r\n$3\r\nSET\r\n$1\r\na\r\n$0\r\n\r\n$4\r\nPXAT\r\n"
	    "$1\r\n0\r\n", "not a time", NULL),
	BAD("ops", "get\ta\n", ":1: unknown operation get", NULL),
	BAD("ops", "put\n", ":1: no TAB after", NULL),
	BAD("ops", "put\ta\n", ":1: no TAB between", NULL),
	BAD("ops", "delete\ta\tb\n", ":1: TAB after", NULL),
	BAD("ops", "put\ta\\q\tb\n", ":1: bad escape \\q in key", hint_text)
};

#endif /* FORMAT_CASES_H */
