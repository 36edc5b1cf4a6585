/*
 * format_tab_write: lines of fields that are separated by TAB: tsv, text,
 * hex, base64 and ops.
 *
 * A record of usual size is encoded into one piece of the output buffer; a
 * large one goes out in pieces.
 */
#include <string.h>

#include "escape.h"
#include "format_internal.h"
#include "format_scan.h"
#include "format_tab.h"

/* Up to here a record is one piece. */
#define SMALL 8192

/* No encoder here makes more than 4 bytes of one. */
#define GROW 4

static size_t
encode_tsv(uint8_t *dst, const uint8_t *src, size_t len)
{
	return escape_encode(dst, src, len, 0);
}

static size_t
encode_tsv_terminal(uint8_t *dst, const uint8_t *src, size_t len)
{
	return escape_encode(dst, src, len, 1);
}

static size_t
encode_text(uint8_t *dst, const uint8_t *src, size_t len)
{
	if (len > 0)
		memcpy(dst, src, len);
	return len;
}

/* ---- one record -------------------------------------------------------- */

static void
write_large(const struct format *f, const struct kevo_record *rec,
    format_encoder *encode)
{
	if (!f->values_only)
		format_put(encode, GROW, rec->key, rec->klen);
	if (f->meta) {
		if (!f->values_only)
			cli_out("\t", 1);
		format_putn(rec->version);
	}
	if (!f->keys_only) {
		if (!f->values_only || f->meta)
			cli_out("\t", 1);
		format_put(encode, GROW, rec->value, rec->vlen);
	}
	cli_out("\n", 1);
}

static inline void
write_fields(const struct format *f, const struct kevo_record *rec,
    format_encoder *encode)
{
	uint8_t *start, *d;

	if (rec->klen > SMALL || rec->vlen > SMALL) {
		write_large(f, rec, encode);
		return;
	}
	start = d = cli_out_room(GROW * (rec->klen + rec->vlen) + 32);
	if (!f->values_only) {
		d += encode(d, rec->key, rec->klen);
		*d++ = '\t';
	}
	if (f->meta) {
		d += format_decimal(d, rec->version);
		*d++ = '\t';
	}
	if (!f->keys_only) {
		d += encode(d, rec->value, rec->vlen);
		*d++ = '\n';
	} else {
		d[-1] = '\n';
	}
	cli_out_add((size_t)(d - start));
}

static void
write_tsv(const struct format *f, const struct kevo_record *rec)
{
	write_fields(f, rec, f->terminal ? encode_tsv_terminal : encode_tsv);
}

static void
write_hex(const struct format *f, const struct kevo_record *rec)
{
	write_fields(f, rec, hex_encode);
}

static void
write_base64(const struct format *f, const struct kevo_record *rec)
{
	write_fields(f, rec, base64_encode);
}

static void
write_text(const struct format *f, const struct kevo_record *rec)
{
	static const char hint[] = "use -f tsv, which escapes them";

	if (!f->values_only &&
	    scan3(rec->key, 0, rec->klen, '\n', '\t', '\t') < rec->klen)
		format_refuse(rec, hint, "text cannot hold a key with TAB or "
		    "LF");
	if (!f->keys_only && scan1(rec->value, 0, rec->vlen, '\n') < rec->vlen)
		format_refuse(rec, hint, "text cannot hold a value with LF");
	write_fields(f, rec, f->terminal ? escape_show : encode_text);
}

static void
write_put(const struct format *f, const struct kevo_record *rec)
{
	format_puts("put\t");
	write_tsv(f, rec);
}

static void
write_remove(const struct format *f, const struct kevo_record *rec)
{
	format_puts("delete\t");
	format_put(f->terminal ? encode_tsv_terminal : encode_tsv, GROW,
	    rec->key, rec->klen);
	cli_out("\n", 1);
}

#define CAN_ALL (CAN_READ | CAN_READ_KEYS | CAN_WRITE | CAN_WRITE_KEYS | \
    CAN_WRITE_VALUES | CAN_META)

const struct format_ops format_tsv = {
	.name = "tsv", .can = CAN_ALL,
	.read = format_tsv_read, .write = write_tsv
};

const struct format_ops format_text = {
	.name = "text", .can = CAN_ALL,
	.read = format_tab_read, .write = write_text
};

const struct format_ops format_hex = {
	.name = "hex", .can = CAN_ALL,
	.read = format_tab_read, .write = write_hex
};

const struct format_ops format_base64 = {
	.name = "base64", .can = CAN_ALL,
	.read = format_tab_read, .write = write_base64
};

const struct format_ops format_ops_lines = {
	.name = "ops", .can = CAN_READ | CAN_WRITE | CAN_DELETE,
	.read = format_ops_read, .write = write_put, .remove = write_remove
};
