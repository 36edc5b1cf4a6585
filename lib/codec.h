/*
 * codec: compression of a data block; the only caller of LZ4 and Zstandard.
 */
#ifndef KV_CODEC_H
#define KV_CODEC_H

#include <stddef.h>
#include <stdint.h>

struct kv_codec_work;	/* memory that a codec uses again and again */

/* Numbers are on disk and are never used again. */
enum kv_codec {
	KV_CODEC_NONE = 0,
	KV_CODEC_LZ4 = 1,
	KV_CODEC_ZSTD = 2
};

/*
 * Compress src into dst, of room bytes.  *work (NULL at first) is kept from
 * call to call by its owner, who gives it to kv_codec_free().  level: that of
 * Zstandard.  Returns the compressed length, or 0 if it does not fit or
 * memory is out.
 */
size_t kv_codec_compress(struct kv_codec_work **work, uint8_t codec,
    int level, const void *src, size_t len, void *dst, size_t room);

/* Decompress src into exactly len bytes.  0, or -1 if it does not give
 * them. */
int kv_codec_decompress(struct kv_codec_work **work, uint8_t codec,
    const void *src, size_t src_len, void *dst, size_t len);

void kv_codec_free(struct kv_codec_work *work);

/* 1 if there is such a codec. */
int kv_codec_known(uint8_t codec);

/*
 * Zstandard frames as the zstd tool reads and writes them, for files.
 *
 * kv_zstd_frame() makes one with a content checksum: *out is malloc'd.
 * Returns its length, or 0 if memory is out.
 */
size_t kv_zstd_frame(int level, const void *src, size_t len, void **out);

/* 1 if these bytes begin a frame; len is at least 4. */
int kv_zstd_is_frame(const void *p, size_t len);

/*
 * Unpack one frame piece by piece.  kv_zstd_step() takes from *in and fills
 * *out, moving both and lowering what is left of them.  Returns 1 when the
 * frame is complete and its checksum right, 0 if it needs more of either, or
 * -1 if it is damaged.
 */
struct kv_zstd;
struct kv_zstd *kv_zstd_new(void);	/* NULL: out of memory */
void kv_zstd_free(struct kv_zstd *z);
int kv_zstd_step(struct kv_zstd *z, const uint8_t **in, size_t *in_left,
    uint8_t **out, size_t *out_left);

#endif /* KV_CODEC_H */
