#pragma once

#include "base/result.hpp"

#include <filesystem>

#include <rocksdb/env.h>

/// A repair never touches the database it is about: it works on a copy.
namespace danki::queue {

enum class What {
  Everything,
  TablesAndBlobs,  ///< what needs no reading to be copied
};

/// Makes the directory `to` with the files of the database in `from`, to be opened and changed there. Tables and blob
/// files never change, so a second name is as good as a copy; the others are copied and synced.
Result<void> copy_database(rocksdb::Env& env, const std::filesystem::path& from, const std::filesystem::path& to,
                           What what);

/// Makes a directory, and those above it that are missing. They belong to whom `database` belongs: so what a repair by
/// root leaves in them when it is ended early, the daemon can remove.
Result<void> make_directories(const std::filesystem::path& made, const std::filesystem::path& database);

/// Makes owner and permissions of everything in `tree` those that `database`, a directory, and the files in it have: a
/// repair by root must not shut out the daemon, nor one with a milder umask let others read the mail.
Result<void> adopt_owner_and_mode(rocksdb::Env& env, const std::filesystem::path& database,
                                  const std::filesystem::path& tree);

}  // namespace danki::queue
