/* syncshim.so, for LD_PRELOAD: counts calls that wait for the disk, and can slow each one down.
 *
 *   SYNCSHIM_COUNTS=PATH    a file of four 64-bit counters (fsync, fdatasync, sync_file_range, others), shared by all
 *                           processes that map it; made here if need be
 *   SYNCSHIM_DELAY_US=N     after each fsync and fdatasync wait this long, as a disk without a write cache would
 *
 * A counter in shared memory costs nothing, where strace doubles the time of what it traces.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { kFsync, kFdatasync, kSyncFileRange, kOther, kCounters };

static _Atomic uint64_t own_counters[kCounters];
static _Atomic uint64_t* counters = own_counters;
static long delay_us;

static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_sync_file_range)(int, off64_t, off64_t, unsigned);
static int (*real_syncfs)(int);
static int (*real_msync)(void*, size_t, int);

__attribute__((constructor)) static void start(void) {
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_sync_file_range = dlsym(RTLD_NEXT, "sync_file_range");
  real_syncfs = dlsym(RTLD_NEXT, "syncfs");
  real_msync = dlsym(RTLD_NEXT, "msync");
  const char* delay = getenv("SYNCSHIM_DELAY_US");
  if (delay != NULL) delay_us = atol(delay);
  const char* path = getenv("SYNCSHIM_COUNTS");
  if (path == NULL) return;
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) return;
  struct stat status;
  /* Never shrinks it: a second process must not clear what the first one counted. */
  if (fstat(fd, &status) == 0 &&
      (status.st_size >= (off_t)sizeof own_counters || ftruncate(fd, sizeof own_counters) == 0)) {
    void* shared = mmap(NULL, sizeof own_counters, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared != MAP_FAILED) counters = shared;
  }
  close(fd);
}

static void count(int which) {
  atomic_fetch_add_explicit(&counters[which], 1, memory_order_relaxed);
}

static void slow_down(void) {
  if (delay_us <= 0) return;
  struct timespec left = {delay_us / 1000000, delay_us % 1000000 * 1000};
  while (nanosleep(&left, &left) != 0) {
  }
}

int fsync(int fd) {
  count(kFsync);
  int result = real_fsync(fd);
  slow_down();
  return result;
}

int fdatasync(int fd) {
  count(kFdatasync);
  int result = real_fdatasync(fd);
  slow_down();
  return result;
}

int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags) {
  count(kSyncFileRange);
  return real_sync_file_range(fd, offset, length, flags);
}

int syncfs(int fd) {
  count(kOther);
  int result = real_syncfs(fd);
  slow_down();
  return result;
}

int msync(void* start_of_range, size_t length, int flags) {
  if (flags & MS_SYNC) count(kOther);
  return real_msync(start_of_range, length, flags);
}
