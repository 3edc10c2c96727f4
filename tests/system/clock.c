/* Interposed by LD_PRELOAD: the wall clock plus the seconds in the file CLOCK_SHIM, and adjtimex's word beside it
   ("-86400 1": a day back, synchronised). Monotonic and boot clocks, and sleeping, stay what they are, but for the boot
   clock where a third word says that the time has passed ("86400 0 86400": a day later). The file is mapped
   when a process starts, for when it may open no file any more; so it is written in place.
   Where CLOCK_SHIM is no path it is those words itself, the clock of a whole host: a process keeps it that may open no
   file, and what the kernel says of files agrees with it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#define WORDS 64

static const char *mapped;

__attribute__((constructor)) static void map(void) {
    const char *shim = getenv("CLOCK_SHIM");
    if (shim == NULL || shim[0] != '/') return;
    int fd = open(shim, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0) return;
    if (syscall(SYS_fstat, fd, &info) != 0 || info.st_size < WORDS) {
        close(fd);
        return; /* what is read beyond the end of a file is SIGBUS */
    }
    void *found = mmap(NULL, WORDS, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (found != MAP_FAILED) mapped = found;
}

static __thread long long passed; /* of the boot clock */

static long long told(int *synchronised) {
    char text[WORDS] = "";
    long long offset = 0;
    *synchronised = 0;
    passed = 0;
    const char *shim = getenv("CLOCK_SHIM"), *words = shim;
    if (shim == NULL) return 0;
    if (shim[0] == '/') {
        int fd = open(shim, O_RDONLY | O_CLOEXEC);
        words = fd >= 0 && read(fd, text, sizeof text - 1) > 0 ? text : mapped;
        if (fd >= 0) close(fd);
    }
    if (words != NULL) sscanf(words, "%lld %d %lld", &offset, synchronised, &passed);
    return offset;
}

int clock_gettime(clockid_t id, struct timespec *at) {
    int done = (int)syscall(SYS_clock_gettime, id, at), ignored;
    if (done == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) at->tv_sec += told(&ignored);
    if (done == 0 && id == CLOCK_BOOTTIME) {
        told(&ignored);
        at->tv_sec += passed;
    }
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

static long long of_host(void) {
    const char *shim = getenv("CLOCK_SHIM");
    int ignored;
    return shim == NULL || shim[0] == '/' ? 0 : told(&ignored);
}

static int dated(int done, struct stat *info) {
    long long offset = of_host();
    if (done == 0) {
        info->st_mtim.tv_sec += offset;
        info->st_ctim.tv_sec += offset;
        info->st_atim.tv_sec += offset;
    }
    return done;
}

int fstatat(int dir, const char *restrict path, struct stat *restrict info, int flags) {
    return dated((int)syscall(SYS_newfstatat, dir, path, info, flags), info);
}

int stat(const char *restrict path, struct stat *restrict info) { return fstatat(AT_FDCWD, path, info, 0); }

int lstat(const char *restrict path, struct stat *restrict info) {
    return fstatat(AT_FDCWD, path, info, AT_SYMLINK_NOFOLLOW);
}

int fstat(int fd, struct stat *info) { return fstatat(fd, "", info, AT_EMPTY_PATH); }

static int stamp(int dir, const char *path, const struct timespec *times, int flags) {
    struct timespec real[2];
    for (int i = 0; times != NULL && i < 2; i++) {
        real[i] = times[i];
        if (times[i].tv_nsec != UTIME_NOW && times[i].tv_nsec != UTIME_OMIT) real[i].tv_sec -= of_host();
    }
    return (int)syscall(SYS_utimensat, dir, path, times == NULL ? NULL : real, flags);
}

int utimensat(int dir, const char *path, const struct timespec times[2], int flags) {
    return stamp(dir, path, times, flags);
}

int futimens(int fd, const struct timespec times[2]) { return stamp(fd, NULL, times, 0); }

/* The same by the names for large files, which Python calls. */
int fstatat64(int, const char *restrict, struct stat64 *restrict, int) __attribute__((alias("fstatat")));
int stat64(const char *restrict, struct stat64 *restrict) __attribute__((alias("stat")));
int lstat64(const char *restrict, struct stat64 *restrict) __attribute__((alias("lstat")));
int fstat64(int, struct stat64 *) __attribute__((alias("fstat")));
