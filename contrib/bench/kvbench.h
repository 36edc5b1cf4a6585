/* kvbench.h - what the parts of kvbench share: options, keys and values, measuring, the database.
 *
 *   driver.c      options, the list of steps        measure.c     rows, histograms, the open database
 *   step_write.c  fills, overwriting, settling      step_read.c   gets, scans, verifying
 *   step_many.c   threads, processes                step_open.c   opening, being killed
 *   child.c       the processes of these
 */
#ifndef KVBENCH_H
#define KVBENCH_H

#define _GNU_SOURCE
#include "adapter.h"
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <libgen.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

extern char **environ;

/* ---------------------------------------------------------------- options */
extern uint64_t N, READS, SEEKS, SYNC_N, MP_OPS, DIRTY_N, SEED;
extern unsigned BATCH, VLEN, OPEN_REPS, DIRTY_REPS, REP, NEXTS;
extern double SECS;
extern int COMPRESS, RDONLY, FRESH;
extern const char *PEER, *DIRP, *EXTRA;
extern char SELF[4096];
extern size_t WB, CACHE;
extern const struct kvb_adapter *A;
extern int failed;

void die(const char *fmt, ...);
double now(void);
#define MUST(x) do { long r_ = (x); if (r_ < 0) die("%s: %s -> %ld (%s)", PEER, #x, r_, A->lasterr ? A->lasterr() : "?"); } while (0)

/* ------------------------------------------------------ keys and values */
#define KLEN 16
extern char lut[200];
static inline void enc8(char *p, uint32_t v)
{
    uint32_t a = v / 10000, b = v % 10000;
    memcpy(p, lut + 2*(a/100), 2); memcpy(p+2, lut + 2*(a%100), 2);
    memcpy(p+4, lut + 2*(b/100), 2); memcpy(p+6, lut + 2*(b%100), 2);
}
/* present keys are the even numbers, missing keys the odd ones between them */
static inline void key_enc(char *k, uint64_t num)
{
    enc8(k, (uint32_t)(num / 100000000u));
    enc8(k + 8, (uint32_t)(num % 100000000u));
}
static inline uint64_t dec8(const char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    v = (v & 0x0F0F0F0F0F0F0F0Full) * 2561 >> 8;
    v = (v & 0x00FF00FF00FF00FFull) * 6553601 >> 16;
    return (v & 0x0000FFFF0000FFFFull) * 42949672960001ull >> 32;
}
static inline uint64_t key_dec(const char *k) { return dec8(k) * 100000000u + dec8(k + 8); }

static inline uint64_t mix(uint64_t z)
{
    z += 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}
static inline uint64_t rng(uint64_t *s) { return mix((*s)++); }
static inline uint64_t below(uint64_t *s, uint64_t n) { return (uint64_t)(((unsigned __int128)rng(s) * n) >> 64); }

/* value = u32 version, u32 tag, random to half way, then the half again:
 * a general codec halves it.  Content is a function of (idx, ver). */
static inline uint32_t val_tag(uint64_t idx, uint32_t ver) { return (uint32_t)mix(idx * 0x10001 + ver); }
static inline void val_enc(char *v, unsigned len, uint64_t idx, uint32_t ver)
{
    unsigned half = len / 2;
    uint32_t tag = val_tag(idx, ver);
    memcpy(v, &ver, 4);
    memcpy(v + 4, &tag, 4);
    uint64_t s = ((uint64_t)tag << 32 | ver) ^ idx;
    unsigned i = 8;
    for (; i + 8 <= half; i += 8) { uint64_t w = mix(s += 0xD1B54A32D192ED03ull); memcpy(v + i, &w, 8); }
    if (i < half) { uint64_t w = mix(s += 0xD1B54A32D192ED03ull); memcpy(v + i, &w, half - i); }
    memcpy(v + half, v, half);
    if (len & 1) v[len - 1] = '.';
}
/* touches every byte; catches a wrong, torn, stale-length or swapped value */
static inline int val_ok(const char *v, size_t len, uint64_t idx)
{
    uint32_t ver, tag;
    if (len != VLEN) return 0;
    memcpy(&ver, v, 4);
    memcpy(&tag, v + 4, 4);
    return tag == val_tag(idx, ver) && memcmp(v, v + VLEN/2, VLEN/2) == 0;
}
/* byte-exact, for the untimed verify step */
static inline int val_exact(const char *v, size_t len, uint64_t idx, uint32_t ver)
{
    char t[65536];
    if (len != VLEN) return 0;
    val_enc(t, VLEN, idx, ver);
    return memcmp(t, v, VLEN) == 0;
}

/* last version put for each key; a random order of them */
extern uint32_t *VER, *perm;
void lut_init(void);
void ver_open(void);
void make_perm(uint64_t seed);

/* ------------------------------------------------------------ measurement */
struct hist { uint64_t n, max, b[64 * 16]; };
extern double tick_ns;
extern int64_t du_log;
static inline void h_add(struct hist *h, uint64_t v)
{
    unsigned i;
    if (v < 16) i = v;
    else { unsigned m = 63 - __builtin_clzll(v); i = (m - 3) * 16 + ((v >> (m - 4)) & 15); }
    h->b[i]++;
    h->n++;
    if (v > h->max) h->max = v;
}
struct io { uint64_t wchar, rchar, wbytes, rbytes; };
struct meas {
    double t0, secs, cpu0, cpu, sys0, foreign;
    struct io i0, io;
    uint64_t ops;
    double rss, anon;
    struct hist h;
};
void tsc_init(void);
double h_pct(const struct hist *h, double p);
void h_merge(struct hist *d, const struct hist *s);
struct io io_get(void);
double status_mb(const char *key);
void m_begin(struct meas *m);
void m_end(struct meas *m, uint64_t ops);
int64_t disk_size(void);
int rm_cb(const char *p, const struct stat *s, int t, struct FTW *f);
void row_head(void);
void row(const char *label, const struct meas *m, const char *note, int64_t disk);
void row_np(const char *label, const char *why);
void row_failed(const char *label, const char *why);    /* and the exit status is 3 */
const char *vnote(uint64_t bad);

/* ---------------------------------------------------------------- db state */
extern void *db, *ses;
extern char VB[65536];
void forks(void);
struct kvb_opts mkopts(int durable, int mp, int seq);
void shut(void);
void need(int ro, int durable, int seq);
#define LAT_BEGIN(every, i) uint64_t t_ = 0; int lat_ = ((i) % (every)) == 0; if (lat_) t_ = __rdtsc()
#define LAT_END(h) do { if (lat_) h_add(&(h), __rdtsc() - t_); } while (0)

/* ---------------------------------------------- processes of one step */
struct slot { double t0, t1; uint64_t ops, bad; int ok; struct hist h; char err[200]; double rss; };
void *shmem(size_t n);
pid_t child_begin(struct slot *s);              /* fork() with an empty slot; 0 in the child */
void child_fail(struct slot *s, const char *what) __attribute__((noreturn));
void child_done(struct slot *s) __attribute__((noreturn));
int child_wait(pid_t p, const struct slot *s);  /* 0, or -1: not done; s->err may say why */
/* a child's own handle and session */
struct own { void *db, *ses; };
void own_open(struct slot *s, struct own *w, int ro, int durable, int mp);
void own_close(struct slot *s, struct own *w);
/* several of them begin at the same time */
struct gate { atomic_int ready, go, stop; };
void gate_wait(struct gate *g);
int gate_open(struct gate *g, int n, pid_t *p); /* 0, or -1: one died before, and all are killed */
int has_ended(pid_t p);
int wait_all(pid_t *p, int n);                  /* how many failed */
const char *any_error(const struct slot *s, int n);

/* ------------------------------------------------------------------ steps */
void step_fill(const char *label, int random, int sync, int overwrite);
void step_fillbatch(const char *label, int random);
void step_deleterandom(const char *label);
void step_settle(const char *label, int level);
void step_size(const char *label);
void step_read(const char *label, int kind);
void step_readseq(const char *label, int reverse, int forceiter);
void step_seekrandom(const char *label);
void step_verify(const char *label);
void step_rww(const char *label);
void step_mpsync(const char *label, int P);
void step_mpread(const char *label);
void step_open(const char *label, int ro);
void step_execget(const char *label);
void step_opendirty(const char *label);
void step_killbatch(const char *label);

#endif
