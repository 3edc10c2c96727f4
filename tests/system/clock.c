/* Interposed by LD_PRELOAD: the wall clock plus the seconds in the file CLOCK_SHIM, and adjtimex's word beside it
   ("-86400 1": a day back, synchronised). Monotonic and boot clocks, and sleeping, stay what they are. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

static long long told(int *synchronised) {
    char text[64] = "";
    long long offset = 0;
    *synchronised = 0;
    int fd = open(getenv("CLOCK_SHIM"), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    if (read(fd, text, sizeof text - 1) > 0) sscanf(text, "%lld %d", &offset, synchronised);
    close(fd);
    return offset;
}

int clock_gettime(clockid_t id, struct timespec *at) {
    int done = (int)syscall(SYS_clock_gettime, id, at), ignored;
    if (done == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) at->tv_sec += told(&ignored);
    return done;
}

time_t time(time_t *where) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (where) *where = at.tv_sec;
    return at.tv_sec;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

int adjtimex(struct timex *state) {
    int done = (int)syscall(SYS_adjtimex, state), synchronised;
    told(&synchronised);
    state->status = synchronised ? state->status & ~STA_UNSYNC : state->status | STA_UNSYNC;
    return done < 0 ? 0 : done;
}
