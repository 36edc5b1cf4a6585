/* step_many.c - steps of several threads or processes */
#include "kvbench.h"

/* ------------------------------------------- what each of them repeats */
/* Put a random key once more: what the put returned. */
static int put_some(void *s, uint64_t *seed, struct hist *h)
{
    char k[KLEN], v[65536];
    uint64_t idx = below(seed, N);
    uint32_t ver = VER[idx] + 1;
    key_enc(k, idx * 2);
    val_enc(v, VLEN, idx, ver);
    uint64_t t = __rdtsc();
    int r = A->put(s, k, KLEN, v, VLEN);
    h_add(h, __rdtsc() - t);
    if (r >= 0) VER[idx] = ver;
    return r;
}
static uint64_t read_loop(void *s2, uint64_t *seed, double until, struct hist *h, uint64_t *bad, int refresh)
{
    char k[KLEN];
    static __thread char buf[65536];
    uint64_t n = 0;
    for (;;) {
        if ((n & 255) == 0) {
            if (now() >= until) break;
            if (refresh && A->refresh && (n & 1023) == 0 && A->refresh(s2) < 0) ++*bad;
        }
        uint64_t idx = below(seed, N);
        key_enc(k, idx * 2);
        LAT_BEGIN(4, n);
        long l = A->get(s2, k, KLEN, buf, sizeof buf);
        LAT_END(*h);
        *bad += l < 0 || !val_ok(buf, l, idx);
        n++;
    }
    return n;
}
/* A row of the readers, "LABEL.r", or of the writer, "LABEL.w". */
static void row_of(const char *label, char who, const struct meas *m, uint64_t bad)
{
    char l[300];
    snprintf(l, sizeof l, "%s.%c", label, who);
    row(strcmp(label, "-") ? l : "-", m, vnote(bad), -1);
}

/* ------------------------------------------------- concurrent: threads */
static atomic_int stop_flag, go_flag;
struct wr { uint64_t ops, seed; struct hist h; void *ses; int err; };
static void *writer_main(void *p)
{
    struct wr *w = p;
    while (!atomic_load(&go_flag)) sched_yield();
    while (!atomic_load_explicit(&stop_flag, memory_order_relaxed)) {
        if (put_some(w->ses, &w->seed, &w->h) < 0) { w->err = 1; break; }
        w->ops++;
    }
    return NULL;
}
void step_rww(const char *label)
{
    static struct meas m;
    static struct wr w;
    pthread_t th;
    uint64_t bad = 0, seed = SEED * 31337;
    struct hist *h = calloc(1, sizeof *h);
    need(0, 0, 0);
    memset(&w, 0, sizeof w);
    w.seed = SEED * 2718281;
    MUST(A->session(db, &w.ses));
    atomic_store(&stop_flag, 0);
    atomic_store(&go_flag, 0);
    pthread_create(&th, NULL, writer_main, &w);
    m_begin(&m);
    atomic_store(&go_flag, 1);
    uint64_t n = read_loop(ses, &seed, now() + SECS, h, &bad, 0);
    atomic_store(&stop_flag, 1);
    double mid = now() - m.t0;
    pthread_join(th, NULL);
    m_end(&m, n);
    double wsecs = m.secs;
    A->session_end(w.ses);
    if (w.err) bad += 1000000;
    m.secs = mid;
    m.h = *h;
    row_of(label, 'r', &m, bad);
    m.ops = w.ops; m.secs = wsecs; m.h = w.h;
    row_of(label, 'w', &m, bad);
    free(h);
}

/* ------------------------------------------------- concurrent: processes */
/* In child c: MP_OPS durable puts of keys that no other one puts. */
static void sync_puts(struct slot *s, struct gate *g, int c)
{
    struct own w;
    char k[KLEN], v[65536];
    own_open(s, &w, 0, 1, 1);
    gate_wait(g);
    s->t0 = now();
    for (uint64_t i = 0; i < MP_OPS; i++) {
        uint64_t idx = perm[(c * MP_OPS + i) % N];
        uint32_t ver = VER[idx] + 1;
        key_enc(k, idx * 2);
        val_enc(v, VLEN, idx, ver);
        uint64_t t = __rdtsc();
        if (A->put_sync(w.ses, k, KLEN, v, VLEN) < 0) child_fail(s, "put_sync");
        h_add(&s->h, __rdtsc() - t);
        VER[idx] = ver;
        s->ops++;
    }
    s->t1 = now();
    s->rss = status_mb("VmHWM:");
    own_close(s, &w);
    child_done(s);
}
/* All of them must be there: how many are not. */
static uint64_t missing_puts(struct slot *s, uint64_t n)
{
    pid_t p = child_begin(s);
    if (p == 0) {
        char k[KLEN];
        need(0, 0, 0);
        for (uint64_t i = 0; i < n; i++) {
            uint64_t idx = perm[i % N];
            key_enc(k, idx * 2);
            long len = A->get(ses, k, KLEN, VB, sizeof VB);
            s->bad += len < 0 || !val_exact(VB, len, idx, VER[idx]);
        }
        shut();
        child_done(s);
    }
    return child_wait(p, s) != 0 ? 1000000 : s->bad;
}
/* From the first one's beginning to the last one's end. */
static void add_up(struct meas *m, const struct slot *sl, int n)
{
    double t0 = 1e300, t1 = 0;
    m->ops = 0;
    m->rss = m->anon = 0;
    memset(&m->h, 0, sizeof m->h);
    for (int c = 0; c < n; c++) {
        if (sl[c].t0 < t0) t0 = sl[c].t0;
        if (sl[c].t1 > t1) t1 = sl[c].t1;
        if (sl[c].rss > m->rss) m->rss = sl[c].rss;
        m->ops += sl[c].ops;
        h_merge(&m->h, &sl[c].h);
    }
    m->secs = t1 - t0;
}
void step_mpsync(const char *label, int P)
{
    static struct meas m;
    if (!(A->caps & KVB_CAP_MP_WRITE)) { row_np(label, "not possible"); return; }
    forks();
    shut();
    struct slot *sl = shmem(P * sizeof *sl);
    struct gate *g = shmem(sizeof *g);
    pid_t pid[64];
    make_perm(SEED + 1000 + P);
    m_begin(&m);
    for (int c = 0; c < P; c++)
        if ((pid[c] = child_begin(&sl[c])) == 0) sync_puts(&sl[c], g, c);
    int bad = gate_open(g, P, pid);
    bad |= wait_all(pid, P);
    m_end(&m, 0);
    if (bad) row_failed(label, any_error(sl, P));
    else {
        add_up(&m, sl, P);
        row(label, &m, vnote(missing_puts(&sl[0], P * MP_OPS)), -1);
    }
    munmap(sl, P * sizeof *sl);
    munmap(g, sizeof *g);
}

/* In a child: the writer until it is stopped, or a reader for SECS. */
static void put_until(struct slot *s, struct gate *g)
{
    struct own w;
    uint64_t seed = SEED * 2718281;
    own_open(s, &w, 0, 0, 1);
    gate_wait(g);
    s->t0 = now();
    while (!atomic_load_explicit(&g->stop, memory_order_relaxed)) {
        if (put_some(w.ses, &seed, &s->h) < 0) child_fail(s, "put");
        s->ops++;
    }
    s->t1 = now();
    s->rss = status_mb("VmHWM:");
    own_close(s, &w);
    child_done(s);
}
static void get_for(struct slot *s, struct gate *g, int c)
{
    struct own w;
    uint64_t seed = SEED * 31337 + c;
    own_open(s, &w, 1, 0, 1);
    gate_wait(g);
    s->t0 = now();
    s->ops = read_loop(w.ses, &seed, now() + SECS, &s->h, &s->bad, 1);
    s->t1 = now();
    s->rss = status_mb("VmHWM:");
    own_close(s, &w);
    child_done(s);
}
void step_mpread(const char *label)
{
    static struct meas m;
    char l[300];
    if (!(A->caps & KVB_CAP_MP_READ)) {
        snprintf(l, sizeof l, "%s.r", label); row_np(l, "not possible");
        snprintf(l, sizeof l, "%s.w", label); row_np(l, "not possible");
        return;
    }
    forks();
    shut();
    struct slot *sl = shmem(3 * sizeof *sl);
    struct gate *g = shmem(sizeof *g);
    pid_t pid[3];
    m_begin(&m);
    if ((pid[0] = child_begin(&sl[0])) == 0) put_until(&sl[0], g);
    while (atomic_load(&g->ready) < 1 && !has_ended(pid[0])) usleep(500);   /* readers need a db to follow */
    for (int c = 1; c < 3; c++)
        if ((pid[c] = child_begin(&sl[c])) == 0) get_for(&sl[c], g, c);
    int bad = gate_open(g, 3, pid);
    bad |= wait_all(pid + 1, 2);
    atomic_store(&g->stop, 1);
    bad |= wait_all(pid, 1);
    m_end(&m, 0);
    if (bad) {
        snprintf(l, sizeof l, "%s.r", label);
        row_failed(l, any_error(sl, 3));
    } else {
        uint64_t wrong = sl[1].bad + sl[2].bad;
        add_up(&m, sl + 1, 2);
        row_of(label, 'r', &m, wrong);
        add_up(&m, sl, 1);
        row_of(label, 'w', &m, wrong);
    }
    munmap(sl, 3 * sizeof *sl);
    munmap(g, sizeof *g);
}
