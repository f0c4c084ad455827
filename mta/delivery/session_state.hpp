#pragma once

#include "mta/delivery/mail_transaction.hpp"
#include "mta/delivery/session.hpp"
#include "mta/delivery/session_channel.hpp"

#include <optional>
#include <string>

/// What session.cpp and session_open.cpp share; for nobody else.
namespace danki::delivery {

struct SmtpSession::State {
  State(HostTarget target_, const SessionOptions& options, net::Stream stream)
      : target(std::move(target_)),
        timeouts(options.timeouts),
        channel(std::move(stream)),
        local(channel.stream().local()) {}

  HostTarget target;
  Timeouts timeouts;
  SessionChannel channel;
  boost::asio::ip::tcp::endpoint local;
  Extensions extensions;
  std::optional<net::TlsInfo> tls;
  MailTransaction transaction;
  std::string block;  ///< content on its way out, stuffed; kept while small
  bool usable = true;
  bool awaiting_final_reply = false;
};

}  // namespace danki::delivery
