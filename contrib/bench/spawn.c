/* spawn.c - what whole processes cost.
 *
 *   spawn N CMD ARG... -- CMD ARG... -- ...
 *
 * Runs the commands in turn, N rounds, output to /dev/null, and prints for
 * each the median and the tenth percentile from spawn to exit, and the
 * median's ratio to the first command's.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

#define COMMANDS 16

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec * 1e-6;
}
static int less(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
int main(int argc, char **argv)
{
    int n = argc > 2 ? atoi(argv[1]) : 0, k = 0, st;
    char **cmd[COMMANDS];
    double *ms[COMMANDS];
    posix_spawn_file_actions_t fa;

    if (n <= 0) { fprintf(stderr, "usage: spawn N CMD... -- CMD...\n"); return 64; }
    for (int i = 2; i < argc && k < COMMANDS; k++) {
        cmd[k] = &argv[i];
        ms[k] = calloc((size_t)n, sizeof(double));
        while (i < argc && strcmp(argv[i], "--")) i++;
        if (i < argc) argv[i++] = NULL;
    }
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < k; j++) {
            double t = now();
            pid_t p;
            if (posix_spawnp(&p, cmd[j][0], &fa, NULL, cmd[j], environ)) { perror(cmd[j][0]); return 127; }
            waitpid(p, &st, 0);
            if (st) { fprintf(stderr, "%s: status %#x\n", cmd[j][0], st); return 1; }
            ms[j][i] = now() - t;
        }
    for (int j = 0; j < k; j++) {
        qsort(ms[j], (size_t)n, sizeof(double), less);
        printf("%-28s %-28s median %7.3f ms  p10 %7.3f ms  ratio %5.2f\n", cmd[j][0], cmd[j][1] ? cmd[j][1] : "",
               ms[j][n / 2], ms[j][n / 10], ms[j][n / 2] / ms[0][n / 2]);
    }
    return 0;
}
