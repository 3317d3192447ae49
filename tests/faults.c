/* Makes one call in a process fail as a broken or full disk would: the FAIL_CALL-th call, counted
   from 0, that writes below the folder FAIL_BELOW, and with FAIL_LASTING=1 every one after it, with the
   error FAIL_ERRNO. With FAIL_ERRNO=0 the process is killed instead, and calls that delete count too.
   How many calls there were goes to the file FAIL_COUNT. For LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static long calls = 0;

static int below(const char *path) {
    const char *folder = getenv("FAIL_BELOW");
    return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

static int is_below(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return below(path);
}

static int fails(void) {
    if (!getenv("FAIL_CALL")) return 0;
    long number = calls++, target = atol(getenv("FAIL_CALL"));
    if (number != target && !(atoi(getenv("FAIL_LASTING")) && number > target)) return 0;
    errno = atoi(getenv("FAIL_ERRNO"));
    if (!errno) kill(getpid(), SIGKILL);
    return 1;
}

static void may_kill(int is_below) {
    if (is_below && getenv("FAIL_ERRNO") && !atoi(getenv("FAIL_ERRNO"))) fails();
}

__attribute__((destructor)) static void count(void) {
    FILE *file = getenv("FAIL_COUNT") ? fopen(getenv("FAIL_COUNT"), "w") : NULL;
    if (file) {
        fprintf(file, "%ld", calls);
        fclose(file);
    }
}

#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t n) {
    REAL(write);
    return is_below(fd) && fails() ? -1 : real(fd, data, n);
}
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) {
    REAL(pwrite);
    return is_below(fd) && fails() ? -1 : real(fd, data, n, at);
}
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) {
    REAL(pwrite64);
    return is_below(fd) && fails() ? -1 : real(fd, data, n, at);
}
int ftruncate(int fd, off_t n) {
    REAL(ftruncate);
    return is_below(fd) && fails() ? -1 : real(fd, n);
}
int ftruncate64(int fd, off64_t n) {
    REAL(ftruncate64);
    return is_below(fd) && fails() ? -1 : real(fd, n);
}
int fsync(int fd) {
    REAL(fsync);
    return is_below(fd) && fails() ? -1 : real(fd);
}
int rename(const char *from, const char *to) {
    REAL(rename);
    return below(to) && fails() ? -1 : real(from, to);
}
int unlink(const char *path) {
    REAL(unlink);
    may_kill(below(path));
    return real(path);
}
int rmdir(const char *path) {
    REAL(rmdir);
    may_kill(below(path));
    return real(path);
}
int unlinkat(int folder, const char *path, int flags) {
    REAL(unlinkat);
    may_kill(is_below(folder));
    return real(folder, path, flags);
}
int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    return below(path) && fails() ? -1 : real(path, mode);
}
static int opened_for_writing(const char *path, int flags) {
    return (flags & (O_WRONLY | O_RDWR | O_CREAT)) && below(path) && fails();
}
int open(const char *path, int flags, ...) {
    REAL(open);
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    return opened_for_writing(path, flags) ? -1 : real(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    REAL(open64);
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    return opened_for_writing(path, flags) ? -1 : real(path, flags, mode);
}
