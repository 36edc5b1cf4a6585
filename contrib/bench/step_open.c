/* step_open.c - steps about opening, and about being killed */
#include "kvbench.h"

/* -------------------------------------------------------------- open steps */
static int dcmp(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}
void open_row(const char *label, struct meas *m, double *t, unsigned n, const char *note)
{
    qsort(t, n, sizeof *t, dcmp);
    m->ops = 1;
    m->secs = n % 2 ? t[n/2] : (t[n/2-1] + t[n/2]) / 2;
    memset(&m->h, 0, sizeof m->h);
    for (unsigned i = 0; i < n; i++) h_add(&m->h, (uint64_t)(t[i] * 1e9 / tick_ns));
    row(label, m, note, -1);
}
/* each open in a new process whose libraries are already mapped */
void step_open(const char *label, int ro)
{
    static struct meas m;
    double t[256], tc[256];
    struct slot *s = shmem(sizeof *s);
    uint64_t bad = 0;
    char l[300];
    if (ro && !(A->caps & KVB_CAP_READONLY)) { row_np(label, "not possible"); return; }
    forks();
    shut();
    if (OPEN_REPS > 256) OPEN_REPS = 256;
    m_begin(&m);
    for (unsigned i = 0; i < OPEN_REPS; i++) {
        uint64_t idx = mix(SEED * 100 + i) % N;
        fflush(NULL);
        memset(s, 0, sizeof *s);
        pid_t p = fork();
        if (p == 0) {
            struct kvb_opts o = mkopts(0, 0, 0);
            void *d, *q;
            char k[KLEN];
            key_enc(k, idx * 2);
            s->t0 = now();
            if (A->open(DIRP, &o, ro, &d) < 0) child_fail(s, "open");
            if (A->session(d, &q) < 0) child_fail(s, "session");
            long len = A->get(q, k, KLEN, VB, sizeof VB);
            s->rss = now();
            A->session_end(q);
            if (A->close(d) < 0) child_fail(s, "close");
            s->t1 = now();
            s->bad = len < 0 || !val_ok(VB, len, idx);
            s->ok = 1;
            _exit(0);
        }
        int st;
        waitpid(p, &st, 0);
        if (!s->ok) { char b[256]; snprintf(b, sizeof b, "FAILED %s", s->err); failed = 1; row_np(label, b); return; }
        bad += s->bad;
        t[i] = s->t1 - s->t0;
        tc[i] = s->rss - s->t0;
    }
    m_end(&m, 1);
    open_row(label, &m, t, OPEN_REPS, vnote(bad));
    snprintf(l, sizeof l, "%s.firstget", label);
    open_row(strcmp(label, "-") ? l : "-", &m, tc, OPEN_REPS, vnote(bad));
    munmap(s, sizeof *s);
}
/* a whole new program: exec, dynamic linking, open, get, close, exit */
void step_execget(const char *label)
{
    static struct meas m;
    double t[256];
    uint64_t bad = 0;
    char a1[256], a2[4200], a3[64], a4[64], a5[64], a6[64];
    shut();
    snprintf(a1, sizeof a1, "--peer=%s", PEER);
    snprintf(a2, sizeof a2, "--dir=%s", DIRP);
    snprintf(a3, sizeof a3, "--n=%" PRIu64, N);
    snprintf(a4, sizeof a4, "--value-size=%u", VLEN);
    snprintf(a5, sizeof a5, "--compress=%d", COMPRESS);
    m_begin(&m);
    for (unsigned i = 0; i < OPEN_REPS && i < 256; i++) {
        snprintf(a6, sizeof a6, "--oneget=%" PRIu64, mix(SEED * 200 + i) % N);
        char *av[] = { SELF, a1, a2, a3, a4, a5, a6, NULL };
        pid_t p;
        int st;
        double t0 = now();
        if (posix_spawn(&p, SELF, NULL, NULL, av, environ)) die("spawn");
        waitpid(p, &st, 0);
        t[i] = now() - t0;
        bad += st != 0;
    }
    m_end(&m, 1);
    open_row(label, &m, t, OPEN_REPS, vnote(bad));
}
void step_opendirty(const char *label)
{
    static struct meas m;
    double t[16];
    unsigned reps = DIRTY_REPS < 16 ? DIRTY_REPS : 16;
    uint64_t lost = 0, stale = 0, tot = 0, bad = 0;
    struct slot *s = shmem(sizeof *s);
    forks();
    shut();
    m_begin(&m);
    for (unsigned i = 0; i < reps; i++) {
        int pfd[2];
        if (pipe(pfd)) die("pipe");
        make_perm(SEED + 500 + i);
        uint64_t D = DIRTY_N < N ? DIRTY_N : N;
        fflush(NULL);
        memset(s, 0, sizeof *s);
        pid_t p = fork();
        if (p == 0) {                           /* the victim */
            char k[KLEN], v[65536];
            close(pfd[0]);
            need(0, 0, 0);
            for (uint64_t j = 0; j < D; j++) {
                uint64_t idx = perm[j];
                key_enc(k, idx * 2);
                val_enc(v, VLEN, idx, VER[idx] + 1);
                MUST(A->put(ses, k, KLEN, v, VLEN));
                VER[idx]++;
            }
            if (write(pfd[1], "x", 1) != 1) _exit(1);
            for (;;) pause();
        }
        char c;
        close(pfd[1]);
        if (read(pfd[0], &c, 1) != 1) { row_np(label, "FAILED victim died"); failed = 1; return; }
        close(pfd[0]);
        kill(p, SIGKILL);
        int st;
        waitpid(p, &st, 0);
        p = fork();
        if (p == 0) {                           /* the survivor */
            struct kvb_opts o = mkopts(0, 0, 0);
            void *d, *q;
            char k[KLEN];
            uint64_t idx = perm[D - 1];
            key_enc(k, idx * 2);
            s->t0 = now();
            if (A->open(DIRP, &o, 0, &d) < 0) child_fail(s, "open");
            if (A->session(d, &q) < 0) child_fail(s, "session");
            long len = A->get(q, k, KLEN, VB, sizeof VB);
            s->t1 = now();
            (void)len;
            for (uint64_t j = 0; j < N; j++) {   /* all N: a restore may lose old keys too */
                idx = perm[j];
                key_enc(k, idx * 2);
                len = A->get(q, k, KLEN, VB, sizeof VB);
                uint32_t ver = 0;
                if (len >= 0) { memcpy(&ver, VB, 4); if (!val_exact(VB, len, idx, ver)) s->bad++; }
                if (len < 0 && VER[idx]) s->h.b[0]++;
                else if (ver != VER[idx]) s->h.b[1]++;
                VER[idx] = ver;
            }
            A->session_end(q);
            if (A->close(d) < 0) child_fail(s, "close");
            s->ok = 1;
            _exit(0);
        }
        waitpid(p, &st, 0);
        if (!s->ok) { char b[256]; snprintf(b, sizeof b, "FAILED %s", s->err); failed = 1; row_np(label, b); return; }
        t[i] = s->t1 - s->t0;
        tot += D;
        lost += s->h.b[0];
        stale += s->h.b[1];
        bad += s->bad;
    }
    m_end(&m, 1);
    char b[200];
    snprintf(b, sizeof b, "%sputs=%" PRIu64 " reverted=%" PRIu64 " missing=%" PRIu64, bad ? "VERIFY-FAIL " : "",
             tot, stale, lost);
    if (bad) failed = 1;
    open_row(label, &m, t, reps, b);
    munmap(s, sizeof *s);
}

/* kill -9 in the middle of batches: each batch must be there whole or not at all */
void step_killbatch(const char *label)
{
    struct slot *s = shmem(sizeof *s);
    uint64_t torn = 0, whole = 0, bad = 0, batches = 0;
    forks();
    make_perm(SEED + 900);
    for (unsigned c = 1; c <= 8; c++) {
        fflush(NULL);
        memset(s, 0, sizeof *s);
        pid_t p = fork();
        if (p == 0) {
            struct kvb_kv *kv = malloc(BATCH * sizeof *kv);
            char *kb = malloc(BATCH * KLEN), *vb = malloc((size_t)BATCH * VLEN);
            need(0, 0, 0);
            for (uint64_t i = 0; i + BATCH <= N; i += BATCH) {
                for (unsigned j = 0; j < BATCH; j++) {
                    key_enc(kb + j * KLEN, (uint64_t)perm[i + j] * 2);
                    val_enc(vb + (size_t)j * VLEN, VLEN, perm[i + j], c);
                    kv[j] = (struct kvb_kv){ kb + j * KLEN, KLEN, vb + (size_t)j * VLEN, VLEN };
                }
                __atomic_store_n(&s->ops, i / BATCH + 1, __ATOMIC_RELEASE);     /* begun */
                MUST(A->batch(ses, kv, BATCH, 0));
                __atomic_store_n(&s->bad, i / BATCH + 1, __ATOMIC_RELEASE);     /* returned */
            }
            for (;;) pause();
        }
        uint64_t stopat = 1 + mix(SEED * 50 + c) % (N / BATCH);
        while (__atomic_load_n(&s->ops, __ATOMIC_ACQUIRE) < stopat) usleep(20);
        usleep(mix(SEED + c) % 400);
        kill(p, SIGKILL);
        int st;
        waitpid(p, &st, 0);
        uint64_t done = s->bad;
        p = fork();
        if (p == 0) {
            char k[KLEN];
            memset(s, 0, sizeof *s);
            need(0, 0, 0);
            for (uint64_t i = 0; i + BATCH <= N; i += BATCH) {
                unsigned here = 0;
                for (unsigned j = 0; j < BATCH; j++) {
                    uint64_t idx = perm[i + j];
                    uint32_t ver = 0;
                    key_enc(k, idx * 2);
                    long len = A->get(ses, k, KLEN, VB, sizeof VB);
                    if (len >= 0) { memcpy(&ver, VB, 4); if (!val_exact(VB, len, idx, ver)) s->bad++; }
                    here += ver == c;
                }
                s->h.b[0] += here == BATCH;
                s->h.b[1] += here && here != BATCH;
            }
            shut();
            s->ok = 1;
            _exit(0);
        }
        waitpid(p, &st, 0);
        if (!s->ok) { row_np(label, "FAILED"); failed = 1; return; }
        torn += s->h.b[1];
        whole += s->h.b[0];
        bad += s->bad;
        batches += done;
    }
    char b[160];
    snprintf(b, sizeof b, "%skills=8 batches returned=%" PRIu64 " kept whole=%" PRIu64 " torn=%" PRIu64,
             bad ? "VERIFY-FAIL " : "", batches, whole, torn);
    row_np(label, b);
}
