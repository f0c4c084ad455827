#pragma once

/// The packaged librocksdb is not instrumented. The thread sanitizer does not see the atomics by which it publishes
/// what it wrote, so every read of a record would be a race; and when a log file cannot be made, it leaks a memtable.
extern "C" {

[[gnu::used]] inline const char* __tsan_default_suppressions() {
  return "called_from_lib:librocksdb\nrace:librocksdb\nmutex:librocksdb\ndeadlock:librocksdb\n";
}

[[gnu::used]] inline const char* __lsan_default_suppressions() {
  return "leak:rocksdb::DBImpl::SwitchMemtable\nleak:rocksdb::DBImpl::PreprocessWrite\n";
}

}  // extern "C"
