#pragma once

#include "base/result.hpp"
#include "mta/submission/authenticator.hpp"
#include "mta/submission/command.hpp"
#include "mta/submission/line_encoder.hpp"
#include "mta/submission/sasl.hpp"
#include "mta/submission/surroundings.hpp"
#include "mta/submission/transaction.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace danki::submission {

/// One SMTP session as plain code (RFC 5321 and the extensions it announces). It is told the client's octets and what
/// became of its questions; it gathers replies and says what it needs next. Knows no sockets and no clock.
class Conversation {
 public:
  struct Start {
    std::shared_ptr<const ListenerOptions> listener;  // shared with the other sessions of the listener
    std::string session_id;
    std::string client;  ///< address literal
    bool is_trusted = false;
    bool is_tls = false;
  };
  Conversation(Surroundings& surroundings, Start start);

  enum class Need : std::uint8_t {
    Input,     ///< send the replies, then more octets
    Flush,     ///< send the replies, then go on with the same octets
    Domain,    ///< look up domain(), then on_domain()
    Password,  ///< check take_credentials(), then on_password()
    StartTls,  ///< send the replies, drop what was read, handshake, then on_tls()
    Encoding,  ///< encode the long lines of take_content(), then on_encoded()
    Storage,   ///< store take_message(), then on_stored()
    Close,     ///< send the replies and close
  };
  struct Step {
    std::size_t consumed;
    Need need;
  };

  /// The banner.
  void greet();
  /// Uses octets up to the end or to a need; those of an incomplete line are left.
  Step advance(std::string_view input);

  const std::string& domain() const;
  void on_domain(DomainVerdict verdict);
  Credentials take_credentials();
  void on_password(AuthVerdict verdict);
  void on_tls();
  std::string take_content();
  /// True if the message is to be stored.
  bool on_encoded(Encoded content);
  queue::NewMessage take_message();
  /// `id` names the message in the reply.
  void on_stored(const Result<std::string>& id);

  /// The client let its time pass; there are too many sessions; the server shuts down. Not while Storage is needed.
  void on_idle();
  void on_crowded();
  void on_stopping();
  /// After the reply that is due the session ends with 421 4.3.2.
  void stop_after_storage() { stopping_ = true; }

  /// To be sent and cleared.
  std::string& replies() { return replies_; }
  bool is_in_content() const { return phase_ == Phase::Data || phase_ == Phase::Chunk || phase_ == Phase::SkipChunk; }
  /// Octets of a content are in memory.
  bool holds_content() const { return transaction_ && transaction_->content_began(); }
  /// Mail transactions and contents begun so far.
  std::uint32_t transactions() const { return transactions_; }
  std::uint32_t contents() const { return contents_; }
  /// No line may be longer; what is left unconsumed is shorter.
  static constexpr std::size_t kMaxLineBytes = kMaxCommandLineBytes;

 private:
  enum class Phase : std::uint8_t { Command, SkipLine, AuthResponse, Data, Chunk, SkipChunk };

  std::size_t take(std::string_view input);
  std::size_t take_line(std::string_view input);
  std::size_t take_data(std::string_view input);
  std::size_t take_chunk(std::string_view input);
  std::size_t skip_chunk(std::string_view input);
  void on_line(std::string_view line);
  void on_command(const Command& command);

  void helo(std::string_view name, bool is_extended);
  void start_tls(std::string_view argument);
  void auth(std::string_view argument);
  void on_sasl(SaslExchange::Step step);
  void mail(std::string_view argument);
  void rcpt(std::string_view argument);
  void add_recipient();
  void refuse_recipient(const Answer& answer);
  void data(std::string_view argument);
  void bdat(std::string_view argument);
  void begin_content();
  void end_content(bool in_chunks);
  void end_chunk();
  void reset();

  const TenantOptions* tenant_of(const Options& options) const;
  bool may_authenticate() const { return is_tls_ || listener_->auth_without_tls; }
  std::string_view protocol() const;

  void reply(int code, std::string_view enhanced, std::string_view text);
  void reply(const Answer& answer) { reply(answer.code, answer.enhanced, answer.text); }
  void refuse(const Answer& answer);
  /// A refusal that counts as the client's error.
  void fail(int code, std::string_view enhanced, std::string_view text);
  void fail(const Answer& answer) { fail(answer.code, answer.enhanced, answer.text); }
  void fail_without_mail();
  void close(std::string_view enhanced, std::string_view text);

  Surroundings& surroundings_;
  std::shared_ptr<const ListenerOptions> listener_;
  const std::string session_id_;
  const std::string client_;
  std::string helo_;
  std::string tenant_;   ///< name, once authenticated
  std::string claimed_;  ///< name, while its password is checked
  std::string replies_;

  std::unique_ptr<Transaction> transaction_;
  std::unique_ptr<SaslExchange> sasl_;
  std::unique_ptr<Credentials> credentials_;
  std::unique_ptr<mail::Recipient> recipient_;  ///< whose domain is looked up
  std::uint64_t chunk_left_ = 0;
  std::uint32_t transactions_ = 0;
  std::uint32_t contents_ = 0;  ///< chunks that are only skipped too
  std::uint32_t errors_ = 0;
  std::uint32_t deferred_recipients_ = 0;  ///< of this transaction, with 4xx
  Need need_ = Need::Input;
  Phase phase_ = Phase::Command;
  bool chunk_is_last_ = false;
  bool is_extended_ = false;  ///< EHLO, not HELO
  bool is_trusted_;
  bool is_tls_;
  bool stopping_ = false;
  bool mail_refused_ = false;  ///< the last MAIL, by more than its order
};

}  // namespace danki::submission
