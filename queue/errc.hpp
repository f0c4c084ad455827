#pragma once

#include <system_error>

namespace danki::queue {

enum class Errc {
  WriteFailed = 1,  ///< the log could not be written or synced: 451 4.3.0
  DiskReserve,      ///< the disk is full, or below its reserve: 452 4.3.1
  MemoryLimit,      ///< too many contents wait to be written: 452 4.3.1
  Closed,           ///< the spool was closed
  Unavailable,      ///< the database is being reopened after a failed write; try again
  Damaged,          ///< a record or file does not read as what was written
  UnknownFormat,    ///< written by a version of the program that this one does not know
  InvalidMessage,   ///< no recipient, or a name that cannot be a key
};

const std::error_category& queue_category();
inline std::error_code make_error_code(Errc e) {
  return {static_cast<int>(e), queue_category()};
}

}  // namespace danki::queue

template <>
struct std::is_error_code_enum<danki::queue::Errc> : std::true_type {};
