/* child.c - processes that a step starts, and what they tell in shared memory */
#include "kvbench.h"

void *shmem(size_t n)
{
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) die("mmap");
    return p;
}
pid_t child_begin(struct slot *s)
{
    fflush(NULL);
    memset(s, 0, sizeof *s);
    pid_t p = fork();
    if (p < 0) die("fork: %s", strerror(errno));
    return p;
}
void child_fail(struct slot *s, const char *what)
{
    snprintf(s->err, sizeof s->err, "%s: %s", what, A->lasterr ? A->lasterr() : "?");
    _exit(1);
}
void child_done(struct slot *s)
{
    s->ok = 1;
    _exit(0);
}
int child_wait(pid_t p, const struct slot *s)
{
    int st;
    waitpid(p, &st, 0);
    return s->ok ? 0 : -1;
}

void own_open(struct slot *s, struct own *w, int ro, int durable, int mp)
{
    struct kvb_opts o = mkopts(durable, mp, 0);
    if (A->open(DIRP, &o, ro, &w->db) < 0) child_fail(s, "open");
    if (A->session(w->db, &w->ses) < 0) child_fail(s, "session");
}
void own_close(struct slot *s, struct own *w)
{
    A->session_end(w->ses);
    if (A->close(w->db) < 0) child_fail(s, "close");
}

/* ---------------------------------------------------- several at a time */
void gate_wait(struct gate *g)
{
    atomic_fetch_add(&g->ready, 1);
    while (!atomic_load(&g->go)) usleep(200);
}
int has_ended(pid_t p)
{
    siginfo_t si = {0};
    return waitid(P_PID, p, &si, WEXITED | WNOHANG | WNOWAIT) == 0 && si.si_pid;
}
static int kill_all(pid_t *p, int n)
{
    for (int i = 0; i < n; i++) kill(p[i], SIGKILL);
    return -1;
}
int gate_open(struct gate *g, int n, pid_t *p)
{
    for (int spins = 0; atomic_load(&g->ready) < n; spins++) {
        usleep(500);
        for (int i = 0; i < n; i++)             /* a child that died before the gate */
            if (has_ended(p[i])) return kill_all(p, n);
        if (spins > 120000) return kill_all(p, n);
    }
    atomic_store(&g->go, 1);
    return 0;
}
int wait_all(pid_t *p, int n)
{
    int bad = 0, st;
    for (int i = 0; i < n; i++) { waitpid(p[i], &st, 0); bad += st != 0; }
    return bad;
}
const char *any_error(const struct slot *s, int n)
{
    const char *e = "";
    for (int i = 0; i < n; i++) if (s[i].err[0]) e = s[i].err;
    return e;
}
