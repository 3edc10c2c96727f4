/* Interposed by LD_PRELOAD: at the n-th call that its own process makes since `arm`, the process is killed before the
   call is made, or the call fails with an error, once or from then on. A failing close closes, as the kernel has it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NAMES = 4096 };
static long armed, target, count, error_of, lasting;
static const char *only = "", *unknown = "";
static const char *names[NAMES];

/* `names`: of the calls that count, each between spaces; "": every call. `code`: an errno, 0: SIGKILL. */
void arm(const char *calls, long at, long code, long stays) {
    only = strdup(calls); target = at; error_of = code; lasting = stays; count = 0; armed = 1;
}
/* These calls are none that the file system knows. */
void forget(const char *calls) { unknown = strdup(calls); }
long disarm(void) { armed = 0; return count; }
const char *name_of(long at) { return at < NAMES ? names[at] : ""; }

static int fails(const char *name) {
    if (*unknown && strstr(unknown, name)) { errno = EINVAL; return 1; }
    if (!armed || (*only && strstr(only, name) == NULL)) return 0;
    if (count < NAMES) names[count] = name;
    count++;
    if (target == 0 || count < target || (count > target && !lasting)) return 0;
    if (error_of == 0) { kill(getpid(), SIGKILL); for (;;) pause(); }
    errno = (int)error_of;
    return 1;
}

#define REAL(type, name) static type real; if (!real) real = (type)dlsym(RTLD_NEXT, name)
#define WRAP(result, name, parameters, arguments) \
    result name parameters { \
        typedef result (*function) parameters; \
        REAL(function, #name); \
        return fails(" " #name " ") ? (result)-1 : real arguments; \
    }
#define OPENED(name, first, given) \
    int name(first const char *path, int flags, ...) { \
        typedef int (*function)(first const char *, int, ...); \
        REAL(function, #name); \
        va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more); \
        return fails(" " #name " ") ? -1 : real(given path, flags, mode); \
    }
#define COMMA ,
OPENED(open64, , )
OPENED(openat64, int dir COMMA, dir COMMA)
WRAP(int, renameat, (int a, const char *b, int c, const char *d), (a, b, c, d))
WRAP(int, renameat2, (int a, const char *b, int c, const char *d, unsigned e), (a, b, c, d, e))
WRAP(int, statx, (int a, const char *b, int c, unsigned d, struct statx *e), (a, b, c, d, e))
WRAP(int, unlinkat, (int a, const char *b, int c), (a, b, c))
WRAP(int, mkdirat, (int a, const char *b, mode_t c), (a, b, c))
WRAP(int, mkdir, (const char *a, mode_t b), (a, b))
WRAP(int, fsync, (int a), (a))
WRAP(int, fdatasync, (int a), (a))
WRAP(int, fchmod, (int a, mode_t b), (a, b))
WRAP(int, fchown, (int a, uid_t b, gid_t c), (a, b, c))
WRAP(int, chmod, (const char *a, mode_t b), (a, b))
WRAP(int, ftruncate64, (int a, off_t b), (a, b))
WRAP(ssize_t, write, (int a, const void *b, size_t c), (a, b, c))
WRAP(ssize_t, pwrite64, (int a, const void *b, size_t c, off_t d), (a, b, c, d))
WRAP(ssize_t, sendfile64, (int a, int b, off64_t *c, size_t d), (a, b, c, d))
WRAP(int, memfd_create, (const char *a, unsigned b), (a, b))
WRAP(ssize_t, read, (int a, void *b, size_t c), (a, b, c))
WRAP(int, fstat64, (int a, struct stat64 *b), (a, b))
WRAP(int, fstatat64, (int a, const char *b, struct stat64 *c, int d), (a, b, c, d))
WRAP(int, flock, (int a, int b), (a, b))
WRAP(ssize_t, readlink, (const char *a, char *b, size_t c), (a, b, c))

DIR *fdopendir(int fd) {
    typedef DIR *(*function)(int);
    REAL(function, "fdopendir");
    return fails(" fdopendir ") ? NULL : real(fd);
}
struct dirent64 *readdir64(DIR *dir) {
    typedef struct dirent64 *(*function)(DIR *);
    REAL(function, "readdir64");
    return fails(" readdir64 ") ? NULL : real(dir);
}
int close(int fd) {
    typedef int (*function)(int);
    REAL(function, "close");
    int failed = fails(" close "), done = real(fd);
    if (failed) errno = (int)error_of;
    return failed ? -1 : done;
}
