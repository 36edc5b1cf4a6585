/* step_read.c - steps that read */
#include "kvbench.h"

/* -------------------------------------------------------------- read steps */
void step_read(const char *label, int kind) /* 0 random 1 missing 2 hot */
{
    static struct meas m;
    char k[KLEN];
    uint64_t cnt = READS ? READS : N, s = SEED * 104729 + kind, bad = 0, span = N;
    need(RDONLY, 0, 0);
    if (kind == 2) {                    /* 1% of the keys, scattered */
        make_perm(SEED + 5);
        span = N / 100 ? N / 100 : 1;
    }
    m_begin(&m);
    for (uint64_t i = 0; i < cnt; i++) {
        uint64_t idx = below(&s, span);
        if (kind == 2) idx = perm[idx];
        key_enc(k, idx * 2 + (kind == 1));
        LAT_BEGIN(16, i);
        long len = A->get(ses, k, KLEN, VB, sizeof VB);
        LAT_END(m.h);
        if (kind == 1) bad += len != KVB_NOTFOUND;
        else if (len < 0) bad++;
        else bad += !val_ok(VB, len, idx);
    }
    m_end(&m, cnt);
    row(label, &m, vnote(bad), -1);
}

struct scan { uint64_t n, bad, prev; int first, exact; };
static int scan_cb(void *arg, const void *k, size_t kl, const void *v, size_t vl)
{
    struct scan *s = arg;
    uint64_t num = kl == KLEN ? key_dec(k) : 1;
    s->bad += (num & 1) || (!s->first && num <= s->prev) || !val_ok(v, vl, num / 2);
    s->first = 0;
    s->prev = num;
    s->n++;
    return 0;
}
static uint64_t live_count(void)
{
    uint64_t c = 0;
    for (uint64_t i = 0; i < N; i++) c += VER[i] != 0;
    return c;
}
void step_readseq(const char *label, int reverse, int forceiter)
{
    static struct meas m;
    struct scan s = { .first = 1 };
    need(RDONLY, 0, 0);
    uint64_t want = live_count();
    m_begin(&m);
    if (!reverse && A->scan_all && !forceiter) MUST(A->scan_all(ses, scan_cb, &s));
    else {
        void *it;
        struct kvb_kv kv;
        MUST(A->iter_open(ses, &it));
        int r = reverse ? A->iter_last(it, &kv) : A->iter_seek(it, NULL, 0, &kv);
        uint64_t prev = 0;
        for (; r > 0; r = reverse ? A->iter_prev(it, &kv) : A->iter_next(it, &kv)) {
            uint64_t num = kv.kl == KLEN ? key_dec(kv.k) : 1;
            s.bad += (num & 1) || (s.n && (reverse ? num >= prev : num <= prev)) || !val_ok(kv.v, kv.vl, num / 2);
            prev = num;
            s.n++;
        }
        if (r < 0) MUST(r);
        A->iter_close(it);
    }
    m_end(&m, s.n);
    if (s.n != want) s.bad += 1000000;
    row(label, &m, vnote(s.bad), -1);
}
void step_seekrandom(const char *label)
{
    static struct meas m;
    char k[KLEN];
    uint64_t cnt = SEEKS ? SEEKS : (N / 5 ? N / 5 : 1), s = SEED * 15485863, bad = 0;
    need(RDONLY, 0, 0);
    m_begin(&m);
    for (uint64_t i = 0; i < cnt; i++) {
        uint64_t idx = below(&s, N);
        void *it;
        struct kvb_kv kv;
        key_enc(k, idx ? idx * 2 - 1 : 0);      /* a key that is absent: lands on idx */
        LAT_BEGIN(1, i);
        MUST(A->iter_open(ses, &it));
        int r = A->iter_seek(it, k, KLEN, &kv);
        for (unsigned j = 0;; j++) {
            if (idx + j >= N) { bad += r != 0; break; }
            if (r <= 0) { bad++; break; }
            bad += key_dec(kv.k) != (idx + j) * 2 || !val_ok(kv.v, kv.vl, idx + j);
            if (j == NEXTS) break;
            r = A->iter_next(it, &kv);
        }
        A->iter_close(it);
        LAT_END(m.h);
    }
    m_end(&m, cnt);
    row(label, &m, vnote(bad), -1);
}

static int verify_all(char *why, size_t cap)
{
    uint64_t bad = 0, extra = 0, n = 0, bad2 = 0;
    char k[KLEN];
    need(0, 0, 0);
    for (uint64_t i = 0; i < N; i++) {
        key_enc(k, i * 2);
        long l = A->get(ses, k, KLEN, VB, sizeof VB);
        if (VER[i]) bad += l < 0 || !val_exact(VB, l, i, VER[i]);
        else extra += l != KVB_NOTFOUND;
    }
    for (int rev = 0; rev < 2; rev++) {
        void *it;
        struct kvb_kv kv;
        uint64_t prev = 0, c = 0;
        MUST(A->iter_open(ses, &it));
        int r = rev ? A->iter_last(it, &kv) : A->iter_seek(it, NULL, 0, &kv);
        for (; r > 0; r = rev ? A->iter_prev(it, &kv) : A->iter_next(it, &kv)) {
            uint64_t num = kv.kl == KLEN ? key_dec(kv.k) : 1;
            bad2 += (num & 1) || num / 2 >= N || (c && (rev ? num >= prev : num <= prev)) ||
                    !val_exact(kv.v, kv.vl, num / 2, VER[num / 2]);
            prev = num;
            c++;
        }
        if (r < 0) bad2++;
        A->iter_close(it);
        if (rev && c != n) bad2++;
        n = c;
    }
    struct scan s = { .first = 1 };
    if (A->scan_all) { MUST(A->scan_all(ses, scan_cb, &s)); bad2 += s.bad + (s.n != n); }
    if (n != live_count()) bad2++;
    snprintf(why, cap, "%s keys=%" PRIu64 " wrong=%" PRIu64 " undead=%" PRIu64 " scan=%" PRIu64,
             bad + extra + bad2 ? "VERIFY-FAIL" : "ok", n, bad, extra, bad2);
    return bad + extra + bad2 ? -1 : 0;
}
void step_verify(const char *label)
{
    char why[200];
    if (verify_all(why, sizeof why)) failed = 1;
    row_np(label, why);
}
