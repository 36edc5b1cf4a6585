#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../coding.h"
#include "../record.h"
#include "image.h"

const char *
kv_image_state_word(enum kv_image_state s)
{
	static const char *const words[] = {
		[KV_IMAGE_SEALED] = "sealed", [KV_IMAGE_OPEN] = "open",
		[KV_IMAGE_SHORT] = "short", [KV_IMAGE_CORRUPT] = "corrupt"
	};

	return words[s];
}

static void __attribute__((format(printf, 3, 4)))
judge(struct kv_image *img, enum kv_image_state state, const char *fmt, ...)
{
	va_list ap;

	img->state = state;
	va_start(ap, fmt);
	vsnprintf(img->why, sizeof(img->why), fmt, ap);
	va_end(ap);
}

/* The header, or what there is of it. */
static int
scan_head(struct kv_image *img)
{
	size_t n = img->len < 8 ? (size_t)img->len : 8;

	if (memcmp(img->bytes, "KEVOSEG1", n) != 0)
		judge(img, KV_IMAGE_CORRUPT, "it is no segment of a log");
	else if (img->len < KV_SEGMENT_HEAD)
		judge(img, KV_IMAGE_SHORT, "it ends inside the header");
	else if (kv_segment_head_decode(img->bytes, &img->head) != 0)
		judge(img, KV_IMAGE_CORRUPT, "the header does not verify");
	else if (img->len > img->head.capacity)
		judge(img, KV_IMAGE_CORRUPT, "longer than its header allows");
	else
		img->has_head = 1;
	return img->has_head;
}

/* A frame that verifies, but no record. */
static void
judge_frame(struct kv_image *img, const struct kv_walk *w,
    const struct kv_frame *f)
{
	const uint8_t *rec = img->bytes + w->off;
	uint64_t total = kv_record_len(f->payload_len);

	if (f->seq != w->seq + 1)
		judge(img, KV_IMAGE_CORRUPT, "commit %" PRIu64 " where %"
		    PRIu64 " belongs", f->seq, w->seq + 1);
	else if (total > img->len - w->off)
		judge(img, KV_IMAGE_SHORT, "it ends inside commit %" PRIu64,
		    f->seq);
	else if (get_le64(rec + total - KV_TRAILER_LEN) !=
	    kv_chain(rec, total - KV_TRAILER_LEN, w->chain))
		judge(img, KV_IMAGE_CORRUPT, "the chain of commit %" PRIu64
		    " differs", f->seq);
	else
		judge(img, KV_IMAGE_CORRUPT, "the operations of commit %"
		    PRIu64 " do not add up", f->seq);
}

/*
 * What follows the last record is neither a record nor a seal.  Cut, or
 * damaged?  A frame and a seal's magic are what says how long it should be.
 */
static void
judge_rest(struct kv_image *img, const struct kv_walk *w)
{
	const uint8_t *p = img->bytes + w->off;
	uint64_t left = img->len - w->off;
	struct kv_frame f;

	if (left >= 8 && memcmp(p, "KEVOSEAL", 8) == 0) {
		if (left < KV_SEAL_LEN)
			judge(img, KV_IMAGE_SHORT, "it ends inside the seal");
		else
			judge(img, KV_IMAGE_CORRUPT, "the seal does not fit");
	} else if (left < KV_FRAME_LEN)
		judge(img, KV_IMAGE_SHORT, "it ends inside a frame");
	else if (kv_frame_decode(p, &f, img->head.nonce) == 0)
		judge_frame(img, w, &f);
	else
		judge(img, KV_IMAGE_CORRUPT, "the frame of commit %" PRIu64
		    " does not verify", w->seq + 1);
}

static void
take_record(struct kv_image *img, const struct kv_walk *w)
{
	if (img->records == 0)
		img->first_ns = w->time_ns;
	img->records++;
	img->last_seq = w->seq;
	img->last_ns = w->time_ns;
	img->chain = w->chain;
	img->end = w->off;
}

/* A commit's time is above that of the one before; an operator's "until" has
 * one meaning only then. */
static int
time_grows(const struct kv_image *img, const struct kv_walk *w)
{
	return img->records == 0 || w->time_ns > img->last_ns;
}

static void
scan_records(struct kv_image *img)
{
	enum kv_walk_result r;
	struct kv_walk w;

	kv_walk_start(&w, img->bytes, img->len, &img->head);
	w.off = img->end;
	w.seq = img->last_seq;
	w.chain = img->chain;
	w.records = img->records;
	while ((r = kv_walk_next(&w)) == KV_WALK_RECORD) {
		if (!time_grows(img, &w)) {
			judge(img, KV_IMAGE_CORRUPT, "commit %" PRIu64
			    " is not later than the one before", w.seq);
			return;
		}
		take_record(img, &w);
	}
	if (r == KV_WALK_END)
		img->state = KV_IMAGE_OPEN;
	else if (r == KV_WALK_BAD)
		judge_rest(img, &w);
	else if (img->len - w.off == KV_SEAL_LEN)
		img->state = KV_IMAGE_SEALED;
	else
		judge(img, KV_IMAGE_CORRUPT, "bytes follow the seal");
}

void
kv_image_scan(struct kv_image *img, const uint8_t *bytes, uint64_t len)
{
	memset(img, 0, sizeof(*img));
	img->bytes = (uint8_t *)(uintptr_t)bytes;
	img->len = len;
	if (!scan_head(img))
		return;
	img->last_seq = img->head.first_seq - 1;
	img->chain = img->head.chain_before;
	img->end = KV_SEGMENT_HEAD;
	img->passed = (struct kv_image_place){ img->last_seq, img->end,
		img->chain };
	scan_records(img);
}

void
kv_image_scan_on(struct kv_image *img, uint64_t len)
{
	img->len = len;
	img->why[0] = '\0';
	scan_records(img);
}

/* ---- places in it ------------------------------------------------------ */

/* The nearest place at or before commit seq that is known without a walk. */
static struct kv_image_place
nearest(const struct kv_image *img, uint64_t seq)
{
	if (seq == img->last_seq)
		return (struct kv_image_place){ seq, img->end, img->chain };
	if (seq >= img->passed.seq)
		return img->passed;
	return (struct kv_image_place){ img->head.first_seq - 1,
		KV_SEGMENT_HEAD, img->head.chain_before };
}

/* Over one commit. */
static void
step(const struct kv_image *img, struct kv_image_place *p)
{
	p->off += kv_record_len(get_le32(img->bytes + p->off));
	p->chain = get_le64(img->bytes + p->off - KV_TRAILER_LEN);
	p->seq++;
}

int
kv_image_at(const struct kv_image *img, uint64_t seq, uint64_t *off,
    uint64_t *chain)
{
	struct kv_image_place p;

	if (!img->has_head || seq < img->head.first_seq - 1 ||
	    seq > img->last_seq)
		return -1;
	p = nearest(img, seq);
	while (p.seq < seq)
		step(img, &p);
	*off = p.off;
	*chain = p.chain;
	return 0;
}

void
kv_image_pass(struct kv_image *img, uint64_t seq)
{
	struct kv_image_place p = { .seq = seq };

	if (kv_image_at(img, seq, &p.off, &p.chain) == 0)
		img->passed = p;
}

uint64_t
kv_image_time(const struct kv_image *img, uint64_t seq)
{
	uint64_t off, chain;

	if (seq < img->head.first_seq || seq > img->last_seq ||
	    kv_image_at(img, seq - 1, &off, &chain) != 0)
		return 0;
	return get_le64(img->bytes + off + 16);
}

uint64_t
kv_image_seq_at(const struct kv_image *img, uint64_t time_ns)
{
	struct kv_image_place p;

	if (img->records == 0 || img->first_ns > time_ns)
		return 0;
	/* Is the end of what was passed in time, too? */
	p = nearest(img, img->head.first_seq - 1);
	if (img->passed.seq < img->last_seq &&
	    get_le64(img->bytes + img->passed.off + 16) <= time_ns)
		p = img->passed;
	while (p.off < img->end &&
	    get_le64(img->bytes + p.off + 16) <= time_ns)
		step(img, &p);
	return p.seq;
}
