/* step_many.c - steps of several threads or processes */
#include "kvbench.h"

/* ------------------------------------------------- concurrent: threads */
static atomic_int stop_flag, go_flag;
struct wr { uint64_t ops, seed; struct hist h; void *ses; int err; };
static void *writer_main(void *p)
{
    struct wr *w = p;
    char k[KLEN], v[65536];
    while (!atomic_load(&go_flag)) sched_yield();
    while (!atomic_load_explicit(&stop_flag, memory_order_relaxed)) {
        uint64_t idx = (uint64_t)(((unsigned __int128)rng(&w->seed) * N) >> 64);
        uint32_t ver = VER[idx] + 1;
        key_enc(k, idx * 2);
        val_enc(v, VLEN, idx, ver);
        uint64_t t = __rdtsc();
        int r = A->put(w->ses, k, KLEN, v, VLEN);
        h_add(&w->h, __rdtsc() - t);
        if (r < 0) { w->err = 1; break; }
        VER[idx] = ver;
        w->ops++;
    }
    return NULL;
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
        uint64_t idx = (uint64_t)(((unsigned __int128)rng(seed) * N) >> 64);
        key_enc(k, idx * 2);
        LAT_BEGIN(4, n);
        long l = A->get(s2, k, KLEN, buf, sizeof buf);
        LAT_END(*h);
        *bad += l < 0 || !val_ok(buf, l, idx);
        n++;
    }
    return n;
}
void step_rww(const char *label)
{
    static struct meas m;
    static struct wr w;
    pthread_t th;
    char l[300];
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
    snprintf(l, sizeof l, "%s.r", label);
    row(strcmp(label, "-") ? l : "-", &m, vnote(bad), -1);
    m.ops = w.ops; m.secs = wsecs; m.h = w.h;
    snprintf(l, sizeof l, "%s.w", label);
    row(strcmp(label, "-") ? l : "-", &m, vnote(bad), -1);
    free(h);
}

/* ------------------------------------------------- concurrent: processes */
void *shmem(size_t n)
{
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) die("mmap");
    return p;
}
void child_fail(struct slot *s, const char *what)
{
    snprintf(s->err, sizeof s->err, "%s: %s", what, A->lasterr ? A->lasterr() : "?");
    _exit(1);
}
void gate_wait(struct gate *g)
{
    atomic_fetch_add(&g->ready, 1);
    while (!atomic_load(&g->go)) usleep(200);
}
int wait_all(pid_t *p, int n)
{
    int bad = 0, st;
    for (int i = 0; i < n; i++) { waitpid(p[i], &st, 0); bad += st != 0; }
    return bad;
}
int gate_open(struct gate *g, int n, pid_t *p)
{
    for (int spins = 0; atomic_load(&g->ready) < n; spins++) {
        usleep(500);
        for (int i = 0; i < n; i++) {           /* a child that died before the gate */
            siginfo_t si = {0};
            if (waitid(P_PID, p[i], &si, WEXITED | WNOHANG | WNOWAIT) == 0 && si.si_pid) {
                for (int j = 0; j < n; j++) kill(p[j], SIGKILL);
                return -1;
            }
        }
        if (spins > 120000) { for (int j = 0; j < n; j++) kill(p[j], SIGKILL); return -1; }
    }
    atomic_store(&g->go, 1);
    return 0;
}

void step_mpsync(const char *label, int P)
{
    static struct meas m;
    char l[300];
    snprintf(l, sizeof l, "%s", label);
    if (!(A->caps & KVB_CAP_MP_WRITE)) { row_np(l, "not possible"); return; }
    forks();
    shut();
    struct slot *sl = shmem(P * sizeof *sl);
    struct gate *g = shmem(sizeof *g);
    pid_t pid[64];
    make_perm(SEED + 1000 + P);
    fflush(NULL);
    m_begin(&m);
    for (int c = 0; c < P; c++) {
        if ((pid[c] = fork()) == 0) {
            struct slot *s = &sl[c];
            struct kvb_opts o = mkopts(1, 1, 0);
            void *d, *q;
            char k[KLEN], v[65536];
            if (A->open(DIRP, &o, 0, &d) < 0) child_fail(s, "open");
            if (A->session(d, &q) < 0) child_fail(s, "session");
            gate_wait(g);
            s->t0 = now();
            for (uint64_t i = 0; i < MP_OPS; i++) {
                uint64_t idx = perm[(c * MP_OPS + i) % N];
                uint32_t ver = VER[idx] + 1;
                key_enc(k, idx * 2);
                val_enc(v, VLEN, idx, ver);
                uint64_t t = __rdtsc();
                if (A->put_sync(q, k, KLEN, v, VLEN) < 0) child_fail(s, "put_sync");
                h_add(&s->h, __rdtsc() - t);
                VER[idx] = ver;
                s->ops++;
            }
            s->t1 = now();
            s->rss = status_mb("VmHWM:");
            A->session_end(q);
            if (A->close(d) < 0) child_fail(s, "close");
            s->ok = 1;
            _exit(0);
        }
    }
    int bad = gate_open(g, P, pid);
    bad |= wait_all(pid, P);
    m_end(&m, 0);
    double t0 = 1e300, t1 = 0;
    m.rss = 0;
    for (int c = 0; c < P; c++) {
        if (sl[c].t0 < t0) t0 = sl[c].t0;
        if (sl[c].t1 > t1) t1 = sl[c].t1;
        if (sl[c].rss > m.rss) m.rss = sl[c].rss;
        m.ops += sl[c].ops;
        h_merge(&m.h, &sl[c].h);
    }
    m.secs = t1 - t0;
    m.anon = 0;
    uint64_t wrong = 0;                         /* all of them must be there */
    if (!bad) {
        pid_t q = fork();
        if (q == 0) {
            char k[KLEN];
            need(0, 0, 0);
            for (uint64_t i = 0; i < P * MP_OPS; i++) {
                uint64_t idx = perm[i % N];
                key_enc(k, idx * 2);
                long len = A->get(ses, k, KLEN, VB, sizeof VB);
                sl[0].bad += len < 0 || !val_exact(VB, len, idx, VER[idx]);
            }
            shut();
            _exit(0);
        }
        int st;
        waitpid(q, &st, 0);
        wrong = st ? 1000000 : sl[0].bad;
        row(l, &m, vnote(wrong), -1);
    } else {
        const char *e = "";
        for (int c = 0; c < P; c++) if (sl[c].err[0]) e = sl[c].err;
        char b[256];
        snprintf(b, sizeof b, "FAILED %s", e);
        failed = 1;
        row_np(l, b);
    }
    munmap(sl, P * sizeof *sl);
    munmap(g, sizeof *g);
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
    fflush(NULL);
    m_begin(&m);
    for (int c = 0; c < 3; c++) {
        if (c == 1) {                   /* the writer (0) first: readers need a db to follow */
            while (atomic_load(&g->ready) < 1) {
                usleep(500);
                siginfo_t si = {0};
                if (waitid(P_PID, pid[0], &si, WEXITED | WNOHANG | WNOWAIT) == 0 && si.si_pid) break;
            }
        }
        if ((pid[c] = fork()) == 0) {
            struct slot *s = &sl[c];
            struct kvb_opts o = mkopts(0, 1, 0);
            void *d, *q;
            if (A->open(DIRP, &o, c > 0, &d) < 0) child_fail(s, "open");
            if (A->session(d, &q) < 0) child_fail(s, "session");
            gate_wait(g);
            s->t0 = now();
            if (c == 0) {
                char k[KLEN], v[65536];
                uint64_t seed = SEED * 2718281;
                while (!atomic_load_explicit(&g->stop, memory_order_relaxed)) {
                    uint64_t idx = (uint64_t)(((unsigned __int128)rng(&seed) * N) >> 64);
                    uint32_t ver = VER[idx] + 1;
                    key_enc(k, idx * 2);
                    val_enc(v, VLEN, idx, ver);
                    uint64_t t = __rdtsc();
                    if (A->put(q, k, KLEN, v, VLEN) < 0) child_fail(s, "put");
                    h_add(&s->h, __rdtsc() - t);
                    VER[idx] = ver;
                    s->ops++;
                }
            } else {
                uint64_t seed = SEED * 31337 + c;
                s->ops = read_loop(q, &seed, now() + SECS, &s->h, &s->bad, 1);
            }
            s->t1 = now();
            s->rss = status_mb("VmHWM:");
            A->session_end(q);
            if (A->close(d) < 0) child_fail(s, "close");
            s->ok = 1;
            _exit(0);
        }
    }
    int bad = gate_open(g, 3, pid), st;
    for (int c = 1; c < 3; c++) { waitpid(pid[c], &st, 0); bad |= st != 0; }
    atomic_store(&g->stop, 1);
    waitpid(pid[0], &st, 0);
    bad |= st != 0;
    m_end(&m, 0);
    if (bad) {
        char b[256];
        const char *e = "";
        for (int c = 0; c < 3; c++) if (sl[c].err[0]) e = sl[c].err;
        snprintf(b, sizeof b, "FAILED %s", e);
        failed = 1;
        snprintf(l, sizeof l, "%s.r", label); row_np(l, b);
    } else {
        uint64_t wrong = sl[1].bad + sl[2].bad;
        double a = sl[1].t0 < sl[2].t0 ? sl[1].t0 : sl[2].t0, z = sl[1].t1 > sl[2].t1 ? sl[1].t1 : sl[2].t1;
        m.ops = sl[1].ops + sl[2].ops;
        m.secs = z - a;
        m.h = sl[1].h;
        h_merge(&m.h, &sl[2].h);
        m.rss = sl[1].rss > sl[2].rss ? sl[1].rss : sl[2].rss;
        m.anon = 0;
        snprintf(l, sizeof l, "%s.r", label);
        row(l, &m, vnote(wrong), -1);
        m.ops = sl[0].ops;
        m.secs = sl[0].t1 - sl[0].t0;
        m.h = sl[0].h;
        m.rss = sl[0].rss;
        snprintf(l, sizeof l, "%s.w", label);
        row(l, &m, vnote(wrong), -1);
    }
    munmap(sl, 3 * sizeof *sl);
    munmap(g, sizeof *g);
}
