/* step_write.c - steps that write */
#include "kvbench.h"

/* ------------------------------------------------------------- write steps */
static struct meas last_fill;
static char last_label[128];

void step_fill(const char *label, int random, int sync, int overwrite)
{
    static struct meas m;
    uint64_t cnt = sync ? SYNC_N : N;
    char k[KLEN], v[65536];
    int stride = 0;
    need(0, sync, !random && !sync);
    if (sync && cnt > N) cnt = N;
    if (random) make_perm(SEED + 11 * overwrite);
    if (sync) stride = 1;
    m_begin(&m);
    for (uint64_t i = 0; i < cnt; i++) {
        uint64_t idx = random ? perm[i] : i;
        uint32_t ver = overwrite ? VER[idx] + 1 : 1;
        key_enc(k, idx * 2);
        val_enc(v, VLEN, idx, ver);
        uint64_t t = __rdtsc();
        int r = stride ? A->put_sync(ses, k, KLEN, v, VLEN) : A->put(ses, k, KLEN, v, VLEN);
        h_add(&m.h, __rdtsc() - t);
        if (r < 0) MUST(r);
        VER[idx] = ver;
    }
    m_end(&m, cnt);
    row(label, &m, "ok", -1);
    last_fill = m;
    snprintf(last_label, sizeof last_label, "%s", label);
}
void step_fillbatch(const char *label, int random)
{
    static struct meas m;
    struct kvb_kv *kv = malloc(BATCH * sizeof *kv);
    char *kb = malloc(BATCH * KLEN), *vb = malloc((size_t)BATCH * VLEN);
    need(0, 0, !random);
    if (random) make_perm(SEED);
    m_begin(&m);
    for (uint64_t i = 0; i < N; i += BATCH) {
        unsigned c = N - i < BATCH ? N - i : BATCH;
        for (unsigned j = 0; j < c; j++) {
            uint64_t idx = random ? perm[i + j] : i + j;
            uint32_t ver = VER[idx] + 1;
            key_enc(kb + j * KLEN, idx * 2);
            val_enc(vb + (size_t)j * VLEN, VLEN, idx, ver);
            VER[idx] = ver;
            kv[j] = (struct kvb_kv){ kb + j * KLEN, KLEN, vb + (size_t)j * VLEN, VLEN };
        }
        uint64_t t = __rdtsc();
        MUST(A->batch(ses, kv, c, 0));
        h_add(&m.h, __rdtsc() - t);
    }
    m_end(&m, N);
    row(label, &m, "ok (p99 is a whole batch)", -1);
    last_fill = m;
    snprintf(last_label, sizeof last_label, "%s", label);
    free(kv); free(kb); free(vb);
}
void step_deleterandom(const char *label)
{
    static struct meas m;
    char k[KLEN];
    need(0, 0, 0);
    make_perm(SEED + 77);
    uint64_t cnt = N / 2;
    m_begin(&m);
    for (uint64_t i = 0; i < cnt; i++) {
        uint64_t idx = perm[i];
        key_enc(k, idx * 2);
        uint64_t t = __rdtsc();
        int r = A->del(ses, k, KLEN);
        h_add(&m.h, __rdtsc() - t);
        if (r < 0) MUST(r);
        VER[idx] = 0;
    }
    m_end(&m, cnt);
    row(label, &m, "ok", -1);
    last_fill = m;
    snprintf(last_label, sizeof last_label, "%s", label);
}
void step_settle(const char *label, int level)
{
    static struct meas m;
    char l[300];
    need(0, 0, 0);
    A->session_end(ses);
    ses = NULL;
    m_begin(&m);
    MUST(A->settle(db, level));
    while (waitpid(-1, NULL, 0) > 0) ;          /* processes that the engine has started belong to it */
    m_end(&m, 1);
    MUST(A->session(db, &ses));
    if (!strcmp(label, "-") || !strcmp(last_label, "-")) return;
    if (strcmp(label, "settle") && strcmp(label, "quiesce")) { row(label, &m, "ok", disk_size()); return; }
    snprintf(l, sizeof l, "%s.%s", label, last_label[0] ? last_label : "db");
    row(l, &m, "ok", disk_size());
    if (last_fill.ops) {
        struct meas s = last_fill;
        memset(&s.h, 0, sizeof s.h);
        s.secs += m.secs; s.cpu += m.cpu; s.foreign += m.foreign;
        s.io.wchar += m.io.wchar; s.io.wbytes += m.io.wbytes;
        if (m.rss > s.rss) s.rss = m.rss;
        snprintf(l, sizeof l, "%s+%s", last_label, label);
        row(l, &s, "ok", -1);
        last_fill.ops = 0;
    }
}
void step_size(const char *label)
{
    char l[300];
    shut();
    if (strcmp(label, "size")) snprintf(l, sizeof l, "%s", label);
    else snprintf(l, sizeof l, "size.%s", last_label[0] ? last_label : "db");
    int64_t d = disk_size();
    char note[64] = "ok";
    if (du_log) snprintf(note, sizeof note, "ok log_mb=%.2f", du_log / 1e6);
    row(l, NULL, note, d);
}
