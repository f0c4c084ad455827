#include "queue/log_list.hpp"

#include <charconv>
#include <string_view>

#include <fmt/format.h>

namespace danki::queue {
namespace {

/// Takes a number and the octet behind it.
bool take(std::string_view& text, std::uint64_t& number, char end) {
  const auto [at, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc{} || at == text.data() + text.size() || *at != end) return false;
  text.remove_prefix(static_cast<std::size_t>(at - text.data()) + 1);
  return true;
}

}  // namespace

std::string log_name(std::uint64_t number) {
  return fmt::format("{:06}.log", number);
}

std::vector<ListedLog> read_log_list(rocksdb::Env& env, const std::filesystem::path& database) {
  std::string content;
  if (!rocksdb::ReadFileToString(&env, (database / kLogList).string(), &content).ok()) return {};
  std::vector<ListedLog> logs;
  for (std::string_view text = content; !text.empty();) {
    ListedLog log;
    if (!take(text, log.number, ' ') || !take(text, log.first_batch, '\n')) return {};
    logs.push_back(log);
  }
  return logs;
}

rocksdb::Status list_log(rocksdb::Env& env, const std::filesystem::path& database, ListedLog log) {
  std::string text;
  for (const ListedLog& listed : read_log_list(env, database)) {
    if (listed.number < log.number && env.FileExists((database / log_name(listed.number)).string()).ok())
      text += fmt::format("{} {}\n", listed.number, listed.first_batch);
  }
  text += fmt::format("{} {}\n", log.number, log.first_batch);
  const std::string path = (database / kLogList).string(), made = path + ".new";
  auto status = rocksdb::WriteStringToFile(&env, text, made, true);
  // Should the new name be lost with the power, the list is an older one, which is as true.
  if (status.ok()) status = env.RenameFile(made, path);
  return status;
}

}  // namespace danki::queue
