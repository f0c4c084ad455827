#pragma once

#include "admin/server.hpp"
#include "queue/spool.hpp"
#include "tests/admin/fake_ports.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <optional>
#include <stdexcept>

namespace danki::admin {

/// A real spool, a real server on a unix socket and on TCP, and ports that answer for the daemon. In a folder of its
/// own.
class AdminWorld {
 public:
  static constexpr const char* kToken = "0123456789abcdef-test";

  explicit AdminWorld(HttpLimits limits = {}) {
    std::string pattern = (std::filesystem::temp_directory_path() / "danki-admin-XXXXXX").string();
    directory = ::mkdtemp(pattern.data());
    write_file("token", "# the only one\n" + std::string(kToken) + "\n");
    queue::SpoolOptions spool_options{.directory = directory / "spool"};
    spool_options.disk_reserve_bytes = 0;
    spool_options.reserve_file_bytes = 1 << 20;
    auto opened = queue::Spool::open(spool_options, clock);
    if (!opened) throw std::runtime_error(opened.error().message());
    spool = std::move(*opened);
    spool->on_accepted([](std::vector<queue::Accepted>) {});
    options.socket = directory / "admin.sock";
    options.listen = "127.0.0.1:0";
    options.token_file = directory / "token";
    server.emplace(ports, *spool, clock, options, limits);
    if (auto started = server->start(); !started) throw std::runtime_error(started.error().message());
  }
  ~AdminWorld() {
    server.reset();
    spool->close();
    spool.reset();
    std::filesystem::remove_all(directory);
  }
  AdminWorld(const AdminWorld&) = delete;
  AdminWorld& operator=(const AdminWorld&) = delete;

  void write_file(const std::string& name, const std::string& text) const {
    std::ofstream(directory / name) << text;
    using std::filesystem::perms;
    std::filesystem::permissions(directory / name, perms::owner_read | perms::owner_write);
  }

  /// Puts a message into the spool.
  queue::MessageId accept(mail::Envelope envelope, std::string content = "Subject: x\r\n\r\nbody\r\n") {
    envelope.size = content.size();
    if (envelope.arrived_at == TimePoint{}) envelope.arrived_at = clock.now();
    envelope.expires_at = clock.now() + std::chrono::hours(24);
    auto stored = std::make_shared<std::promise<Result<queue::MessageId>>>();
    auto outcome = stored->get_future();
    spool->accept({std::move(envelope), std::move(content)},
                  [stored](Result<queue::MessageId> id) { stored->set_value(std::move(id)); });
    auto id = outcome.get();
    if (!id) throw std::runtime_error(id.error().message());
    return *id;
  }

  /// One recipient for each of `recipients`.
  static mail::Envelope envelope(std::vector<std::string> recipients, std::string tenant = "signup",
                                 mail::MailClass klass = mail::MailClass::Transactional) {
    mail::Envelope result;
    result.reverse_path = {"bounce", "example.com"};
    for (const std::string& recipient : recipients) {
      const std::size_t at = recipient.find('@');
      mail::Recipient added;
      added.address = {recipient.substr(0, at), recipient.substr(at + 1)};
      result.recipients.push_back(added);
    }
    result.tenant = std::move(tenant);
    result.klass = klass;
    result.pool = "main";
    return result;
  }

  std::filesystem::path directory;
  SystemClock clock;
  FakePorts ports;
  std::unique_ptr<queue::Spool> spool;
  AdminOptions options;
  std::optional<Server> server;
};

}  // namespace danki::admin
