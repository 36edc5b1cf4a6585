/*
 * batch_test: what a batch holds, its limits in bytes and in number, and
 * what it gives back.
 */
#include "db.h"
#include "record.h"
#include "tap.h"

#define START	(KV_FRAME_LEN + KV_PAYLOAD_HEAD)

static struct kevo db;		/* for its error message only */
static struct kevo_batch batch = { .db = &db };

static int
put(const void *key, size_t klen, const void *val, size_t vlen)
{
	return kevo_batch_put(&batch, key, klen, val, vlen, 0);
}

static void
test_keys(void)
{
	char *big = tap_alloc(KEVO_KEY_MAX + 1);

	memset(big, 'k', KEVO_KEY_MAX + 1);
	expect(put("", 0, "v", 1) == KEVO_EINVAL);
	expect(put(NULL, 5, "v", 1) == KEVO_EINVAL);
	expect(put(big, KEVO_KEY_MAX + 1, "v", 1) == KEVO_ELIMIT &&
	    strstr(db.env.msg, "65537") != NULL);
	expect(kevo_batch_delete(&batch, big, KEVO_KEY_MAX + 1) ==
	    KEVO_ELIMIT);
	expect(put(big, (size_t)1 << 40, "v", 1) == KEVO_ELIMIT);
	expect(kevo_batch_count(&batch) == 0);
	expect(put(big, KEVO_KEY_MAX, NULL, 0) == 0);
	expect(put("k", 1, NULL, 0) == 0 &&
	    kevo_batch_delete(&batch, "k", 1) == 0);
	expect(kevo_batch_count(&batch) == 3);
	tap_report("keys: of 1 to 65536 bytes");
	expect(put("k", 1, big, (size_t)KEVO_VALUE_MAX + 1) == KEVO_ELIMIT &&
	    strstr(db.env.msg, "1000000001") != NULL);
	expect(put("k", 1, big, SIZE_MAX) == KEVO_ELIMIT);
	expect(kevo_batch_count(&batch) == 3);
	tap_report("values: one that is too long is refused before it is read");
	free(big);
	kv_batch_release(&batch);
}

/* The batch's bytes are a payload as the log has it. */
static void
test_growth(void)
{
	uint8_t key[8], *val = tap_alloc(100000);
	uint64_t off = START, grown = 0, room = 0, len;
	struct kv_op op;

	for (uint32_t i = 0; i < 3000; i++) {
		size_t vlen = tap_below(i % 500 == 0 ? 100000 : 50);

		put_le64(key, i);
		memset(val, (int)i, vlen);
		expect(kevo_batch_put(&batch, key, 8, val, vlen, i % 3) == 0);
		grown += batch.room != room;
		room = batch.room;
		expect(batch.len + 8 + KV_TRAILER_LEN <= batch.room);
	}
	expect(grown < 40);
	expect(kevo_batch_count(&batch) == 3000 &&
	    kevo_batch_bytes(&batch) == batch.len);
	for (uint32_t i = 0; i < 3000; i++) {
		expect(kv_op_decode(batch.buf, batch.len, off, &op) == 0 &&
		    op.klen == 8 && get_le64(op.key) == i &&
		    op.expires_ns == i % 3 &&
		    (op.vlen == 0 || op.val[op.vlen - 1] == (uint8_t)i));
		off += op.len;
	}
	expect(off == batch.len);
	tap_report("growth: the buffer grows by parts, and keeps its content");
	len = batch.len;
	kevo_batch_clear(&batch);
	expect(kevo_batch_count(&batch) == 0 && batch.buf != NULL);
	expect(put("k", 1, "v", 1) == 0 && batch.len < len && batch.count ==
	    1 && kv_op_decode(batch.buf, batch.len, START, &op) == 0);
	tap_report("growth: a cleared batch begins anew in the same memory");
	kv_batch_release(&batch);
	free(val);
}

static void
test_count(void)
{
	uint64_t len;

	for (uint32_t i = 0; i < KEVO_COMMIT_OPS; i++)
		if (kevo_batch_delete(&batch, &i, 4) != 0)
			tap_bail("operation %u: %s", i, db.env.msg);
	len = batch.len;
	expect(kevo_batch_delete(&batch, "k", 1) == KEVO_ELIMIT &&
	    strstr(db.env.msg, "commit in parts") != NULL);
	expect(put("k", 1, "v", 1) == KEVO_ELIMIT);
	expect(batch.count == KEVO_COMMIT_OPS && batch.len == len);
	kevo_batch_clear(&batch);
	expect(batch.buf == NULL);
	expect(put("k", 1, "v", 1) == 0 && batch.count == 1);
	tap_report("count: up to 4194304; a huge buffer is not kept");
	kv_batch_release(&batch);
}

/* A gigabyte is not filled for this: the batch is only told that it is. */
static void
test_bytes(void)
{
	uint64_t most = KEVO_COMMIT_MAX, head = KV_OP_HEAD + 1;
	char v[101] = { 0 };
	struct kv_op op;

	expect(put("k", 1, "v", 1) == 0);
	/* As if it held all but what one more operation of 100 takes. */
	batch.len = KV_FRAME_LEN + most - head - 100;
	expect(put("k", 1, "v", (size_t)KEVO_VALUE_MAX) == KEVO_ELIMIT &&
	    strstr(db.env.msg, "commit in parts") != NULL);
	expect(batch.count == 1 &&
	    batch.len == KV_FRAME_LEN + most - head - 100);
	expect(put("k", 1, v, 101) == KEVO_ELIMIT);
	kv_batch_reset(&batch);
	expect(put("k", 1, "w", 1) == 0 && kv_op_decode(batch.buf, batch.len,
	    START, &op) == 0 && op.val[0] == 'w');
	tap_report("bytes: up to the limit of a commit");
	kv_batch_release(&batch);
}

static void
test_conditions(void)
{
	struct kevo_record rec = { "k", 1, "value", 5, 7, 0 };
	struct kevo_cond c = { KEVO_IF_ANY, "value", 5, 7 };

	expect(kv_cond_holds(&c, 0, &rec) && kv_cond_holds(&c, 1, &rec));
	c.kind = KEVO_IF_ABSENT;
	expect(kv_cond_holds(&c, 0, &rec) && !kv_cond_holds(&c, 1, &rec));
	c.kind = KEVO_IF_PRESENT;
	expect(!kv_cond_holds(&c, 0, &rec) && kv_cond_holds(&c, 1, &rec));
	c.kind = KEVO_IF_VALUE;
	expect(!kv_cond_holds(&c, 0, &rec) && kv_cond_holds(&c, 1, &rec));
	c.vlen = 4;
	expect(!kv_cond_holds(&c, 1, &rec));
	c.value = "valuf";
	c.vlen = 5;
	expect(!kv_cond_holds(&c, 1, &rec));
	c.value = NULL;
	c.vlen = rec.vlen = 0;
	expect(kv_cond_holds(&c, 1, &rec));
	c.kind = KEVO_IF_VERSION;
	expect(kv_cond_holds(&c, 1, &rec) && !kv_cond_holds(&c, 0, &rec));
	c.version = 0;
	expect(!kv_cond_holds(&c, 1, &rec) && kv_cond_holds(&c, 0, &rec));
	c.kind = (enum kevo_cond_kind)99;
	expect(!kv_cond_holds(&c, 1, &rec));
	tap_report("conditions: each kind, on a key that is there or not");
}

int
main(void)
{
	tap_start("batch");
	test_keys();
	test_growth();
	test_count();
	test_bytes();
	test_conditions();
	return tap_end();
}
