#include <limits.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "codec.h"

/*
 * Zstandard's contexts are large, and making one takes longer than a small
 * block; LZ4 needs none.
 */
struct kv_codec_work {
	ZSTD_CCtx *compress;
	ZSTD_DCtx *decompress;
};

int
kv_codec_known(uint8_t codec)
{
	return codec <= KV_CODEC_ZSTD;
}

static struct kv_codec_work *
get_work(struct kv_codec_work **work)
{
	if (*work == NULL)
		*work = calloc(1, sizeof(**work));
	return *work;
}

static size_t
zstd_compress(struct kv_codec_work *w, int level, const void *src, size_t len,
    void *dst, size_t room)
{
	size_t n;

	if (w == NULL || (w->compress == NULL &&
	    (w->compress = ZSTD_createCCtx()) == NULL))
		return 0;
	n = ZSTD_compressCCtx(w->compress, dst, room, src, len, level);
	return ZSTD_isError(n) ? 0 : n;
}

size_t
kv_codec_compress(struct kv_codec_work **work, uint8_t codec, int level,
    const void *src, size_t len, void *dst, size_t room)
{
	int n;

	if (len > LZ4_MAX_INPUT_SIZE || room > INT_MAX)
		return 0;
	if (codec == KV_CODEC_ZSTD)
		return zstd_compress(get_work(work), level, src, len, dst,
		    room);
	if (codec != KV_CODEC_LZ4)
		return 0;
	n = LZ4_compress_default(src, dst, (int)len, (int)room);
	return n > 0 ? (size_t)n : 0;
}

static int
zstd_decompress(struct kv_codec_work *w, const void *src, size_t src_len,
    void *dst, size_t len)
{
	if (w == NULL || (w->decompress == NULL &&
	    (w->decompress = ZSTD_createDCtx()) == NULL))
		return -1;
	return ZSTD_decompressDCtx(w->decompress, dst, len, src, src_len) ==
	    len ? 0 : -1;
}

int
kv_codec_decompress(struct kv_codec_work **work, uint8_t codec,
    const void *src, size_t src_len, void *dst, size_t len)
{
	if (src_len > INT_MAX || len > INT_MAX)
		return -1;
	if (codec == KV_CODEC_ZSTD)
		return zstd_decompress(get_work(work), src, src_len, dst,
		    len);
	if (codec != KV_CODEC_LZ4)
		return -1;
	return LZ4_decompress_safe(src, dst, (int)src_len, (int)len) ==
	    (int)len ? 0 : -1;
}

void
kv_codec_free(struct kv_codec_work *w)
{
	if (w == NULL)
		return;
	ZSTD_freeCCtx(w->compress);
	ZSTD_freeDCtx(w->decompress);
	free(w);
}

/* ---- files ------------------------------------------------------------- */

struct kv_zstd {
	ZSTD_DStream *stream;
};

size_t
kv_zstd_frame(int level, const void *src, size_t len, void **out)
{
	size_t room = ZSTD_compressBound(len), n = 0;
	ZSTD_CCtx *c = ZSTD_createCCtx();

	*out = c != NULL && !ZSTD_isError(room) ? malloc(room) : NULL;
	if (*out != NULL) {
		ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, level);
		ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
		n = ZSTD_compress2(c, *out, room, src, len);
	}
	if (*out != NULL && ZSTD_isError(n)) {
		free(*out);
		*out = NULL;
		n = 0;
	}
	ZSTD_freeCCtx(c);
	return n;
}

int
kv_zstd_is_frame(const void *p, size_t len)
{
	static const uint8_t magic[4] = { 0x28, 0xb5, 0x2f, 0xfd };

	return len >= sizeof(magic) && memcmp(p, magic, sizeof(magic)) == 0;
}

struct kv_zstd *
kv_zstd_new(void)
{
	struct kv_zstd *z = calloc(1, sizeof(*z));

	if (z != NULL && (z->stream = ZSTD_createDStream()) == NULL) {
		free(z);
		z = NULL;
	}
	return z;
}

void
kv_zstd_free(struct kv_zstd *z)
{
	if (z == NULL)
		return;
	ZSTD_freeDStream(z->stream);
	free(z);
}

int
kv_zstd_step(struct kv_zstd *z, const uint8_t **in, size_t *in_left,
    uint8_t **out, size_t *out_left)
{
	ZSTD_inBuffer i = { *in, *in_left, 0 };
	ZSTD_outBuffer o = { *out, *out_left, 0 };
	size_t r = ZSTD_decompressStream(z->stream, &o, &i);

	*in += i.pos;
	*in_left -= i.pos;
	*out += o.pos;
	*out_left -= o.pos;
	return ZSTD_isError(r) ? -1 : r == 0;
}
