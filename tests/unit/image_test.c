/*
 * A segment that was cut, changed or put together wrongly never passes for a
 * complete one, and each of these is called by its name.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "env.h"
#include "kevo.h"
#include "shipped.h"

static struct shipped s, t;
static uint8_t b[2 * SHIPPED_MAX];

/* The bytes that are there are verified, whatever follows. */
static int
prefix_is_right(const struct kv_image *img)
{
	uint64_t n = 0;

	while (n < 20 && s.record[n + 1] <= img->end)
		n++;
	return img->records == n && img->end == s.record[n] &&
	    img->last_seq == n;
}

static void
test_whole(void)
{
	struct kv_image img;
	uint64_t off, chain;

	kv_image_scan(&img, s.b, s.len);
	expect(img.state == KV_IMAGE_SEALED);
	expect(img.records == 20 && img.last_seq == 20);
	expect(img.chain == s.chain && img.end == s.len - KV_SEAL_LEN);
	expect(img.first_ns == 1000000000u && img.last_ns == 20000000000u);
	expect(kv_image_at(&img, 0, &off, &chain) == 0 &&
	    off == KV_SEGMENT_HEAD && chain == s.head.chain_before);
	expect(kv_image_at(&img, 20, &off, &chain) == 0 &&
	    off == img.end && chain == s.chain);
	expect(kv_image_at(&img, 7, &off, &chain) == 0 && off == s.record[7]);
	expect(kv_image_at(&img, 21, &off, &chain) != 0);
	expect(kv_image_seq_at(&img, 999999999u) == 0);
	expect(kv_image_seq_at(&img, 1000000000u) == 1);
	expect(kv_image_seq_at(&img, 7999999999u) == 7);
	expect(kv_image_seq_at(&img, UINT64_MAX) == 20);
	tap_report("a sealed segment, and the places in it");
}

static void
test_cut(void)
{
	unsigned count[4] = { 0, 0, 0, 0 };
	struct kv_image img;
	int boundary;

	for (uint64_t len = 0; len < s.len; len++) {
		boundary = 0;
		for (int i = 0; i <= 20; i++)
			boundary |= s.record[i] == len;
		/* In memory that ends there, so that a sanitizer sees it. */
		uint8_t *p = tap_alloc((size_t)len);

		memcpy(p, s.b, (size_t)len);
		kv_image_scan(&img, p, len);
		count[img.state]++;
		expect(img.state == (boundary ? KV_IMAGE_OPEN :
		    KV_IMAGE_SHORT));
		expect(len < KV_SEGMENT_HEAD || prefix_is_right(&img));
		free(p);
	}
	printf("# %" PRIu64 " lengths: %u short, %u open\n", s.len,
	    count[KV_IMAGE_SHORT], count[KV_IMAGE_OPEN]);
	tap_report("cut at every length: short, or open between records");
}

static void
test_flip(void)
{
	struct kv_image img;

	memcpy(b, s.b, s.len);
	for (uint64_t bit = 0; bit < s.len * 8; bit++) {
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
		kv_image_scan(&img, b, s.len);
		if (!expect(img.state == KV_IMAGE_CORRUPT))
			printf("# bit %" PRIu64 "\n", bit);
		expect(!img.has_head || prefix_is_right(&img));
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	printf("# %" PRIu64 " bits\n", s.len * 8);
	tap_report("every bit flipped: corrupt");
}

static void
test_holes(void)
{
	uint64_t changed = 0;

	for (uint64_t len = 1; len <= 512; len += 1 + len / 16)
		for (uint64_t off = 0; off + len <= s.len; off++) {
			memcpy(b, s.b, s.len);
			memset(b + off, 0, len);
			if (memcmp(b, s.b, s.len) == 0)
				continue;
			changed++;
			expect(shipped_state(b, s.len) != KV_IMAGE_SEALED);
		}
	printf("# %" PRIu64 " holes\n", changed);
	tap_report("holes of zeros are never a complete segment");
}

static void
test_pieces(void)
{
	uint64_t len;

	for (int i = 0; i < 20; i++) {
		len = s.record[i + 1] - s.record[i];
		memcpy(b, s.b, s.record[i]);
		memcpy(b + s.record[i], s.b + s.record[i + 1],
		    s.len - s.record[i + 1]);
		expect(shipped_state(b, s.len - len) == KV_IMAGE_CORRUPT);
		/* And one that is there twice. */
		memcpy(b, s.b, s.record[i + 1]);
		memcpy(b + s.record[i + 1], s.b + s.record[i],
		    s.len - s.record[i]);
		expect(shipped_state(b, s.len + len) == KV_IMAGE_CORRUPT);
	}
	tap_report("a record removed, or doubled: corrupt");
	memcpy(b, s.b, s.len);
	memcpy(b + s.len, s.b, s.len);
	expect(shipped_state(b, 2 * s.len) == KV_IMAGE_CORRUPT);
	memcpy(b, s.b, s.len);
	memset(b + s.len, 0, 512);
	expect(shipped_state(b, s.len + 512) == KV_IMAGE_CORRUPT);
	for (int i = 1; i < 20; i++) {
		memcpy(b, s.b, s.record[i]);
		memcpy(b + s.record[i], t.b + t.record[i],
		    t.len - t.record[i]);
		expect(shipped_state(b, s.record[i] + t.len - t.record[i]) ==
		    KV_IMAGE_CORRUPT);
	}
	tap_report("appended to itself, zeros behind, or spliced: corrupt");
}

/* A record that is right by itself is not later than the one before. */
static void
test_time(void)
{
	struct kv_position p = shipped_origin();
	struct kv_frame f;
	uint64_t total;

	shipped_make(&t, &p, 2, 0, 'x');
	total = t.len - t.record[1];
	kv_frame_decode(t.b + t.record[1], &f, p.nonce);
	f.time_ns = 1000000000u;
	kv_frame_encode(t.b + t.record[1], &f, p.nonce);
	put_le64(t.b + t.len - KV_TRAILER_LEN, kv_chain(t.b + t.record[1],
	    total - KV_TRAILER_LEN, get_le64(t.b + t.record[1] -
	    KV_TRAILER_LEN)));
	expect(shipped_state(t.b, t.len) == KV_IMAGE_CORRUPT);
	tap_report("a commit that is not later than the one before: corrupt");
}

/* Claims of a header about its length are held against it. */
static void
test_capacity(void)
{
	struct kv_segment_head h = s.head;

	memcpy(b, s.b, s.len);
	h.capacity = s.len - 1;
	kv_segment_head_encode(b, &h);
	expect(shipped_state(b, s.len) == KV_IMAGE_CORRUPT);
	tap_report("longer than its header allows: corrupt");
}

/* ---- a file that grows -------------------------------------------------- */

static struct kv_env env;

static void
store(int fd, const uint8_t *p, uint64_t len)
{
	expect(ftruncate(fd, 0) == 0);
	expect(pwrite(fd, p, (size_t)len, 0) == (ssize_t)len);
	expect(lseek(fd, 0, SEEK_SET) == 0);
}

static int
same(const struct kv_image *a, const struct kv_image *c)
{
	return a->state == c->state && a->records == c->records &&
	    a->len == c->len && a->end == c->end && a->chain == c->chain &&
	    a->last_seq == c->last_seq && a->first_ns == c->first_ns &&
	    a->last_ns == c->last_ns && strcmp(a->why, c->why) == 0 &&
	    memcmp(a->bytes, c->bytes, (size_t)a->len) == 0;
}

/* It was len bytes, and is more by then. */
static void
grow(int fd, uint64_t len, uint64_t more)
{
	struct kv_image img, whole;

	if (more > s.len - len)
		more = s.len - len;
	store(fd, s.b, len);
	expect(kv_image_read(&env, fd, "image", &img) == 0);
	kv_image_pass(&img, img.last_seq / 2);
	expect(pwrite(fd, s.b + len, (size_t)more, (off_t)len) ==
	    (ssize_t)more);
	kv_image_scan(&whole, s.b, len + more);
	expect(kv_image_grow(&env, fd, "image", &img) == 0);
	expect(same(&img, &whole));
	kv_image_release(&img);
}

static void
test_grow(void)
{
	static const uint64_t more[] = { 0, 1, 47, 300, SHIPPED_MAX };
	int fd = memfd_create("image", MFD_CLOEXEC);

	expect(fd >= 0);
	for (uint64_t len = KV_SEGMENT_HEAD; len < s.len; len += 3)
		for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++)
			grow(fd, len, more[i]);
	close(fd);
	tap_report("read on where it ended: as if it was read whole");
}

/* The file has other bytes by now. */
static int
reread(int fd, struct kv_image *img, const uint8_t *p, uint64_t len)
{
	int rc;

	store(fd, s.b, s.record[5]);
	expect(kv_image_read(&env, fd, "image", img) == 0);
	store(fd, p, len);
	rc = kv_image_grow(&env, fd, "image", img);
	kv_image_release(img);
	return rc;
}

static void
test_other(void)
{
	int fd = memfd_create("image", MFD_CLOEXEC);
	struct kv_image img;

	expect(reread(fd, &img, s.b, s.record[9]) == 0);
	expect(reread(fd, &img, t.b, t.record[9]) == KEVO_NOTFOUND);
	expect(reread(fd, &img, s.b, s.record[4]) == KEVO_NOTFOUND);
	expect(reread(fd, &img, s.b, 0) == KEVO_NOTFOUND);
	memcpy(b, s.b, s.len);
	b[60] ^= 1;		/* of the header */
	expect(reread(fd, &img, b, s.record[9]) == KEVO_NOTFOUND);
	memcpy(b, s.b, s.len);
	b[s.record[6] - 1] ^= 1;	/* of what is new */
	expect(reread(fd, &img, b, s.record[9]) == KEVO_NOTFOUND);
	memcpy(b + s.len, s.b, s.len);
	expect(reread(fd, &img, b + s.len, s.record[9]) == 0);
	close(fd);
	tap_report("another file, or less, or damage: to be read anew");
}

/* Places are the same, whatever was passed. */
static void
test_pass(void)
{
	struct kv_image img, whole;
	uint64_t off, chain, want, c;

	kv_image_scan(&whole, s.b, s.len);
	for (uint64_t p = 0; p <= 21; p++) {
		kv_image_scan(&img, s.b, s.len);
		kv_image_pass(&img, p);
		for (uint64_t seq = 0; seq <= 20; seq++) {
			expect(kv_image_at(&img, seq, &off, &chain) == 0 &&
			    kv_image_at(&whole, seq, &want, &c) == 0 &&
			    off == want && off == s.record[seq] && chain == c);
			expect(kv_image_time(&img, seq) ==
			    seq * 1000000000u);
			for (uint64_t d = 0; d < 3; d++)
				expect(kv_image_seq_at(&img,
				    seq * 1000000000u + d) == seq);
		}
		expect(kv_image_at(&img, 21, &off, &chain) != 0);
		expect(kv_image_time(&img, 21) == 0);
	}
	tap_report("places are found behind those that were passed");
}

int
main(void)
{
	struct kv_position p = shipped_origin(), q = p;

	tap_start("image");
	shipped_make(&s, &p, 20, 1, 'a');
	shipped_make(&t, &q, 20, 1, 'b');
	test_whole();
	test_cut();
	test_flip();
	test_holes();
	test_pieces();
	test_time();
	test_capacity();
	test_grow();
	test_other();
	test_pass();
	return tap_end();
}
