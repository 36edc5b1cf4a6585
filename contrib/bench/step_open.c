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

/* In a child: open, read one key, close. */
static void open_once(struct slot *s, int ro, uint64_t idx)
{
    struct own w;
    char k[KLEN];
    key_enc(k, idx * 2);
    s->t0 = now();
    own_open(s, &w, ro, 0, 0);
    long len = A->get(w.ses, k, KLEN, VB, sizeof VB);
    s->rss = now();
    own_close(s, &w);
    s->t1 = now();
    s->bad = len < 0 || !val_ok(VB, len, idx);
    child_done(s);
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
        pid_t p = child_begin(s);
        if (p == 0) open_once(s, ro, mix(SEED * 100 + i) % N);
        if (child_wait(p, s) != 0) { row_failed(label, s->err); return; }
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

/* ----------------------------------------------------------------- killed */
/* Which version a key has now, 0 for none; *bad counts values that nobody wrote. */
static uint32_t version_of(void *q, uint64_t idx, uint64_t *bad)
{
    char k[KLEN];
    uint32_t ver = 0;
    key_enc(k, idx * 2);
    long len = A->get(q, k, KLEN, VB, sizeof VB);
    if (len >= 0) { memcpy(&ver, VB, 4); if (!val_exact(VB, len, idx, ver)) ++*bad; }
    return ver;
}
/* In a child: n puts, then nothing more until it is killed. */
static void dirty_victim(uint64_t n, int fd)
{
    char k[KLEN], v[65536];
    need(0, 0, 0);
    for (uint64_t j = 0; j < n; j++) {
        uint64_t idx = perm[j];
        key_enc(k, idx * 2);
        val_enc(v, VLEN, idx, VER[idx] + 1);
        MUST(A->put(ses, k, KLEN, v, VLEN));
        VER[idx]++;
    }
    if (write(fd, "x", 1) != 1) _exit(1);
    for (;;) pause();
}
/* In a child: open what the victim has left.  s->h.b: keys that are missing, and that are old. */
static void dirty_survivor(struct slot *s, uint64_t idx)
{
    struct own w;
    char k[KLEN];
    key_enc(k, idx * 2);
    s->t0 = now();
    own_open(s, &w, 0, 0, 0);
    A->get(w.ses, k, KLEN, VB, sizeof VB);
    s->t1 = now();
    for (uint64_t j = 0; j < N; j++) {          /* all N: a restore may lose old keys too */
        idx = perm[j];
        uint32_t ver = version_of(w.ses, idx, &s->bad);
        if (ver == 0 && VER[idx]) s->h.b[0]++;
        else if (ver != VER[idx]) s->h.b[1]++;
        VER[idx] = ver;
    }
    own_close(s, &w);
    child_done(s);
}
static int kill_dirty(struct slot *s, uint64_t n)
{
    int pfd[2], st;
    char c;
    if (pipe(pfd)) die("pipe");
    pid_t p = child_begin(s);
    if (p == 0) { close(pfd[0]); dirty_victim(n, pfd[1]); }
    close(pfd[1]);
    ssize_t got = read(pfd[0], &c, 1);
    close(pfd[0]);
    kill(p, SIGKILL);
    waitpid(p, &st, 0);
    return got == 1 ? 0 : -1;
}
void step_opendirty(const char *label)
{
    static struct meas m;
    double t[16];
    unsigned reps = DIRTY_REPS < 16 ? DIRTY_REPS : 16;
    uint64_t lost = 0, stale = 0, tot = 0, bad = 0, n = DIRTY_N < N ? DIRTY_N : N;
    struct slot *s = shmem(sizeof *s);
    forks();
    shut();
    m_begin(&m);
    for (unsigned i = 0; i < reps; i++) {
        make_perm(SEED + 500 + i);
        if (kill_dirty(s, n) != 0) { row_failed(label, "victim died"); return; }
        pid_t p = child_begin(s);
        if (p == 0) dirty_survivor(s, perm[n - 1]);
        if (child_wait(p, s) != 0) { row_failed(label, s->err); return; }
        t[i] = s->t1 - s->t0;
        tot += n;
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

/* In a child: batches of version c until it is killed.  s->ops are begun, s->bad have returned. */
static void batch_victim(struct slot *s, uint32_t c)
{
    struct kvb_kv *kv = malloc(BATCH * sizeof *kv);
    char *kb = malloc(BATCH * KLEN), *vb = malloc((size_t)BATCH * VLEN);
    need(0, 0, 0);
    for (uint64_t i = 0; i + BATCH <= N; i += BATCH) {
        for (unsigned j = 0; j < BATCH; j++) {
            key_enc(kb + j * KLEN, (uint64_t)perm[i + j] * 2);
            val_enc(vb + (size_t)j * VLEN, VLEN, perm[i + j], c);
            kv[j] = (struct kvb_kv){ kb + j * KLEN, KLEN, vb + (size_t)j * VLEN, VLEN };
        }
        __atomic_store_n(&s->ops, i / BATCH + 1, __ATOMIC_RELEASE);
        MUST(A->batch(ses, kv, BATCH, 0));
        __atomic_store_n(&s->bad, i / BATCH + 1, __ATOMIC_RELEASE);
    }
    for (;;) pause();
}
/* How many batches had returned when it was killed. */
static uint64_t kill_in_batch(struct slot *s, uint32_t c)
{
    uint64_t stopat = 1 + mix(SEED * 50 + c) % (N / BATCH);
    int st;
    pid_t p = child_begin(s);
    if (p == 0) batch_victim(s, c);
    while (__atomic_load_n(&s->ops, __ATOMIC_ACQUIRE) < stopat) usleep(20);
    usleep(mix(SEED + c) % 400);
    kill(p, SIGKILL);
    waitpid(p, &st, 0);
    return s->bad;
}
/* In a child.  s->h.b: batches that are there whole, and that are torn. */
static void batch_survivor(struct slot *s, uint32_t c)
{
    need(0, 0, 0);
    for (uint64_t i = 0; i + BATCH <= N; i += BATCH) {
        unsigned here = 0;
        for (unsigned j = 0; j < BATCH; j++) here += version_of(ses, perm[i + j], &s->bad) == c;
        s->h.b[0] += here == BATCH;
        s->h.b[1] += here && here != BATCH;
    }
    shut();
    child_done(s);
}
/* kill -9 in the middle of batches: each batch must be there whole or not at all */
void step_killbatch(const char *label)
{
    struct slot *s = shmem(sizeof *s);
    uint64_t torn = 0, whole = 0, bad = 0, batches = 0;
    forks();
    make_perm(SEED + 900);
    for (uint32_t c = 1; c <= 8; c++) {
        batches += kill_in_batch(s, c);
        pid_t p = child_begin(s);
        if (p == 0) batch_survivor(s, c);
        if (child_wait(p, s) != 0) { row_failed(label, s->err); return; }
        whole += s->h.b[0];
        torn += s->h.b[1];
        bad += s->bad;
    }
    char b[160];
    snprintf(b, sizeof b, "%skills=8 batches returned=%" PRIu64 " kept whole=%" PRIu64 " torn=%" PRIu64,
             bad ? "VERIFY-FAIL " : "", batches, whole, torn);
    row_np(label, b);
}
