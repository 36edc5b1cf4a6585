/*
 * Which commit a restore would end with.  Nothing is written, so what
 * restore_plan.c looks for in files is followed here while it is read: from
 * the newest version that is not too late, through the segments behind it.
 */
#include <stdlib.h>
#include <string.h>

#include "../env.h"
#include "../kevo.h"
#include "../version.h"
#include "image.h"
#include "restore_in.h"
#include "ship.h"

int
kv_restore_dry_is_asked(const struct kv_restore *r)
{
	return r->o.dry_run && (r->o.until_seq != 0 || r->o.until_ns != 0);
}

void
kv_restore_dry_begin(struct kv_restore *r, uint64_t seq, uint64_t time_ns)
{
	struct kv_restore_dry *d = &r->dry;

	if ((r->o.until_seq != 0 && seq > r->o.until_seq) ||
	    (r->o.until_ns != 0 && time_ns > r->o.until_ns) ||
	    (d->begun && seq <= d->at.seq))
		return;
	d->begun = 1;
	d->at.seq = seq;
	d->time_ns = time_ns;
}

/* It was verified when it came. */
void
kv_restore_dry_version(struct kv_restore *r, const void *p, size_t len)
{
	struct kv_version v;

	if (len < KV_VERSION_HEAD)
		return;
	memset(&v, 0, sizeof(v));
	kv_version_decode_head(p, &v);
	kv_restore_dry_begin(r, v.last_seq, v.time_ns);
}

int
kv_restore_dry_data(struct kv_restore *r, const void *p, size_t len)
{
	struct kv_restore_dry *d = &r->dry;
	uint64_t room = d->room;
	uint8_t *log;

	if (r->member.kind != KV_BASE_SEGMENT)
		return 0;
	while (room - d->len < len)
		room = room == 0 ? (uint64_t)1 << 20 : room * 2;
	if (room != d->room) {
		if ((log = realloc(d->log, (size_t)room)) == NULL)
			return kv_fail(r->env, KEVO_ENOMEM, "out of memory");
		d->log = log;
		d->room = room;
	}
	memcpy(d->log + d->len, p, len);
	d->len += len;
	return 0;
}

/* The last commit of an image that is wanted. */
static uint64_t
last_wanted(struct kv_restore *r, const struct kv_image *img)
{
	uint64_t seq;

	if (r->o.until_seq != 0)
		return img->last_seq < r->o.until_seq ? img->last_seq :
		    r->o.until_seq;
	if (img->last_ns <= r->o.until_ns)
		return img->last_seq;
	r->dry.past = 1;
	seq = kv_image_seq_at(img, r->o.until_ns);
	return seq != 0 ? seq : img->head.first_seq - 1;
}

static void
follow(struct kv_restore *r, const struct kv_image *img)
{
	struct kv_restore_dry *d = &r->dry;
	uint64_t last, off, chain;

	if (!d->begun || d->past || img->head.first_seq > d->at.seq + 1 ||
	    img->last_seq < d->at.seq)
		return;
	last = last_wanted(r, img);
	if (last < d->at.seq || kv_image_at(img, last, &off, &chain) != 0)
		return;
	if (last > d->at.seq)
		d->time_ns = kv_image_time(img, last);
	d->at = (struct kv_position){ img->head.epoch, img->head.nonce, last,
		chain };
}

int
kv_restore_dry_segment(struct kv_restore *r)
{
	struct kv_restore_dry *d = &r->dry;
	char name[KV_BASE_NAME_LEN];
	struct kv_image img;

	if (r->member.kind != KV_BASE_SEGMENT)
		return 0;
	kv_image_scan(&img, d->log, d->len);
	d->len = 0;
	if (img.state == KV_IMAGE_SEALED) {
		follow(r, &img);
		return 0;
	}
	kv_base_name(name, &r->member);
	return kv_ship_fail(r->env, KV_SHIP_CORRUPT, "%s: %s: damaged at byte "
	    "%llu: it does not verify", r->name, name,
	    (unsigned long long)img.end);
}

int
kv_restore_dry_answer(struct kv_restore *r)
{
	const struct kv_restore_dry *d = &r->dry;

	if (d->begun && (r->o.until_seq != 0 ?
	    d->at.seq == r->o.until_seq : d->past ||
	    d->at.seq == r->base.end.seq))
		return 0;
	if (r->o.until_seq != 0)
		return kv_ship_fail(r->env, KV_SHIP_GAP, "commit %llu: not in "
		    "these backups: they have no log that leads there",
		    (unsigned long long)r->o.until_seq);
	return kv_ship_fail(r->env, KV_SHIP_GAP, "that time: not in these "
	    "backups: they have no log that leads there");
}
