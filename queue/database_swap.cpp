#include "queue/database_swap.hpp"

#include "base/log.hpp"
#include "queue/store.hpp"

#include <memory>
#include <string>
#include <system_error>

#include <fmt/format.h>

namespace danki::queue {
namespace {

constexpr const char* kDatabase = "db";
constexpr const char* kRepaired = "db.repaired";  // complete; db/ makes room for it next

/// Puts the names in a directory on stable storage.
Result<void> sync_directory(rocksdb::Env& env, const std::filesystem::path& path) {
  std::unique_ptr<rocksdb::Directory> directory;
  auto status = env.NewDirectory(path.string(), &directory);
  if (status.ok()) status = directory->Fsync();
  if (!status.ok()) return std::unexpected(to_error(status, path.string()));
  return {};
}

Result<void> rename(rocksdb::Env& env, const std::filesystem::path& from, const std::filesystem::path& to) {
  const auto status = env.RenameFile(from.string(), to.string());
  if (!status.ok()) return std::unexpected(to_error(status, to.string()));
  return sync_directory(env, to.parent_path());
}

/// Taken is also what a symbolic link to nothing has.
Result<std::filesystem::path> free_name(const std::filesystem::path& directory) {
  for (int number = 1;; ++number) {
    auto path = directory / fmt::format("db.before-repair-{}", number);
    std::error_code problem;
    const auto type = std::filesystem::symlink_status(path, problem).type();
    if (type == std::filesystem::file_type::not_found) return path;
    if (problem) return std::unexpected(Error{problem, path.string()});
  }
}

}  // namespace

std::filesystem::path repair_work_path(const std::filesystem::path& directory) {
  return directory / "repair";
}

Result<std::filesystem::path> replace_database(rocksdb::Env& env, const std::filesystem::path& directory,
                                               const std::filesystem::path& made) {
  const auto before = free_name(directory);
  if (!before) return before;
  if (auto synced = sync_directory(env, made); !synced) return std::unexpected(synced.error());
  // Only a complete database ever has this name; with it there and db/ gone, the next start knows what to do.
  for (const auto& [from, to] : {std::pair{made, directory / kRepaired}, std::pair{directory / kDatabase, *before},
                                 std::pair{directory / kRepaired, directory / kDatabase}}) {
    if (auto renamed = rename(env, from, to); !renamed) return std::unexpected(renamed.error());
  }
  return before;
}

Result<void> finish_interrupted_repair(rocksdb::Env& env, const std::filesystem::path& directory) {
  const auto repaired = directory / kRepaired, database = directory / kDatabase;
  const auto has_database = is_there(database);
  if (!has_database) return std::unexpected(has_database.error());
  if (*has_database) return {};
  const auto has_repaired = is_there(repaired);
  if (!has_repaired) return std::unexpected(has_repaired.error());
  if (!*has_repaired) return {};
  log::warn("a repair of the spool was interrupted at its end: taking what it made", {{"path", repaired.string()}});
  return rename(env, repaired, database);
}

Result<void> remove_repair_leftovers(rocksdb::Env& env, const std::filesystem::path& directory) {
  const auto repaired = remove_tree(env, directory / kRepaired), work = remove_tree(env, repair_work_path(directory));
  return repaired ? work : repaired;
}

Result<void> remove_tree(rocksdb::Env& env, const std::filesystem::path& path) {
  std::error_code problem;
  const auto type = std::filesystem::symlink_status(path, problem).type();
  if (type == std::filesystem::file_type::not_found) return {};
  if (problem) return std::unexpected(Error{problem, path.string()});
  const bool is_directory = type == std::filesystem::file_type::directory;
  if (is_directory) {
    const auto children = children_of(env, path);
    if (!children) return std::unexpected(children.error());
    for (const auto& child : *children) {
      if (auto removed = remove_tree(env, child); !removed) return removed;
    }
  }
  const auto status = is_directory ? env.DeleteDir(path.string()) : env.DeleteFile(path.string());
  if (!status.ok()) return std::unexpected(to_error(status, path.string()));
  return {};
}

Result<bool> is_there(const std::filesystem::path& path) {
  std::error_code problem;
  const bool is = std::filesystem::exists(path, problem);
  if (problem) return std::unexpected(Error{problem, path.string()});
  return is;
}

Result<std::vector<std::filesystem::path>> children_of(rocksdb::Env& env, const std::filesystem::path& directory) {
  std::vector<std::string> names;
  if (const auto status = env.GetChildren(directory.string(), &names); !status.ok())
    return std::unexpected(to_error(status, directory.string()));
  std::vector<std::filesystem::path> children;
  for (const std::string& name : names) {
    if (name != "." && name != "..") children.push_back(directory / name);
  }
  return children;
}

}  // namespace danki::queue
