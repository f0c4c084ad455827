#pragma once

#include "base/result.hpp"

#include <filesystem>
#include <vector>

#include <rocksdb/env.h>

/// How a repaired database takes the place of the damaged one, so that a crash at any moment leaves one of the two
/// whole. For whoever holds the directory's lock. The names are listed in docs/format-spool.md.
namespace danki::queue {

/// Where a repair makes its database, below the spool's directory; of no value once it has ended.
std::filesystem::path repair_work_path(const std::filesystem::path& directory);

/// Puts the database at `made`, whose files are on stable storage, in the place of db/ in `directory`. What was there
/// gets the name that is returned.
Result<std::filesystem::path> replace_database(rocksdb::Env& env, const std::filesystem::path& directory,
                                               const std::filesystem::path& made);

/// Finishes a replacement that was interrupted. Before db/ is looked at.
Result<void> finish_interrupted_repair(rocksdb::Env& env, const std::filesystem::path& directory);

/// Removes what a repair left that did not come so far. Before another one: it must never write to what is there,
/// tables that are second names of the database's.
Result<void> remove_repair_leftovers(rocksdb::Env& env, const std::filesystem::path& directory);

/// Everything below `path`, and itself; symbolic links are not followed. Nothing to do where there is nothing.
Result<void> remove_tree(rocksdb::Env& env, const std::filesystem::path& path);

/// Symbolic links are followed.
Result<bool> is_there(const std::filesystem::path& path);

/// What is in a directory, in no order.
Result<std::vector<std::filesystem::path>> children_of(rocksdb::Env& env, const std::filesystem::path& directory);

}  // namespace danki::queue
