/* adapter_kevo.c - this project.
 *
 * A session is a handle of its own, since a handle belongs to one thread; all
 * of them share the database's memory.  "Non-durable" is sync=none: kill -9
 * loses nothing, a power cut loses the tail only.
 *
 * kevo:NAME=VALUE;... passes settings to the databases that are made, by their
 * own names (kevo-init(1)) or short ones:
 *     memtable=MIB   size of a log segment (default: --write-buffer, 64)
 *     block= restart= hash= table= level0= ratio= compress=
 * --compress on is compress=lz4 unless it says otherwise.
 */
#include <kevo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "adapter.h"

struct db {
    char dir[4096];
    unsigned flags;
    struct kevo *k;             /* creates the database, and settles it */
};
struct ses { struct kevo *k; struct kevo_batch *b; };

static char err[1024];

static int fail(struct kevo *k, int r)
{
    if (r >= 0) return 0;
    snprintf(err, sizeof err, "%s", kevo_errmsg(k));
    return KVB_ERR;
}
static const char *version(void) { return KEVO_VERSION; }
static const char *lasterr(void) { return err; }

/* ---- settings ---- */

enum { SETTINGS = 32, SETTING = 100 };

struct settings {
    char text[SETTINGS][SETTING];
    const char *list[SETTINGS + 1];     /* NULL-ended, for kevo_options */
    size_t n;
};

static const char *const names[][2] = {
    { "memtable", "memtable_bytes" }, { "block", "block_bytes" }, { "restart", "restart_interval" },
    { "hash", "hash_index" }, { "table", "table_bytes" }, { "level0", "level0_tables" },
    { "ratio", "level_ratio" }, { "compress", "compression" },
};

static int given(const struct settings *s, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < s->n; i++)
        if (!strncmp(s->text[i], name, n) && s->text[i][n] == '=') return 1;
    return 0;
}
static int add(struct settings *s, const char *name, size_t nl, const char *value, size_t vl)
{
    const char *unit = "";
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i][0]) == nl && !memcmp(names[i][0], name, nl)) {
            if (i == 0 && vl && value[vl - 1] >= '0' && value[vl - 1] <= '9') unit = "M";
            name = names[i][1];
            nl = strlen(name);
            break;
        }
    if (s->n == SETTINGS || nl + vl + 3 > SETTING) return -1;
    sprintf(s->text[s->n], "%.*s=%.*s%s", (int)nl, name, (int)vl, value, unit);
    s->list[s->n] = s->text[s->n];
    s->n++;
    return 0;
}
static int settings(struct settings *s, const struct kvb_opts *o)
{
    char n[32];
    memset(s, 0, sizeof *s);
    for (const char *p = o->extra ? o->extra : ""; *p; ) {
        size_t len = strcspn(p, ";"), nl = strcspn(p, "=;");
        if (nl == len || add(s, p, nl, p + nl + 1, len - nl - 1)) {
            snprintf(err, sizeof err, "%.*s: not NAME=VALUE", (int)len, p);
            return -1;
        }
        p += len + (p[len] == ';');
    }
    snprintf(n, sizeof n, "%zuM", o->write_buffer >> 20);
    if (!given(s, "memtable_bytes")) add(s, "memtable_bytes", 14, n, strlen(n));
    if (!o->compress) return 0;
    if (!given(s, "compression")) add(s, "compression", 11, "lz4", 3);
    snprintf(n, sizeof n, "%zuM", o->cache >> 20);
    if (!given(s, "cache_bytes")) add(s, "cache_bytes", 11, n, strlen(n));
    return 0;
}

static int open_(const char *dir, const struct kvb_opts *o, int readonly, void **out)
{
    struct settings set;
    struct kevo_options opt = { .program = "kvbench", .wait_set = 1, .wait_ms = KEVO_WAIT_FOREVER };
    struct db *d;

    if (settings(&set, o)) return KVB_ERR;
    opt.settings = set.list;
    d = calloc(1, sizeof *d);
    snprintf(d->dir, sizeof d->dir, "%s", dir);
    d->flags = readonly ? KEVO_RDONLY : KEVO_CREATE;
    int r = kevo_open(d->dir, d->flags, &opt, &d->k);
    if (fail(d->k, r)) {
        kevo_close(d->k);
        free(d);
        return KVB_ERR;
    }
    *out = d;
    return 0;
}
static int close_(void *v)
{
    struct db *d = v;
    int r = kevo_close(d->k);
    free(d);
    return r < 0 ? KVB_ERR : 0;
}
static int session(void *v, void **out)
{
    struct kevo_options opt = { .program = "kvbench", .wait_set = 1, .wait_ms = KEVO_WAIT_FOREVER };
    struct db *d = v;
    struct ses *s = calloc(1, sizeof *s);
    int r = kevo_open(d->dir, d->flags & KEVO_RDONLY, &opt, &s->k);

    if (r == 0) r = kevo_batch_new(s->k, &s->b);
    if (fail(s->k, r)) { kevo_close(s->k); free(s); return KVB_ERR; }
    *out = s;
    return 0;
}
static void session_end(void *v)
{
    struct ses *s = v;
    kevo_batch_free(s->b);
    kevo_close(s->k);
    free(s);
}
static int put(void *v, const void *k, size_t kl, const void *val, size_t vl)
{
    static const struct kevo_write none = { .sync = KEVO_SYNC_NONE };
    struct ses *s = v;
    return fail(s->k, kevo_put(s->k, k, kl, val, vl, &none, NULL));
}
static int put_sync(void *v, const void *k, size_t kl, const void *val, size_t vl)
{
    static const struct kevo_write full = { .sync = KEVO_SYNC_FULL };
    struct ses *s = v;
    return fail(s->k, kevo_put(s->k, k, kl, val, vl, &full, NULL));
}
static int batch(void *v, const struct kvb_kv *kv, size_t n, int durable)
{
    struct ses *s = v;
    int r = 0;
    for (size_t i = 0; i < n && r == 0; i++)
        r = kevo_batch_put(s->b, kv[i].k, kv[i].kl, kv[i].v, kv[i].vl, 0);
    if (r == 0) r = kevo_commit(s->k, s->b, durable ? KEVO_SYNC_FULL : KEVO_SYNC_NONE, NULL);
    return fail(s->k, r);
}
static int del(void *v, const void *k, size_t kl)
{
    static const struct kevo_write none = { .sync = KEVO_SYNC_NONE };
    struct ses *s = v;
    return fail(s->k, kevo_delete(s->k, k, kl, &none, NULL));
}
static long get(void *v, const void *k, size_t kl, void *buf, size_t cap)
{
    struct ses *s = v;
    struct kevo_record rec;
    int r = kevo_peek(s->k, NULL, k, kl, &rec);
    if (r == KEVO_NOTFOUND) return KVB_NOTFOUND;
    if (r < 0) return fail(s->k, r);
    memcpy(buf, rec.value, rec.vlen < cap ? rec.vlen : cap);
    return (long)rec.vlen;
}

struct it { struct kevo_iter *it; struct kevo *k; };

static int iter_open(void *v, void **out)
{
    struct ses *s = v;
    struct it *i = malloc(sizeof *i);
    i->k = s->k;
    if (fail(s->k, kevo_iter_new(s->k, NULL, NULL, &i->it))) { free(i); return KVB_ERR; }
    *out = i;
    return 0;
}
static void iter_close(void *v) { struct it *i = v; kevo_iter_free(i->it); free(i); }
static int at(struct it *i, int r, const struct kevo_record *rec, struct kvb_kv *kv)
{
    if (r == KEVO_NOTFOUND) return 0;
    if (r < 0) return fail(i->k, r);
    *kv = (struct kvb_kv){ rec->key, rec->klen, rec->value, rec->vlen };
    return 1;
}
static int iter_seek(void *v, const void *k, size_t kl, struct kvb_kv *kv)
{
    struct it *i = v;
    struct kevo_record rec;
    return at(i, k ? kevo_iter_seek(i->it, k, kl, &rec) : kevo_iter_first(i->it, &rec), &rec, kv);
}
static int iter_last(void *v, struct kvb_kv *kv)
{
    struct it *i = v;
    struct kevo_record rec;
    return at(i, kevo_iter_last(i->it, &rec), &rec, kv);
}
static int iter_next(void *v, struct kvb_kv *kv)
{
    struct it *i = v;
    struct kevo_record rec;
    return at(i, kevo_iter_next(i->it, &rec), &rec, kv);
}
static int iter_prev(void *v, struct kvb_kv *kv)
{
    struct it *i = v;
    struct kevo_record rec;
    return at(i, kevo_iter_prev(i->it, &rec), &rec, kv);
}
/* Once, and again while another process, which a writer has started, is at a part of it. */
static int compact(struct db *d, unsigned flags)
{
    struct kevo_compact c = { .flags = flags };
    struct kevo_compact_progress p;
    for (;;) {
        int r = kevo_compact(d->k, &c, &p);
        if (r != KEVO_EBUSY && (r != 0 || !p.busy)) return fail(d->k, r);
        usleep(5000);
    }
}
static int settle(void *v, int level)
{
    struct db *d = v;
    int r;
    if (level >= 2) r = compact(d, KEVO_COMPACT_FULL);
    else if ((r = compact(d, KEVO_COMPACT_FLUSH)) == 0) r = compact(d, 0);
    return r ? r : fail(d->k, kevo_sync(d->k));
}
static int is_log(const char *file) { return strstr(file, ".seg") != NULL; }

static const struct kvb_adapter A = {
    .abi = KVB_ABI, .name = "kevo",
    .caps = KVB_CAP_MP_WRITE | KVB_CAP_MP_READ | KVB_CAP_READONLY | KVB_CAP_COMPRESS | KVB_CAP_ATOMIC,
    .version = version, .lasterr = lasterr, .open = open_, .close = close_, .session = session,
    .session_end = session_end, .put = put, .put_sync = put_sync, .batch = batch, .del = del, .get = get,
    .iter_open = iter_open, .iter_close = iter_close, .iter_seek = iter_seek, .iter_last = iter_last,
    .iter_next = iter_next, .iter_prev = iter_prev, .settle = settle, .is_log = is_log,
};
const struct kvb_adapter *kvb_adapter_entry(void) { return &A; }
