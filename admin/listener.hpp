#pragma once

#include "admin/options.hpp"
#include "base/result.hpp"

#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>

/// Where the API listens.
namespace danki::admin {

/// Listens at `path` with that mode; its folder is made (0750) where it is missing. A socket file that nobody listens
/// at any more is replaced; any other file, or one that somebody listens at, is an error. The file is the caller's to
/// remove.
Result<boost::asio::local::stream_protocol::acceptor> listen_unix(boost::asio::io_context& context,
                                                                  const std::string& path, unsigned mode);

/// "127.0.0.1:8025" or "[::1]:8025"; port 0 lets the kernel choose.
Result<boost::asio::ip::tcp::acceptor> listen_tcp(boost::asio::io_context& context, const std::string& address);

}  // namespace danki::admin
