/*
 * replica: a primary with a log, copies of it, and the log as records; for
 * tests of what replication asks of the engine.
 */
#ifndef REPLICA_H
#define REPLICA_H

#include <dirent.h>

#include "apply.h"
#include "db.h"
#include "epoch.h"
#include "record.h"
#include "role.h"
#include "tap.h"

/* The records of a log, from its first segment file on. */
struct rec {
	const uint8_t *p;
	uint64_t len, seq, chain;
	uint32_t epoch;
	uint64_t nonce;
};

struct log {
	struct rec *r;
	size_t n;
	uint8_t *bytes[4096];
	size_t nbytes;
	uint64_t first_chain;	/* before r[0] */
	uint8_t id[16];
};

static char path_buf[8][300];

static inline const char *
in_dir(const char *name)
{
	static int turn;
	char *b = path_buf[turn++ & 7];

	snprintf(b, sizeof(path_buf[0]), "%s/%s", tap_dir, name);
	return b;
}

static inline void run_cmd(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

static inline void
run_cmd(const char *fmt, ...)
{
	char cmd[900];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	if (system(cmd) != 0)
		tap_bail("%s failed", cmd);
}

static inline struct kevo *
open_it(const char *name, unsigned flags)
{
	static const char *const settings[] = {
		"memtable_bytes=64K", "compaction=manual", NULL
	};
	struct kevo_options opt = { .settings = (flags & KEVO_CREATE) ?
	    settings : NULL };
	struct kevo *db;

	if (kevo_open(in_dir(name), flags, &opt, &db) != 0)
		tap_bail("open %s: %s", name, kevo_errmsg(db));
	return db;
}

static inline void
must(struct kevo *db, int rc, const char *what)
{
	if (rc != 0)
		tap_bail("%s: %d: %s", what, rc, kevo_errmsg(db));
}

/* One random commit: one to six operations. */
static inline void
commit_some(struct kevo *db, uint64_t keys, size_t value_max)
{
	uint64_t n = tap_below(3) == 0 ? 1 + tap_below(6) : 1;
	struct kevo_batch *b;
	char key[40], *val;

	must(db, kevo_batch_new(db, &b), "batch");
	while (n-- > 0) {
		size_t len = tap_below(value_max);
		int k = snprintf(key, sizeof(key), "key%llu",
		    (unsigned long long)tap_below(keys));

		if (tap_below(5) == 0) {
			must(db, kevo_batch_delete(b, key, (size_t)k),
			    "delete");
			continue;
		}
		val = tap_alloc(len);
		tap_fill(val, len);
		must(db, kevo_batch_put(b, key, (size_t)k, val, len, 0),
		    "put");
		free(val);
	}
	must(db, kevo_commit(db, b, KEVO_SYNC_NONE, NULL), "commit");
	kevo_batch_free(b);
}

/* A copy of the files, to become a replica. */
static inline void
copy_db(const char *from, const char *to, const char *role)
{
	run_cmd("cp -r %s %s && rm -rf %s/shm && rm -f %s/role",
	    in_dir(from), in_dir(to), in_dir(to), in_dir(to));
	if (role != NULL)
		run_cmd("printf '%s' >%s/role", role, in_dir(to));
}

#define REPLICA_ROLE	"replica\\nprimary db1\\n"

static inline uint8_t *
read_bytes(const char *file, size_t *len)
{
	FILE *f = fopen(file, "r");
	struct stat st;
	uint8_t *b;

	if (f == NULL || fstat(fileno(f), &st) != 0)
		tap_bail("%s cannot be read", file);
	b = tap_alloc((size_t)st.st_size);
	*len = fread(b, 1, (size_t)st.st_size, f);
	fclose(f);
	return b;
}

static inline int
has_segment(const char *name, uint64_t counter, char *file, size_t room)
{
	snprintf(file, room, "%s/wal/%016llx.seg", in_dir(name),
	    (unsigned long long)counter);
	return access(file, F_OK) == 0;
}

static inline void
log_segment(struct log *l, const char *file)
{
	struct kv_segment_head h;
	struct kv_walk w;
	size_t len;
	uint8_t *b = read_bytes(file, &len);

	l->bytes[l->nbytes++] = b;
	if (len < KV_SEGMENT_HEAD || kv_segment_head_decode(b, &h) != 0)
		tap_bail("%s: bad header", file);
	memcpy(l->id, h.id, 16);
	if (l->n == 0)
		l->first_chain = h.chain_before;
	kv_walk_start(&w, b, len, &h);
	while (kv_walk_next(&w) == KV_WALK_RECORD) {
		if ((l->n & (l->n - 1)) == 0)
			l->r = realloc(l->r, (l->n ? 2 * l->n : 1) *
			    sizeof(l->r[0]));
		l->r[l->n++] = (struct rec){ b + w.rec_off, w.rec_len, w.seq,
		    w.chain, h.epoch, h.nonce };
	}
}

/* Read what the files have, without the engine. */
static inline void
log_read(struct log *l, const char *name)
{
	uint64_t c = 1;
	char file[400];

	memset(l, 0, sizeof(*l));
	while (!has_segment(name, c, file, sizeof(file)) && c < 100000)
		c++;
	for (; has_segment(name, c, file, sizeof(file)); c++)
		log_segment(l, file);
}

static inline void
log_free(struct log *l)
{
	for (size_t i = 0; i < l->nbytes; i++)
		free(l->bytes[i]);
	free(l->r);
}

/* The position behind record i - 1. */
static inline struct kv_position
log_at(const struct log *l, size_t i)
{
	struct kv_position p = { .seq = 0, .chain = l->first_chain };

	if (i > 0) {
		p.seq = l->r[i - 1].seq;
		p.chain = l->r[i - 1].chain;
	} else if (l->n > 0)
		p.seq = l->r[0].seq - 1;
	if (i < l->n) {
		p.epoch = l->r[i].epoch;
		p.nonce = l->r[i].nonce;
	} else if (l->n > 0) {
		p.epoch = l->r[l->n - 1].epoch;
		p.nonce = l->r[l->n - 1].nonce;
	}
	return p;
}

/* Records i to k - 1 as one piece of memory. */
static inline uint8_t *
log_piece(const struct log *l, size_t i, size_t k, size_t *len)
{
	uint8_t *b;

	*len = 0;
	for (size_t j = i; j < k; j++)
		*len += l->r[j].len;
	b = tap_alloc(*len);
	*len = 0;
	for (size_t j = i; j < k; j++) {
		memcpy(b + *len, l->r[j].p, l->r[j].len);
		*len += l->r[j].len;
	}
	return b;
}

static inline int
apply_piece(struct kv_applier *a, const struct log *l, size_t i, size_t k,
    enum kevo_sync sync, struct kv_applied *out)
{
	struct kv_apply_from from;
	size_t len;
	uint8_t *b = log_piece(l, i, k, &len);
	int rc;

	memcpy(from.db, l->id, 16);
	from.before = log_at(l, i);
	rc = kv_apply(a, &from, b, len, sync, out);
	free(b);
	return rc;
}

/* 1 if the log of the copy is the first n records of l, byte for byte. */
static inline int
log_is_prefix(const struct log *l, const char *name, size_t *n)
{
	struct log mine;
	int same = 1;

	log_read(&mine, name);
	*n = mine.n;
	if (mine.n > l->n)
		same = 0;
	for (size_t i = 0; same && i < mine.n; i++)
		same = mine.r[i].len == l->r[i].len &&
		    mine.r[i].epoch == l->r[i].epoch &&
		    mine.r[i].nonce == l->r[i].nonce &&
		    memcmp(mine.r[i].p, l->r[i].p, l->r[i].len) == 0;
	log_free(&mine);
	return same;
}

/* All that a reader sees, hashed. */
static inline uint64_t
contents(const char *name)
{
	struct kevo *db = open_it(name, KEVO_RDONLY);
	struct kevo_record rec;
	struct kevo_iter *it;
	uint64_t h = 14695981039346656037u;

	must(db, kevo_iter_new(db, NULL, NULL, &it), "iterate");
	while (kevo_iter_next(it, &rec) == 0) {
		const uint8_t *p = rec.key;

		for (size_t i = 0; i < rec.klen; i++)
			h = (h ^ p[i]) * 1099511628211u;
		for (p = rec.value; p < (const uint8_t *)rec.value + rec.vlen;
		    p++)
			h = (h ^ *p) * 1099511628211u;
		h = (h ^ rec.version) * 1099511628211u;
	}
	kevo_iter_free(it);
	kevo_close(db);
	return h;
}

#endif /* REPLICA_H */
