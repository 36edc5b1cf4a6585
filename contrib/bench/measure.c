/* measure.c - histograms, rows, and the database that is open */
#include "kvbench.h"

/* ------------------------------------------------------ keys and values */
char lut[200];
void lut_init(void)
{
    for (int i = 0; i < 100; i++) { lut[2*i] = '0' + i/10; lut[2*i+1] = '0' + i%10; }
}
/* last version put for each key, in shared memory so that it survives the
 * process and is common to all; outside the disk so that it is not in write_bytes */
uint32_t *VER;
static char verpath[256];
void ver_open(void)
{
    snprintf(verpath, sizeof verpath, "/dev/shm/kvbench.%016" PRIx64 ".ver", ({
        uint64_t h = 14695981039346656037ull;
        for (const char *p = DIRP; *p; p++) h = (h ^ (unsigned char)*p) * 1099511628211ull;
        h; }));
    if (FRESH) unlink(verpath);
    int fd = open(verpath, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, N * 4)) die("%s: %s", verpath, strerror(errno));
    VER = mmap(NULL, N * 4, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (VER == MAP_FAILED) die("mmap ver");
    close(fd);
}

uint32_t *perm;
void make_perm(uint64_t seed)
{
    if (!perm) perm = malloc(N * sizeof *perm);
    for (uint64_t i = 0; i < N; i++) perm[i] = i;
    uint64_t s = seed * 7919;
    for (uint64_t i = N - 1; i > 0; i--) {
        uint64_t j = rng(&s) % (i + 1);
        uint32_t t = perm[i]; perm[i] = perm[j]; perm[j] = t;
    }
}

/* -------------------------------------------------------------- histogram */
double tick_ns;
void tsc_init(void)
{
    double a = now();
    uint64_t t = __rdtsc();
    while (now() - a < 0.02) ;
    double b = now();
    tick_ns = (b - a) * 1e9 / (double)(__rdtsc() - t);
}
double h_pct(const struct hist *h, double p)
{
    uint64_t want = (uint64_t)(h->n * p), c = 0;
    if (!h->n) return 0;
    for (unsigned i = 0; i < 64 * 16; i++) {
        c += h->b[i];
        if (c > want) {
            double v = i < 16 ? i : (16.5 + (i & 15)) * (double)(1ull << (i / 16 - 1));
            if (v > h->max) v = h->max;
            return v * tick_ns / 1000;
        }
    }
    return h->max * tick_ns / 1000;
}
void h_merge(struct hist *d, const struct hist *s)
{
    for (unsigned i = 0; i < 64 * 16; i++) d->b[i] += s->b[i];
    d->n += s->n;
    if (s->max > d->max) d->max = s->max;
}
/* ------------------------------------------------------------ measurement */
struct io io_get(void)
{
    struct io r = {0};
    char b[64];
    uint64_t v;
    FILE *f = fopen("/proc/self/io", "r");
    if (!f) return r;
    while (fscanf(f, "%63s %" SCNu64, b, &v) == 2) {
        if (!strcmp(b, "wchar:")) r.wchar = v;
        else if (!strcmp(b, "rchar:")) r.rchar = v;
        else if (!strcmp(b, "write_bytes:")) r.wbytes = v;
        else if (!strcmp(b, "read_bytes:")) r.rbytes = v;
    }
    fclose(f);
    return r;
}
static double cpu_get(void)
{
    struct rusage a, b;
    getrusage(RUSAGE_SELF, &a);
    getrusage(RUSAGE_CHILDREN, &b);
    return a.ru_utime.tv_sec + a.ru_stime.tv_sec + b.ru_utime.tv_sec + b.ru_stime.tv_sec +
           1e-6 * (a.ru_utime.tv_usec + a.ru_stime.tv_usec + b.ru_utime.tv_usec + b.ru_stime.tv_usec);
}
/* busy seconds of the whole machine; less our own it is other people's noise */
static double machine_cpu(void)
{
    unsigned long long u = 0, n = 0, s = 0, id = 0, io = 0, irq = 0, sirq = 0, st = 0;
    FILE *f = fopen("/proc/stat", "r");
    if (!f) return 0;
    if (fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &u, &n, &s, &id, &io, &irq, &sirq, &st) != 8) u = 0;
    fclose(f);
    return (double)(u + n + s + irq + sirq + st) / sysconf(_SC_CLK_TCK);
}
double status_mb(const char *key)
{
    char l[256];
    double v = 0;
    FILE *f = fopen("/proc/self/status", "r");
    if (!f) return 0;
    while (fgets(l, sizeof l, f))
        if (!strncmp(l, key, strlen(key))) v = atof(l + strlen(key) + 1) / 1024;
    fclose(f);
    return v;
}
void m_begin(struct meas *m)
{
    memset(m, 0, sizeof *m);
    int fd = open("/proc/self/clear_refs", O_WRONLY);
    if (fd >= 0) { if (write(fd, "5", 1) != 1) {} close(fd); }
    m->i0 = io_get();
    m->cpu0 = cpu_get();
    m->sys0 = machine_cpu();
    m->t0 = now();
}
void m_end(struct meas *m, uint64_t ops)
{
    while (waitpid(-1, NULL, WNOHANG) > 0) ;    /* what they have done counts from here on */
    m->secs = now() - m->t0;
    m->ops = ops;
    m->cpu = cpu_get() - m->cpu0;
    m->foreign = machine_cpu() - m->sys0 - m->cpu;
    if (m->foreign < 0) m->foreign = 0;
    struct io e = io_get();
    m->io.wchar = e.wchar - m->i0.wchar;
    m->io.rchar = e.rchar - m->i0.rchar;
    m->io.wbytes = e.wbytes - m->i0.wbytes;
    m->io.rbytes = e.rbytes - m->i0.rbytes;
    m->rss = status_mb("VmHWM:");
    m->anon = status_mb("RssAnon:");
}

static int64_t du_sum;
int64_t du_log;
static int du_cb(const char *p, const struct stat *s, int t, struct FTW *f)
{
    (void)t;
    du_sum += (int64_t)s->st_blocks * 512;
    if (A->is_log && A->is_log(p + f->base)) du_log += (int64_t)s->st_blocks * 512;
    return 0;
}
int64_t disk_size(void)
{
    if (A->disk_size) return A->disk_size(DIRP);
    du_sum = du_log = 0;
    nftw(DIRP, du_cb, 16, FTW_PHYS);
    return du_sum;
}
int rm_cb(const char *p, const struct stat *s, int t, struct FTW *f)
{
    (void)s; (void)t;
    if (f->level > 0) remove(p);
    return 0;
}

void row_head(void)
{
    printf("peer\tcompress\tvsize\tn\trep\tworkload\tops\tsecs\tops_s\tus_op\tp50_us\tp99_us\tmax_us"
           "\twchar_mb\twrite_mb\tcpu_s\tforeign_cpu_s\tdisk_mb\trss_mb\tanon_mb\tnote\n");
}
void row(const char *label, const struct meas *m, const char *note, int64_t disk)
{
    if (!strcmp(label, "-")) return;
    printf("%s\t%s\t%u\t%" PRIu64 "\t%u\t%s\t", PEER, COMPRESS ? "on" : "off", VLEN, N, REP, label);
    if (!m) printf("\t\t\t\t\t\t\t\t\t\t\t%.2f\t\t\t%s\n", disk / 1e6, note);
    else {
        printf("%" PRIu64 "\t%.6f\t%.1f\t%.4f\t", m->ops, m->secs, m->secs > 0 ? m->ops / m->secs : 0,
               m->ops ? m->secs * 1e6 / m->ops : 0);
        if (m->h.n) printf("%.3f\t%.3f\t%.1f\t", h_pct(&m->h, .5), h_pct(&m->h, .99), m->h.max * tick_ns / 1000);
        else printf("\t\t\t");
        printf("%.2f\t%.2f\t%.3f\t%.2f\t", m->io.wchar / 1e6, m->io.wbytes / 1e6, m->cpu, m->foreign);
        if (disk >= 0) printf("%.2f", disk / 1e6);
        printf("\t%.1f\t%.1f\t%s\n", m->rss, m->anon, note);
    }
    fflush(stdout);
}
void row_np(const char *label, const char *why)
{
    if (!strcmp(label, "-")) return;
    printf("%s\t%s\t%u\t%" PRIu64 "\t%u\t%s\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t%s\n", PEER, COMPRESS ? "on" : "off",
           VLEN, N, REP, label, why);
    fflush(stdout);
}
void row_failed(const char *label, const char *why)
{
    char b[256];
    snprintf(b, sizeof b, "FAILED %s", why);
    failed = 1;
    row_np(label, b);
}
const char *vnote(uint64_t bad)
{
    static char b[64];
    if (!bad) return "ok";
    failed = 1;
    snprintf(b, sizeof b, "VERIFY-FAIL(%" PRIu64 ")", bad);
    return b;
}

/* ---------------------------------------------------------------- db state */
void *db, *ses;
static int db_ro, db_durable, db_seq, ever_opened;
/* engines keep background threads for the life of the process, and fork()
 * would not copy them: steps that fork want a driver that never opened the db */
void forks(void)
{
    if (ever_opened) die("this step forks; put it in a --steps list of its own, before any other");
}
struct kvb_opts mkopts(int durable, int mp, int seq)
{
    struct kvb_opts o = { .write_buffer = WB, .cache = CACHE, .bloom_bits = 10, .compress = COMPRESS,
                          .durable = durable, .mp = mp, .sequential = seq, .n_hint = N,
                          .val_hint = VLEN, .extra = EXTRA };
    return o;
}
void shut(void)
{
    if (!db) return;
    if (ses) A->session_end(ses);
    ses = NULL;
    MUST(A->close(db));
    db = NULL;
}
void need(int ro, int durable, int seq)
{
    if (db && db_ro == ro && db_durable == durable && (db_seq || !seq)) return;
    shut();
    struct kvb_opts o = mkopts(durable, 0, seq);
    MUST(A->open(DIRP, &o, ro, &db));
    MUST(A->session(db, &ses));
    ever_opened = 1;
    db_ro = ro; db_durable = durable; db_seq = seq;
}

char VB[65536];
