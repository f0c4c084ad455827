#include "admin/listener.hpp"

#include <cerrno>
#include <charconv>
#include <filesystem>

#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace danki::admin {
namespace asio = boost::asio;

namespace {

using Local = asio::local::stream_protocol;
using asio::ip::tcp;

constexpr auto kFolderMode = std::filesystem::perms(0750);  // who may pass is the group's business, as at the socket

Error failed(const boost::system::error_code& code, const std::string& where) {
  return Error{std::error_code(code), where};
}

/// Makes way at `path`: fine if nothing is there, or a socket that refuses connections.
Result<void> remove_stale_socket(asio::io_context& context, const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return {};
  if (!S_ISSOCK(status.st_mode)) return std::unexpected(Error{std::errc::file_exists, path + " is no socket"});
  Local::socket probe(context);
  boost::system::error_code failure;
  probe.connect(Local::endpoint(path), failure);
  if (!failure) return std::unexpected(Error{std::errc::address_in_use, path + ": another daemon listens there"});
  if (failure != boost::system::errc::connection_refused) return std::unexpected(failed(failure, path));
  if (::unlink(path.c_str()) != 0) return std::unexpected(Error{std::error_code(errno, std::generic_category()), path});
  return {};
}

/// /run is empty after each boot: a folder of ours there is made anew. One that exists keeps its mode.
Result<void> make_folder_of(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code failure;
  if (folder.empty() || std::filesystem::exists(folder, failure)) return {};
  std::filesystem::create_directories(folder, failure);
  if (!failure) std::filesystem::permissions(folder, kFolderMode, failure);
  if (failure) return std::unexpected(Error{failure, "cannot make " + folder.string() + " for the admin socket"});
  return {};
}

Result<tcp::endpoint> parse_endpoint(const std::string& address) {
  const auto bad = [&] {
    return std::unexpected(Error{std::errc::invalid_argument, address + ": ADDRESS:PORT is needed, IPv6 in brackets"});
  };
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos) return bad();
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  std::uint16_t port = 0;
  const char* const end = address.data() + address.size();
  const auto [parsed, error] = std::from_chars(address.data() + colon + 1, end, port);
  if (error != std::errc{} || parsed != end) return bad();
  boost::system::error_code failure;
  const auto ip = asio::ip::make_address(host, failure);
  if (failure) return bad();
  return tcp::endpoint(ip, port);
}

}  // namespace

Result<Local::acceptor> listen_unix(asio::io_context& context, const std::string& path, unsigned mode) {
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    return std::unexpected(Error{std::errc::filename_too_long, path + ": a socket's path has at most 107 characters"});
  }
  if (auto made = make_folder_of(path); !made) return std::unexpected(made.error());
  if (auto free = remove_stale_socket(context, path); !free) return std::unexpected(free.error());
  Local::acceptor acceptor(context);
  boost::system::error_code failure;
  acceptor.open(Local(), failure);
  if (!failure) acceptor.bind(Local::endpoint(path), failure);
  if (failure) return std::unexpected(failed(failure, path));
  // Before listen(), so that nobody gets in while the mode is still the umask's.
  if (::chmod(path.c_str(), mode) != 0) {
    return std::unexpected(Error{std::error_code(errno, std::generic_category()), path});
  }
  acceptor.listen(asio::socket_base::max_listen_connections, failure);
  if (failure) return std::unexpected(failed(failure, path));
  return acceptor;
}

Result<tcp::acceptor> listen_tcp(asio::io_context& context, const std::string& address) {
  const auto endpoint = parse_endpoint(address);
  if (!endpoint) return std::unexpected(endpoint.error());
  tcp::acceptor acceptor(context);
  boost::system::error_code failure;
  acceptor.open(endpoint->protocol(), failure);
  if (!failure) acceptor.set_option(asio::socket_base::reuse_address(true), failure);
  if (!failure) acceptor.bind(*endpoint, failure);
  if (!failure) acceptor.listen(asio::socket_base::max_listen_connections, failure);
  if (failure) return std::unexpected(failed(failure, address));
  return acceptor;
}

}  // namespace danki::admin
