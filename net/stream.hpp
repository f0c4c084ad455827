#pragma once

#include "base/result.hpp"

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>

typedef struct ssl_ctx_st SSL_CTX;

namespace danki::net {

/// What STARTTLS or implicit TLS agreed on, as events print it.
struct TlsInfo {
  std::string version;  ///< "TLSv1.3"
  std::string cipher;
  bool peer_verified = false;
  bool resumed = false;  ///< an earlier session with this peer was taken up again
};

/// One TCP connection, plain or TLS, used by one coroutine at a time on its executor's thread. Each wait has a time
/// limit; a limit that passes closes the connection and is reported as std::errc::timed_out. End of file is
/// std::errc::connection_reset with detail "closed by peer". Operations report errors as values; only cancellation
/// throws, at the next co_await.
///
/// The time limit costs an assignment, not a timer operation: one timer per connection looks at the deadline when it
/// fires.
class Stream {
 public:
  /// `socket` is connected. Sets TCP_NODELAY.
  explicit Stream(boost::asio::ip::tcp::socket socket);
  ~Stream();
  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) noexcept;

  /// At least one octet unless failed.
  boost::asio::awaitable<Result<std::size_t>> read_some(boost::asio::mutable_buffer into,
                                                        std::chrono::milliseconds limit);
  /// All of the buffers, in one time limit, however slow the peer reads. They must stay valid until it returns.
  boost::asio::awaitable<Result<void>> write(boost::asio::const_buffer data, std::chrono::milliseconds limit);
  boost::asio::awaitable<Result<void>> write(std::array<boost::asio::const_buffer, 3> data,
                                             std::chrono::milliseconds limit);

  /// Handshakes. Nothing read before may be pending: bytes that came in the clear after STARTTLS are the caller's to
  /// discard. `context` must outlive the stream.
  boost::asio::awaitable<Result<TlsInfo>> accept_tls(SSL_CTX* context, std::chrono::milliseconds limit);
  /// `server_name` is sent as SNI (skipped if empty or an address) and is what the certificate is verified against if
  /// the context verifies. A failed handshake leaves the connection unusable.
  boost::asio::awaitable<Result<TlsInfo>> connect_tls(SSL_CTX* context, std::string server_name,
                                                      std::chrono::milliseconds limit);

  bool is_tls() const;
  const std::optional<TlsInfo>& tls_info() const;
  /// Known also after the connection is gone.
  boost::asio::ip::tcp::endpoint remote() const;
  boost::asio::ip::tcp::endpoint local() const;
  /// Closes at once; a pending operation ends with operation_canceled. Idempotent.
  void close();
  /// A pending operation ends with operation_canceled; unlike close() the connection stays usable, for a last reply to
  /// a peer that was waited for. A handshake does not survive it.
  void interrupt();
  /// Shuts down sending (and TLS close_notify without waiting), then closes.
  void close_gracefully();
  bool is_open() const;

 private:
  struct State;
  friend boost::asio::awaitable<Result<Stream>> connect(boost::asio::any_io_executor executor,
                                                        boost::asio::ip::tcp::endpoint remote,
                                                        std::optional<boost::asio::ip::address> local_address,
                                                        std::chrono::milliseconds limit);

  std::shared_ptr<State> state_;  // shared with operations under way and, weakly, with the deadline timer's handler
};

/// Connects to `remote` from `local_address` (unspecified: the kernel chooses), with IP_BIND_ADDRESS_NO_PORT so that
/// dozens of thousands of connections per source are possible, TCP_NODELAY set. A failed bind has Errc::BindFailed (the
/// source is at fault, not the host).
boost::asio::awaitable<Result<Stream>> connect(boost::asio::any_io_executor executor,
                                               boost::asio::ip::tcp::endpoint remote,
                                               std::optional<boost::asio::ip::address> local_address,
                                               std::chrono::milliseconds limit);

}  // namespace danki::net
