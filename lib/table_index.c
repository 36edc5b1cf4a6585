#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "table_writer.h"

#define LINE_TRIES	4

static uint8_t
bits_of(uint64_t v)
{
	return v == 0 ? 0 : (uint8_t)(64 - __builtin_clzll(v));
}

/*
 * What slots say besides the fingerprint: the place of the group where there
 * is no codec and a place is short enough, else the number of the group; and
 * which record of the group it is, if there are bits left.
 */
static void
choose_slots(struct kv_table_writer *w)
{
	const uint8_t most = 32 - KV_PRINT_MIN;
	struct kv_table_tail *t = &w->tail;
	uint8_t place = bits_of(t->data_len >> w->unit_shift);

	if (!w->spec.hash_index)
		return;
	t->direct = t->codec == KV_CODEC_NONE && place <= most;
	t->loc_bits = t->direct ? place : bits_of(t->groups);
	t->at_bits = bits_of((uint64_t)t->restart_interval - 1);
	if (t->loc_bits + t->at_bits > most)
		t->at_bits = 0;
	t->loc_bits += t->at_bits;
	if (t->loc_bits <= most)
		t->lines = (uint32_t)(t->count / KV_LINE_LOAD + 1);
	else
		t->loc_bits = t->at_bits = t->direct = 0;
}

/* Put a slot into the first line from its own on that has room.  0, or -1 if
 * a lookup would not get that far. */
static int
put_slot(uint8_t *lines, uint32_t nlines, uint64_t hash, uint32_t slot)
{
	uint32_t line = kv_line_of(hash, nlines);

	for (uint32_t n = 0; n < KV_PROBES && n < nlines; n++) {
		uint8_t *p = lines + (size_t)line * KV_LINE;

		for (uint32_t i = 0; i < KV_LINE_SLOTS; i++, p += 4)
			if (get_le32(p) == 0) {
				put_le32(p, slot);
				return 0;
			}
		line = line + 1 == nlines ? 0 : line + 1;
	}
	return -1;
}

static int
fill_lines(const struct kv_table_writer *w, uint8_t *lines)
{
	const struct kv_table_tail *t = &w->tail;
	uint32_t loc_mask = ((uint32_t)1 << t->loc_bits) - 1;
	const uint64_t *hash = w->hash;

	for (uint32_t g = 0; g < t->groups; g++) {
		const struct kv_entry *e = &w->entry[g];
		uint32_t loc = (t->direct ? e->place : g + 1) << t->at_bits;

		for (uint32_t i = 0; i < e->n; i++, hash++)
			if (put_slot(lines, t->lines, *hash,
			    ((uint32_t)*hash & ~loc_mask) | loc |
			    (t->at_bits > 0 ? i : 0)) != 0)
				return -1;
	}
	return 0;
}

/* The first eight bytes of a group's first key after `skip`, of which the
 * entry knows those after its own skip, and the first key the others. */
static uint64_t
final_head(const struct kv_table_writer *w, const struct kv_entry *e,
    uint32_t skip)
{
	uint8_t b[16];
	uint32_t n = e->skip - skip < 8 ? e->skip - skip : 8;

	memcpy(b, w->first.p + skip, n);
	put_le64(b + n, __builtin_bswap64(e->head));
	return kv_key_word(b);
}

static void
fill_arrays(const struct kv_table_writer *w, uint8_t *p)
{
	const struct kv_table_tail *t = &w->tail;
	uint32_t skip = kv_table_common(w->first.p, w->first.len, w->last.p,
	    w->last.len);

	for (uint32_t i = 0; i < t->groups; i++, p += 8)
		put_le64(p, final_head(w, &w->entry[i], skip));
	for (uint32_t i = 0; i < t->groups; i++, p += 4)
		put_le32(p, w->entry[i].place);
	if (t->codec == KV_CODEC_NONE)
		return;
	for (uint32_t i = 0; i < t->groups; i++, p += 4)
		put_le32(p, w->entry[i].sub);
}

/*
 * The index region, malloc'd.  Where lines run over, more of them help,
 * unless the hashes of many keys are the same: then there is no hash index,
 * and lookups use the sorted one.
 */
static uint8_t *
build_index(struct kv_table_writer *w, struct kv_table_shape *shape)
{
	struct kv_table_tail *t = &w->tail;
	uint8_t *index;

	choose_slots(w);
	for (int try = 0;; try++) {
		if (try == LINE_TRIES)
			t->lines = t->loc_bits = t->at_bits = t->direct = 0;
		kv_table_shape(t, shape);
		if ((index = calloc(1, (size_t)shape->index_len)) == NULL)
			return NULL;
		if (t->lines == 0 || fill_lines(w, index) == 0)
			break;
		free(index);
		t->lines += t->lines / 4 + 1;
	}
	fill_arrays(w, index + (size_t)t->lines * KV_LINE);
	return index;
}

/* The hash of each page of the index, malloc'd. */
static uint8_t *
hash_pages(struct kv_table_writer *w, const uint8_t *index,
    const struct kv_table_shape *shape)
{
	uint8_t *sums = malloc((size_t)shape->pages * 8);

	for (uint64_t i = 0; sums != NULL && i < shape->pages; i++) {
		uint64_t off = i * KV_PAGE, len = shape->index_len - off;

		put_le64(sums + i * 8, kv_hash(index + off, (size_t)(len <
		    KV_PAGE ? len : KV_PAGE), kv_page_seed(w->seed,
		    w->tail.data_len + off)));
	}
	if (sums != NULL)
		w->tail.sums_hash = kv_hash(sums, (size_t)shape->pages * 8,
		    w->seed);
	return sums;
}

int
kv_writer_index(struct kv_table_writer *w, struct kv_table_shape *shape)
{
	uint8_t *sums = NULL, *index = build_index(w, shape);

	if (index != NULL)
		sums = hash_pages(w, index, shape);
	if (sums == NULL)
		kv_writer_no_memory(w);
	else if (kv_writer_output(w, index, (size_t)shape->index_len) == 0)
		kv_writer_output(w, sums, (size_t)shape->pages * 8);
	free(index);
	free(sums);
	return w->rc;
}
