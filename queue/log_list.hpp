#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <rocksdb/env.h>

/// Which logs there should be is nowhere in the database for those that no flush has followed yet: above all the
/// newest. Removed by somebody, with all the mail that is in no table, they would not be missed. So a file beside them
/// lists them.
namespace danki::queue {

inline constexpr const char* kLogList = "log-list";  ///< its name in the database's directory

struct ListedLog {
  std::uint64_t number = 0;
  std::uint64_t first_batch = 0;
};

/// "000123.log"
std::string log_name(std::uint64_t number);

/// Oldest first. Empty where there is no list, or one that does not read.
std::vector<ListedLog> read_log_list(rocksdb::Env& env, const std::filesystem::path& database);

/// Lists a new log, and no longer those that are gone. When its first batch is on stable storage, so that the list says
/// too much after no power cut.
rocksdb::Status list_log(rocksdb::Env& env, const std::filesystem::path& database, ListedLog log);

}  // namespace danki::queue
