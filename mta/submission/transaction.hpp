#pragma once

#include "mta/submission/command.hpp"
#include "mta/submission/content_reader.hpp"
#include "mta/submission/header_policy.hpp"
#include "mta/submission/surroundings.hpp"

#include <memory>
#include <optional>
#include <string>
#include <unordered_set>

namespace danki::submission {

/// Who speaks, as the Received field names him (RFC 5321 section 4.4).
struct Trace {
  std::string_view helo;
  std::string_view client;    ///< address literal
  std::string_view protocol;  ///< "ESMTPSA"; RFC 3848, RFC 6531 section 4.3
  std::string_view session;   ///< id
  std::string_view id;        ///< the session's, "." and the transaction's number
};

/// One mail transaction: MAIL, its RCPTs and its content (RFC 5321 section 3.3). Keeps the options it began with, so
/// that a reload does not change the rules half way.
class Transaction {
 public:
  Transaction(Surroundings& surroundings, std::shared_ptr<const Options> options, const TenantOptions* tenant,
              MailCommand command);
  /// Gives the recipients back to the tenant's rate, unless the message was stored.
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  const Options& options() const { return *options_; }
  /// Null for a client that may not relay: all its recipients are refused.
  const TenantOptions* tenant() const { return tenant_; }
  bool smtputf8() const { return envelope_.smtputf8; }
  std::size_t recipients() const { return envelope_.recipients.size(); }
  const mail::Address& first_recipient() const { return envelope_.recipients.front().address; }
  /// What speaks against this recipient before its domain is looked up.
  std::optional<Answer> refuse(const mail::Recipient& recipient) const;
  /// Adds it, if the tenant's rate allows. One named before (local parts compared with case, domains without) gets no
  /// second copy and keeps the parameters it was first named with; it hears 250 again.
  std::optional<Answer> add(mail::Recipient recipient);

  /// The content is about to come. `trace` is needed during the call.
  void begin_content(const Trace& trace, LongLines long_lines);
  bool content_began() const { return reader_.has_value(); }
  ContentReader::Step feed_data(std::string_view input);
  void feed_chunk(std::string_view octets);
  /// What speaks against going on with further chunks: it would be refused whatever comes.
  std::optional<Answer> refuse_chunk() const;

  /// All of the content has come: what speaks against it. If nothing does, take_message() is next, after
  /// replace_content() if it has lines over the limit.
  std::optional<Answer> end_content(bool in_chunks);
  bool has_long_lines() const { return reader_->has_long_line(); }
  std::string take_content() { return reader_->take_content(); }
  bool replace_content(std::string content) { return reader_->replace_content(std::move(content)); }
  queue::NewMessage take_message();
  void stored() { stored_ = true; }

 private:
  void look_at_header();
  void judge();
  std::optional<Answer> refuse_faults() const;

  Surroundings& surroundings_;
  std::shared_ptr<const Options> options_;  // shared with everybody who began under it
  const TenantOptions* tenant_;             ///< in options_
  mail::Envelope envelope_;
  std::unordered_set<std::string> addresses_;  ///< of its recipients
  std::size_t named_ = 0;                      ///< recipients accepted, those named again too
  std::uint64_t announced_bytes_;
  std::optional<ContentReader> reader_;
  std::size_t head_bytes_ = 0;  ///< of our Received field
  std::string message_id_;
  std::optional<HeaderVerdict> header_;
  std::size_t taken_ = 0;  ///< recipients of the tenant's rate
  bool stored_ = false;
};

}  // namespace danki::submission
