/* faultshim.so, for LD_PRELOAD: a disk that fails on demand.
 *
 *   FAULTSHIM_FOLDER=PATH    files below this folder are meant (by the path they were opened with)
 *   FAULTSHIM_CONTROL=PATH   while this file exists, writing to them fails. Words in it say how:
 *       EIO      the error (also of an empty file)
 *       ENOSPC   the error
 *       half     a write stores half of its bytes first, as on a disk that fills up
 *       statvfs  the disk reports that it has no free space; alone, that is all that happens
 *
 * Reading, closing and unlinking go on: so does a disk that is full or remounted read-only.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { kMaxDescriptor = 65536 };

struct fault {
  int error;   /* 0: writes succeed */
  int is_full; /* statvfs says so */
  int is_half;
};

static _Atomic char is_meant[kMaxDescriptor];
static const char* folder;
static const char* control;

#define REAL(name) ((__typeof__(&name))real(&real_##name, #name))
static void* real_open;
static void* real_openat;
static void* real_creat;
static void* real_close;
static void* real_write;
static void* real_pwrite;
static void* real_writev;
static void* real_pwritev;
static void* real_fsync;
static void* real_fdatasync;
static void* real_sync_file_range;
static void* real_fallocate;
static void* real_posix_fallocate;
static void* real_ftruncate;
static void* real_rename;
static void* real_statvfs;

static void* real(void** slot, const char* name) {
  if (*slot == NULL) *slot = dlsym(RTLD_NEXT, name);
  return *slot;
}

__attribute__((constructor)) static void start(void) {
  folder = getenv("FAULTSHIM_FOLDER");
  control = getenv("FAULTSHIM_CONTROL");
}

static struct fault fault_now(void) {
  struct fault fault = {0, 0, 0};
  if (control == NULL) return fault;
  int saved = errno;
  int fd = REAL(open)(control, O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    char text[64] = "";
    ssize_t got = read(fd, text, sizeof text - 1);
    if (got < 0) text[0] = '\0';
    REAL(close)(fd);
    fault.is_full = strstr(text, "statvfs") != NULL;
    fault.is_half = strstr(text, "half") != NULL;
    if (strstr(text, "ENOSPC") != NULL) {
      fault.error = ENOSPC;
    } else if (strstr(text, "EIO") != NULL || !fault.is_full) {
      fault.error = EIO;
    }
  }
  errno = saved;
  return fault;
}

static int is_below(const char* path) {
  return folder != NULL && path != NULL && strncmp(path, folder, strlen(folder)) == 0;
}

static int is_meant_fd(int fd) {
  return fd >= 0 && fd < kMaxDescriptor && is_meant[fd];
}

/* True, with errno set, if a call on this file shall fail now. */
static int fails(int fd) {
  if (!is_meant_fd(fd)) return 0;
  struct fault fault = fault_now();
  if (fault.error == 0) return 0;
  errno = fault.error;
  return 1;
}

static int note(int fd, const char* path) {
  if (fd >= 0 && fd < kMaxDescriptor) is_meant[fd] = (char)is_below(path);
  return fd;
}

/* A file that does not exist yet needs space too. */
static int fails_to_make(const char* path, int flags) {
  if (!(flags & O_CREAT) || !is_below(path)) return 0;
  struct stat status;
  if (stat(path, &status) == 0) return 0;
  struct fault fault = fault_now();
  if (fault.error == 0) return 0;
  errno = fault.error;
  return 1;
}

static mode_t mode_of(int flags, va_list rest) {
  return (flags & (O_CREAT | O_TMPFILE)) ? (mode_t)va_arg(rest, int) : 0;
}

int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = mode_of(flags, rest);
  va_end(rest);
  if (fails_to_make(path, flags)) return -1;
  return note(REAL(open)(path, flags, mode), path);
}

int open64(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = mode_of(flags, rest);
  va_end(rest);
  if (fails_to_make(path, flags)) return -1;
  return note(REAL(open)(path, flags | O_LARGEFILE, mode), path);
}

int openat(int at, const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = mode_of(flags, rest);
  va_end(rest);
  if (fails_to_make(path, flags)) return -1;
  return note(REAL(openat)(at, path, flags, mode), path);
}

int creat(const char* path, mode_t mode) {
  if (fails_to_make(path, O_CREAT)) return -1;
  return note(REAL(creat)(path, mode), path);
}

int close(int fd) {
  if (fd >= 0 && fd < kMaxDescriptor) is_meant[fd] = 0;
  return REAL(close)(fd);
}

ssize_t write(int fd, const void* bytes, size_t count) {
  if (!fails(fd)) return REAL(write)(fd, bytes, count);
  if (fault_now().is_half && count > 1) return REAL(write)(fd, bytes, count / 2);
  return -1;
}

ssize_t pwrite(int fd, const void* bytes, size_t count, off_t offset) {
  if (!fails(fd)) return REAL(pwrite)(fd, bytes, count, offset);
  if (fault_now().is_half && count > 1) return REAL(pwrite)(fd, bytes, count / 2, offset);
  return -1;
}

ssize_t pwrite64(int fd, const void* bytes, size_t count, off_t offset) {
  return pwrite(fd, bytes, count, offset);
}

ssize_t writev(int fd, const struct iovec* parts, int count) {
  return fails(fd) ? -1 : REAL(writev)(fd, parts, count);
}

ssize_t pwritev(int fd, const struct iovec* parts, int count, off_t offset) {
  return fails(fd) ? -1 : REAL(pwritev)(fd, parts, count, offset);
}

int fsync(int fd) {
  return fails(fd) ? -1 : REAL(fsync)(fd);
}

int fdatasync(int fd) {
  return fails(fd) ? -1 : REAL(fdatasync)(fd);
}

int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags) {
  return fails(fd) ? -1 : REAL(sync_file_range)(fd, offset, length, flags);
}

int fallocate(int fd, int mode, off_t offset, off_t length) {
  return fails(fd) ? -1 : REAL(fallocate)(fd, mode, offset, length);
}

int fallocate64(int fd, int mode, off_t offset, off_t length) {
  return fallocate(fd, mode, offset, length);
}

int posix_fallocate(int fd, off_t offset, off_t length) {
  return fails(fd) ? errno : REAL(posix_fallocate)(fd, offset, length);
}

int posix_fallocate64(int fd, off_t offset, off_t length) {
  return posix_fallocate(fd, offset, length);
}

int ftruncate(int fd, off_t length) {
  return fails(fd) ? -1 : REAL(ftruncate)(fd, length);
}

int ftruncate64(int fd, off_t length) {
  return ftruncate(fd, length);
}

int rename(const char* from, const char* to) {
  struct fault fault = is_below(to) ? fault_now() : (struct fault){0, 0, 0};
  if (fault.error == 0) return REAL(rename)(from, to);
  errno = fault.error;
  return -1;
}

int statvfs(const char* path, struct statvfs* status) {
  int result = REAL(statvfs)(path, status);
  if (result == 0 && is_below(path) && fault_now().is_full) status->f_bavail = status->f_bfree = 0;
  return result;
}

int statvfs64(const char* path, struct statvfs64* status) {
  return statvfs(path, (struct statvfs*)status);
}
