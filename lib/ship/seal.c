#include <fcntl.h>
#include <unistd.h>

#include "db.h"
#include "record.h"
#include "seal.h"
#include "segment.h"

/*
 * The time of the first commit in the newest segment; 0: there is none.
 * Control is read without a lock: what it says may be over, and then the file
 * is gone, or has been sealed since.
 */
static uint64_t
first_time(struct kevo *db)
{
	uint8_t b[KV_SEGMENT_HEAD + KV_FRAME_LEN];
	char name[KV_SEGMENT_NAME_LEN];
	struct kv_segment_head h;
	struct kv_frame f;
	int fd, whole;

	if (db->ctl == NULL)
		return 0;
	kv_segment_name(name, kv_tail(db->ctl)->segment);
	if ((fd = kv_openat(db->dir.fd, name, O_RDONLY, 0)) < 0)
		return 0;
	whole = pread(fd, b, sizeof(b), 0) == (ssize_t)sizeof(b);
	close(fd);
	if (!whole || kv_segment_head_decode(b, &h) != 0 ||
	    kv_frame_decode(b + KV_SEGMENT_HEAD, &f, h.nonce) != 0)
		return 0;
	return f.time_ns;
}

int
kv_seal_if_older(struct kevo *db, int64_t age_ms)
{
	uint64_t first = first_time(db), now = kv_now_ns();
	int rc;

	if (first == 0 || now < first ||
	    (now - first) / 1000000 < (uint64_t)age_ms)
		return 0;
	rc = kevo_seal(db, NULL);
	if (rc == KEVO_NOTFOUND)
		return 0;
	return rc < 0 ? rc : 1;
}
