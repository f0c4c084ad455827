#include "tests/support/message_store.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <system_error>

#include <boost/json.hpp>
#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/core.h>
#include <unistd.h>

namespace danki::support {
namespace {

namespace json = boost::json;

void write_all(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    auto written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw std::system_error(errno, std::generic_category(), path);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

void write_atomically(const std::string& path, std::string_view bytes) {
  std::string unfinished = path + ".part";
  Descriptor file(open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file) throw std::system_error(errno, std::generic_category(), unfinished);
  write_all(file.get(), bytes, unfinished);
  std::filesystem::rename(unfinished, path);
}

json::value to_json(const EnvelopeAddress& address) {
  return {{"address", address.address}, {"params", json::value_from(address.parameters)}};
}

json::object describe(uint64_t number, const ReceivedMessage& message) {
  json::object object{
      {"n", number},
      {"time", rfc3339_now()},
      {"client_address", message.client.host()},
      {"client_port", message.client.port()},
      {"listen_address", message.listen.host()},
      {"listen_port", message.listen.port()},
      {"helo", message.helo},
      {"esmtp", message.esmtp},
      {"mail_from", message.mail.address},
      {"mail_params", json::value_from(message.mail.parameters)},
      {"connection", message.connection},
      {"message_on_connection", message.message_on_connection},
      {"chunked", message.chunked},
      {"answered", message.answered},
      {"size", message.content.size()},
      {"violations", json::value_from(message.violations)},
      {"tls", nullptr},
  };
  json::array rcpts;
  for (const EnvelopeAddress& rcpt : message.rcpts) rcpts.push_back(to_json(rcpt));
  object["rcpts"] = std::move(rcpts);
  if (!message.tls_version.empty()) {
    object["tls"] = {
        {"version", message.tls_version}, {"cipher", message.tls_cipher}, {"server_name", message.tls_server_name}};
  }
  return object;
}

uint64_t highest_number(const std::string& folder) {
  uint64_t highest = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::string stem = entry.path().stem().string();
    uint64_t number = 0;
    std::from_chars(stem.data(), stem.data() + stem.size(), number);
    highest = std::max(highest, number);
  }
  return highest;
}

}  // namespace

MessageStore::MessageStore(std::string folder, const std::string& log_path) : folder_(std::move(folder)) {
  if (!folder_.empty()) {
    std::filesystem::create_directories(folder_);
    number_ = highest_number(folder_);
  }
  if (log_path.empty()) return;
  log_ = Descriptor(open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!log_) throw std::system_error(errno, std::generic_category(), log_path);
}

uint64_t MessageStore::keep(const ReceivedMessage& message) {
  uint64_t number = 0;
  {
    std::lock_guard lock(mutex_);
    number = ++number_;
  }
  if (folder_.empty()) return number;
  std::string path = fmt::format("{}/{}", folder_, number);
  write_atomically(path + ".eml", message.content);
  write_atomically(path + ".json", json::serialize(describe(number, message)) + "\n");
  return number;
}

void MessageStore::log_line(std::string_view json) {
  if (!log_) return;
  std::string line(json);
  line += '\n';
  write_all(log_.get(), line, "log");  // one write of a file opened for appending: lines of threads do not mix
}

std::string rfc3339_now() {
  using namespace std::chrono;
  auto now = system_clock::now();
  auto milliseconds = duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(system_clock::to_time_t(now)), milliseconds);
}

}  // namespace danki::support
