#pragma once

#include "mta/submission/conversation.hpp"
#include "tests/fakes/clock.hpp"

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace danki::submission::test {

/// Options with one tenant "signup", password "secret".
inline Options standard_options() {
  Options options;
  options.hostname = "relay.example.com";
  TenantOptions tenant;
  tenant.name = "signup";
  tenant.pool = "main";
  tenant.domains = {"example.com", ".example.com"};
  options.tenants["signup"] = tenant;
  return options;
}

/// A server's surroundings that say what a test tells them.
class FakeSurroundings final : public Surroundings {
 public:
  FakeSurroundings() : options_(std::make_shared<Options>(standard_options())) {}

  const std::shared_ptr<const Options>& options() const override { return options_; }
  TimePoint now() const override { return clock.now(); }
  MemoryBudget& memory() override { return budget; }
  queue::Refusal spool_refusal() const override { return refusal; }
  std::optional<Duration> take_recipient(const TenantOptions&) override {
    if (recipients_left == 0) return Duration(5000);
    --recipients_left;
    return std::nullopt;
  }
  void give_back_recipients(const TenantOptions&, std::size_t count) override { recipients_left += count; }
  std::optional<DomainVerdict> known_domain(const std::string& domain) override {
    const auto known = domains.find(domain);
    return known != domains.end() ? std::optional(known->second) : std::nullopt;
  }
  std::string refuse_recipient(const std::string&, const mail::Address& recipient) override {
    return recipient.local == "suppressed" ? "suppressed: hard bounce 2026-11-20" : "";
  }
  std::string refuse_from_domain(const std::string&, const std::string& domain) override {
    return domain == "unsigned.example.com" ? "no DKIM key for unsigned.example.com" : "";
  }
  void refused() override { ++refusals; }

  template <class Change>
  void change_options(Change change) {
    auto next = std::make_shared<Options>(*options_);
    change(*next);
    options_ = std::move(next);
  }

  fakes::FakeClock clock;
  MemoryBudget budget{1 << 22};
  queue::Refusal refusal = queue::Refusal::None;
  std::size_t recipients_left = 1'000'000;
  std::map<std::string, DomainVerdict> domains;
  int refusals = 0;

 private:
  std::shared_ptr<const Options> options_;
};

/// A client's side of a conversation, and the session around it: answers the questions as a test says.
class Talk {
 public:
  explicit Talk(FakeSurroundings& surroundings, ListenerOptions listener = {}, bool is_trusted = false)
      : budget_(surroundings.budget),
        conversation_(surroundings, {.listener = std::make_shared<const ListenerOptions>(std::move(listener)),
                                     .session_id = "s1",
                                     .client = "[192.0.2.1]",
                                     .is_trusted = is_trusted}) {
    conversation_.greet();
    banner = take_replies();
  }

  /// Octets as they are; returns what the client hears, "\r\n" as "|".
  std::string send(std::string_view octets) {
    pending_ += octets;
    while (!closed) {
      const Conversation::Step step = conversation_.advance(pending_);
      pending_.erase(0, step.consumed);
      heard_ += take_replies();
      switch (step.need) {
        case Conversation::Need::Input:
          return std::exchange(heard_, {});
        case Conversation::Need::Flush:
          break;
        case Conversation::Need::Domain:
          asked_domains.push_back(conversation_.domain());
          conversation_.on_domain(domain_verdict);
          break;
        case Conversation::Need::Password: {
          const Credentials credentials = conversation_.take_credentials();
          const bool right = credentials.name == "signup" && credentials.password == "secret";
          conversation_.on_password(password_verdict.value_or(right ? AuthVerdict::Accepted : AuthVerdict::Refused));
          break;
        }
        case Conversation::Need::StartTls:
          pending_.clear();
          conversation_.on_tls();
          break;
        case Conversation::Need::Encoding:
          conversation_.on_encoded(encode_long_lines(conversation_.take_content(), budget_));
          break;
        case Conversation::Need::Storage:
          messages.push_back(conversation_.take_message());
          if (store_error) {
            conversation_.on_stored(std::unexpected(*store_error));
          } else {
            conversation_.on_stored("id" + std::to_string(messages.size()));
          }
          break;
        case Conversation::Need::Close:
          closed = true;
          break;
      }
    }
    heard_ += take_replies();
    return std::exchange(heard_, {});
  }
  std::string line(std::string_view text) { return send(std::string(text) + "\r\n"); }
  /// The first 9 octets of what is heard: code and enhanced status.
  std::string code(std::string_view text) { return line(text).substr(0, 9); }

  Conversation& conversation() { return conversation_; }
  std::size_t unconsumed() const { return pending_.size(); }

  std::string banner;
  bool closed = false;
  DomainVerdict domain_verdict = DomainVerdict::Accepts;
  std::optional<AuthVerdict> password_verdict;
  std::optional<Error> store_error;
  std::vector<std::string> asked_domains;
  std::vector<queue::NewMessage> messages;

 private:
  std::string take_replies() {
    std::string text;
    for (const char c : std::exchange(conversation_.replies(), {})) {
      if (c == '\n') continue;
      text += c == '\r' ? '|' : c;
    }
    return text;
  }

  MemoryBudget& budget_;
  Conversation conversation_;
  std::string pending_;
  std::string heard_;
};

}  // namespace danki::submission::test
