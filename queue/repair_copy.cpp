#include "queue/repair_copy.hpp"

#include "queue/database_swap.hpp"
#include "queue/log_list.hpp"
#include "queue/store.hpp"

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

namespace danki::queue {
namespace {

constexpr std::size_t kPieceBytes = 64 << 10;
constexpr mode_t kPermissions = 07777;
constexpr mode_t kFilePermissions = 0644;  // what RocksDB asks for, less the umask, which the directory shows

rocksdb::Status copy_octets(rocksdb::Env& env, const std::string& from, const std::string& to) {
  std::unique_ptr<rocksdb::SequentialFile> in;
  std::unique_ptr<rocksdb::WritableFile> out;
  auto status = env.NewSequentialFile(from, &in, {});
  if (status.ok()) status = env.NewWritableFile(to, &out, {});
  std::vector<char> buffer(kPieceBytes);
  for (rocksdb::Slice piece; status.ok();) {
    status = in->Read(buffer.size(), &piece, buffer.data());
    if (!status.ok() || piece.empty()) break;
    status = out->Append(piece);
  }
  if (status.ok()) status = out->Sync();
  if (status.ok()) status = out->Close();
  return status;
}

bool never_changes(const std::filesystem::path& file) {
  return file.extension() == ".sst" || file.extension() == ".blob";
}

rocksdb::Status copy_file(rocksdb::Env& env, const std::filesystem::path& from, const std::filesystem::path& to) {
  if (never_changes(from) && env.LinkFile(from.string(), to.string()).ok()) return rocksdb::Status::OK();
  return copy_octets(env, from.string(), to.string());
}

std::unexpected<Error> failed(const std::filesystem::path& path) {
  return std::unexpected(Error{std::error_code(errno, std::generic_category()), path.string()});
}

Result<void> adopt(const struct stat& database, const std::filesystem::path& path, struct stat& info) {
  if (::lstat(path.c_str(), &info) != 0) return failed(path);
  if (::geteuid() == 0 && ::lchown(path.c_str(), database.st_uid, database.st_gid) != 0) return failed(path);
  const bool is_old = S_ISREG(info.st_mode) && info.st_nlink > 1;
  if (is_old || S_ISLNK(info.st_mode)) return {};
  const mode_t mode = database.st_mode & (S_ISDIR(info.st_mode) ? kPermissions : kFilePermissions);
  if (::chmod(path.c_str(), mode) != 0) return failed(path);
  return {};
}

Result<void> adopt_tree(rocksdb::Env& env, const struct stat& database, const std::filesystem::path& tree) {
  struct stat info {};
  if (auto done = adopt(database, tree, info); !done) return done;
  if (!S_ISDIR(info.st_mode)) return {};
  const auto children = children_of(env, tree);
  if (!children) return std::unexpected(children.error());
  for (const auto& child : *children) {
    if (auto done = adopt_tree(env, database, child); !done) return done;
  }
  return {};
}

Result<void> make_directories(const std::filesystem::path& made, const struct stat& database) {
  const auto there = is_there(made);
  if (!there) return std::unexpected(there.error());
  if (*there) return {};
  if (auto above = make_directories(made.parent_path(), database); !above) return above;
  if (::mkdir(made.c_str(), 0777) != 0) return failed(made);
  if (::geteuid() == 0 && ::chown(made.c_str(), database.st_uid, database.st_gid) != 0) return failed(made);
  return {};
}

bool is_wanted(const std::filesystem::path& file, What what) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(file, ignored)) return false;
  if (what == What::TablesAndBlobs) return never_changes(file);
  // The list of logs is about what was there, not about what can be read of it.
  return file.filename() != "LOCK" && file.filename() != kLogList;
}

}  // namespace

Result<void> copy_database(rocksdb::Env& env, const std::filesystem::path& from, const std::filesystem::path& to,
                           What what) {
  if (auto made = make_directories(to, from); !made) return made;
  const auto files = children_of(env, from);
  if (!files) return std::unexpected(files.error());
  for (const auto& file : *files) {
    if (!is_wanted(file, what)) continue;
    const auto status = copy_file(env, file, to / file.filename());
    if (!status.ok()) return std::unexpected(to_error(status, file.string()));
  }
  return {};
}

Result<void> make_directories(const std::filesystem::path& made, const std::filesystem::path& database) {
  struct stat wanted {};
  if (::stat(database.c_str(), &wanted) != 0) return failed(database);
  return make_directories(made, wanted);
}

Result<void> adopt_owner_and_mode(rocksdb::Env& env, const std::filesystem::path& database,
                                  const std::filesystem::path& tree) {
  struct stat wanted {};
  if (::stat(database.c_str(), &wanted) != 0) return failed(database);
  return adopt_tree(env, wanted, tree);
}

}  // namespace danki::queue
