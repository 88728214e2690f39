/* Lets a chosen reading below a folder fail, whoever reads: Python, or a library in C++.

   Loaded by LD_PRELOAD. `watch` says below which folder calls are counted, `fail` which of them
   fails and with what, alone or with all that follow; `counted` is how many there were. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[4096];
static atomic_int number, first, last, error;
static atomic_char watched[65536]; /* by file descriptor */

void watch(const char *path) { strncpy(folder, path, sizeof folder - 1); }
void fail(int from, int to, int with) { error = with, first = from, last = to, number = 0; }
int counted(void) { return number; }

static int below(const char *path) {
  return folder[0] && path && !strncmp(path, folder, strlen(folder));
}
static int is_watched(int fd) { return fd >= 0 && fd < 65536 && watched[fd]; }
static int fails(void) {
  int here = ++number;
  if (here < first || here > last) return 0;
  errno = error;
  return 1;
}
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN(name)                                                   \
  int name(const char *path, int flags, ...) {                       \
    va_list rest;                                                    \
    va_start(rest, flags);                                           \
    int mode = va_arg(rest, int);                                    \
    va_end(rest);                                                    \
    int seen = below(path);                                          \
    if (seen && fails()) return -1;                                  \
    int fd = REAL(name)(path, flags, mode);                          \
    if (fd >= 0 && fd < 65536) watched[fd] = seen;                   \
    return fd;                                                       \
  }
OPEN(open)
OPEN(open64)
#define OPENAT(name)                                                 \
  int name(int at, const char *path, int flags, ...) {               \
    va_list rest;                                                    \
    va_start(rest, flags);                                           \
    int mode = va_arg(rest, int);                                    \
    va_end(rest);                                                    \
    int seen = below(path);                                          \
    if (seen && fails()) return -1;                                  \
    int fd = REAL(name)(at, path, flags, mode);                      \
    if (fd >= 0 && fd < 65536) watched[fd] = seen;                   \
    return fd;                                                       \
  }
OPENAT(openat)
OPENAT(openat64)
int close(int fd) {
  if (fd >= 0 && fd < 65536) watched[fd] = 0;
  return REAL(close)(fd);
}
ssize_t read(int fd, void *to, size_t size) {
  return is_watched(fd) && fails() ? -1 : REAL(read)(fd, to, size);
}
ssize_t pread(int fd, void *to, size_t size, off_t at) {
  return is_watched(fd) && fails() ? -1 : REAL(pread)(fd, to, size, at);
}
ssize_t pread64(int fd, void *to, size_t size, off64_t at) {
  return is_watched(fd) && fails() ? -1 : REAL(pread64)(fd, to, size, at);
}
#define STAT(name, type)                                             \
  int name(const char *path, type *to) {                             \
    return below(path) && fails() ? -1 : REAL(name)(path, to);       \
  }
STAT(stat, struct stat)
STAT(stat64, struct stat64)
STAT(lstat, struct stat)
STAT(lstat64, struct stat64)
#define FSTAT(name, type)                                            \
  int name(int fd, type *to) {                                       \
    return is_watched(fd) && fails() ? -1 : REAL(name)(fd, to);      \
  }
FSTAT(fstat, struct stat)
FSTAT(fstat64, struct stat64)
#define FSTATAT(name, type)                                                            \
  int name(int at, const char *path, type *to, int flags) {                            \
    return (below(path) || is_watched(at)) && fails() ? -1 : REAL(name)(at, path, to, flags); \
  }
FSTATAT(fstatat, struct stat)
FSTATAT(fstatat64, struct stat64)
/* As programs call them that were built for an older C library. */
#define XSTAT(name, type)                                                    \
  int name(int version, const char *path, type *to) {                        \
    int (*real)(int, const char *, type *) = dlsym(RTLD_NEXT, #name);        \
    return below(path) && fails() ? -1 : real(version, path, to);            \
  }
XSTAT(__xstat, struct stat)
XSTAT(__xstat64, struct stat64)
XSTAT(__lxstat, struct stat)
XSTAT(__lxstat64, struct stat64)
#define FXSTAT(name, type)                                                   \
  int name(int version, int fd, type *to) {                                  \
    int (*real)(int, int, type *) = dlsym(RTLD_NEXT, #name);                 \
    return is_watched(fd) && fails() ? -1 : real(version, fd, to);           \
  }
FXSTAT(__fxstat, struct stat)
FXSTAT(__fxstat64, struct stat64)
DIR *opendir(const char *path) {
  return below(path) && fails() ? NULL : REAL(opendir)(path);
}
