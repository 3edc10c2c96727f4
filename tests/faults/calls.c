/* Interposed by LD_PRELOAD: counts the calls of one process, all threads, that change files below one directory, and at
   one of them does what a test asks for: kill the process before it or after it, stop the process, answer with an error,
   or answer well without doing anything. The test asks through the page in the file CALLS_PAGE, which both have mapped,
   so that what was recorded outlives the process. The layout of the page is that of `calls.py`. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { RECORD, BEFORE, AFTER, ERROR, SKIP, STOP };
enum { NAME = 16, PATH = 240, ENTRIES = 8192 };

struct entry { char name[NAME], path[PATH]; };
struct page {
    int32_t pid;       /* of the process that counts; 0: none */
    int32_t action;    /* of the enumeration above */
    int32_t target;    /* which of the calls that match; 0: each of them */
    int32_t error;     /* the errno of ERROR */
    int32_t unsynced;  /* not 0: a sync answers well and does nothing */
    int32_t opens;     /* not 0: every open counts, not only those that create */
    int32_t count;     /* calls that matched so far */
    int32_t fired;     /* the action was carried out so often */
    int32_t recorded;  /* entries of the log */
    char root[PATH];   /* only paths below it count */
    char name[128];    /* "": any call; else names between spaces */
    char path[PATH];   /* a pattern (fnmatch); "": any path */
    char omitted[PATH]; /* a pattern (FNM_EXTMATCH): the syncs of these paths answer well and do nothing; "": none */
    struct entry log[ENTRIES];
};
static struct page *page;

__attribute__((constructor)) static void map(void) {
    const char *path = getenv("CALLS_PAGE");
    if (path == NULL) return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) return;
    void *found = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (found != MAP_FAILED) page = found;
    syscall(SYS_close, fd);
}

static void of_fd(int fd, char *out, size_t size) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = (ssize_t)syscall(SYS_readlinkat, AT_FDCWD, link, out, size - 1);
    out[length < 0 ? 0 : length] = 0;
}

static void of_path(int dir, const char *path, char *out, size_t size) {
    out[0] = 0;
    if (path == NULL) return;
    int fd;
    if (sscanf(path, "/proc/self/fd/%d", &fd) == 1) { of_fd(fd, out, size); return; }
    if (path[0] == '/') { snprintf(out, size, "%s", path); return; }
    if (dir == AT_FDCWD) { if (syscall(SYS_getcwd, out, size) < 0) out[0] = 0; }
    else of_fd(dir, out, size);
    size_t length = strlen(out);
    snprintf(out + length, size - length, "/%s", path);
}

/* A signal to this thread: it gets no further, whichever thread the kernel would have chosen. */
static void end(int how) {
    syscall(SYS_tgkill, (pid_t)syscall(SYS_getpid), (pid_t)syscall(SYS_gettid), how);
}

static int listed(const char *names, const char *name) {
    char padded[160], wanted[NAME + 2];
    snprintf(padded, sizeof padded, " %s ", names);
    snprintf(wanted, sizeof wanted, " %s ", name);
    return strstr(padded, wanted) != NULL;
}

/* What to do at this call: RECORD (go on), AFTER, ERROR or SKIP; before it what comes before it is done here. */
static int judged(const char *name, const char *path, int quiet) {
    if (page == NULL || page->pid == 0 || page->pid != (int)syscall(SYS_getpid)) return RECORD;
    size_t length = strlen(page->root);
    if (strncmp(path, page->root, length) != 0) return RECORD;
    const char *below = path + length;
    int sync = strcmp(name, "fsync") == 0 || strcmp(name, "fdatasync") == 0;
    int left_out = page->unsynced || (page->omitted[0] && fnmatch(page->omitted, below, FNM_EXTMATCH) == 0);
    int otherwise = sync && left_out ? SKIP : RECORD;
    if (quiet && !page->opens) return otherwise;
    int at = __atomic_fetch_add(&page->recorded, 1, __ATOMIC_SEQ_CST);
    if (at < ENTRIES) {
        snprintf(page->log[at].name, NAME, "%s", name);
        snprintf(page->log[at].path, PATH, "%s", below);
    }
    if (page->name[0] && !listed(page->name, name)) return otherwise;
    if (page->path[0] && fnmatch(page->path, below, 0) != 0) return otherwise;
    int mine = __atomic_add_fetch(&page->count, 1, __ATOMIC_SEQ_CST);
    if (page->action == RECORD || (page->target != 0 && page->target != mine)) return otherwise;
    __atomic_add_fetch(&page->fired, 1, __ATOMIC_SEQ_CST);
    if (page->action == BEFORE) { end(SIGKILL); for (;;) pause(); }
    if (page->action == STOP) end(SIGSTOP);
    return page->action == STOP ? otherwise : page->action;
}

static long done(int action, long result) {
    int kept = errno;
    if (action == AFTER) { end(SIGKILL); for (;;) pause(); }
    errno = kept;
    return result;
}

static long failed(void) { errno = page->error; return -1; }

#define AT(dir, path) char where[PATH]; int kept = errno; of_path(dir, path, where, sizeof where); errno = kept
#define OF(fd) char where[PATH]; int kept = errno; of_fd(fd, where, sizeof where); errno = kept
#define DO(name, skipped, call) do { \
    int action = judged(name, where, 0); \
    if (action == ERROR) return failed(); \
    if (action == SKIP) return skipped; \
    return done(action, (long)(call)); } while (0)

static int opened(int dir, const char *path, int flags, mode_t mode) {
    AT(dir, path);
    int action = judged(flags & (O_CREAT | O_TRUNC) ? "create" : "open", where, !(flags & (O_CREAT | O_TRUNC)));
    if (action == ERROR) return (int)failed();
    return (int)done(action, syscall(SYS_openat, dir, path, flags, mode));
}
static mode_t mode_of(int flags, va_list more) {
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(more, mode_t) : 0;
}
#define OPENED(dir) va_list more; va_start(more, flags); mode_t mode = mode_of(flags, more); va_end(more); \
    return opened(dir, path, flags, mode)
int open(const char *path, int flags, ...) { OPENED(AT_FDCWD); }
int open64(const char *path, int flags, ...) { OPENED(AT_FDCWD); }
int openat(int dir, const char *path, int flags, ...) { OPENED(dir); }
int openat64(int dir, const char *path, int flags, ...) { OPENED(dir); }

ssize_t write(int fd, const void *data, size_t size) {
    OF(fd);
    DO("write", (long)size, syscall(SYS_write, fd, data, size));
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    OF(fd);
    DO("write", -1, syscall(SYS_writev, fd, parts, count));
}
ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) {
    OF(fd);
    DO("write", (long)size, syscall(SYS_pwrite64, fd, data, size, at));
}
ssize_t sendfile64(int out, int in, off64_t *at, size_t size) {
    OF(out);
    DO("write", (long)size, syscall(SYS_sendfile, out, in, at, size));
}
ssize_t sendfile(int, int, off_t *, size_t) __attribute__((alias("sendfile64")));
ssize_t pwrite(int, const void *, size_t, off_t) __attribute__((alias("pwrite64")));

static int moved(int from, const char *old, int to, const char *new, unsigned flags) {
    AT(to, new);
    (void)old;
    DO("rename", 0, syscall(SYS_renameat2, from, old, to, new, flags));
}
int rename(const char *old, const char *new) { return moved(AT_FDCWD, old, AT_FDCWD, new, 0); }
int renameat(int from, const char *old, int to, const char *new) { return moved(from, old, to, new, 0); }
int renameat2(int from, const char *old, int to, const char *new, unsigned flags) { return moved(from, old, to, new, flags); }
int linkat(int from, const char *old, int to, const char *new, int flags) {
    AT(to, new);
    DO("link", 0, syscall(SYS_linkat, from, old, to, new, flags));
}
int link(const char *old, const char *new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }
int symlinkat(const char *target, int dir, const char *path) {
    AT(dir, path);
    DO("symlink", 0, syscall(SYS_symlinkat, target, dir, path));
}
int symlink(const char *target, const char *path) { return symlinkat(target, AT_FDCWD, path); }
int unlinkat(int dir, const char *path, int flags) {
    AT(dir, path);
    DO(flags & AT_REMOVEDIR ? "rmdir" : "unlink", 0, syscall(SYS_unlinkat, dir, path, flags));
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int mkdirat(int dir, const char *path, mode_t mode) {
    AT(dir, path);
    DO("mkdir", 0, syscall(SYS_mkdirat, dir, path, mode));
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
int fsync(int fd) { OF(fd); DO("fsync", 0, syscall(SYS_fsync, fd)); }
int fdatasync(int fd) { OF(fd); DO("fdatasync", 0, syscall(SYS_fdatasync, fd)); }
int ftruncate64(int fd, off_t size) { OF(fd); DO("truncate", 0, syscall(SYS_ftruncate, fd, size)); }
int ftruncate(int, off_t) __attribute__((alias("ftruncate64")));
int truncate64(const char *path, off_t size) { AT(AT_FDCWD, path); DO("truncate", 0, syscall(SYS_truncate, path, size)); }
int truncate(const char *, off_t) __attribute__((alias("truncate64")));
int fchmod(int fd, mode_t mode) { OF(fd); DO("chmod", 0, syscall(SYS_fchmod, fd, mode)); }
int fchmodat(int dir, const char *path, mode_t mode, int flags) {
    (void)flags;
    AT(dir, path);
    DO("chmod", 0, syscall(SYS_fchmodat, dir, path, mode));
}
int chmod(const char *path, mode_t mode) { return fchmodat(AT_FDCWD, path, mode, 0); }
int fchownat(int dir, const char *path, uid_t uid, gid_t gid, int flags) {
    AT(dir, path);
    DO("chown", 0, syscall(SYS_fchownat, dir, path, uid, gid, flags));
}
int chown(const char *path, uid_t uid, gid_t gid) { return fchownat(AT_FDCWD, path, uid, gid, 0); }
int lchown(const char *path, uid_t uid, gid_t gid) { return fchownat(AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW); }
int fchown(int fd, uid_t uid, gid_t gid) { OF(fd); DO("chown", 0, syscall(SYS_fchown, fd, uid, gid)); }
int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags) {
    OF(fd);
    DO("setxattr", 0, syscall(SYS_fsetxattr, fd, name, value, size, flags));
}
int setxattr(const char *path, const char *name, const void *value, size_t size, int flags) {
    AT(AT_FDCWD, path);
    DO("setxattr", 0, syscall(SYS_setxattr, path, name, value, size, flags));
}
