#pragma once

#include "admin/ports.hpp"

#include <functional>
#include <mutex>
#include <vector>

namespace danki::admin {

/// Answers at once and remembers what it was asked. Thread-safe where tests need it.
class FakePorts final : public Ports {
 public:
  FakePorts() {
    status_view.version = "9.9.9";
    status_view.hostname = "relay.example.com";
    status_view.started_at = from_millis(1'795'412'979'120);
    status_view.messages = 12345;
    status_view.recipients = 13000;
    status_view.sources.push_back({.name = "out01", .address = "192.0.2.1", .state = "active", .delivered = 700});
    status_view.sources.push_back(
        {.name = "out02", .address = "192.0.2.2", .state = "pulled", .reason = "bind failed"});
    status_view.listeners = {"127.0.0.1:2525", "[::1]:2525"};
    site_views.push_back({.site = "mx.example.net",
                          .transactional = 3,
                          .bulk = 40,
                          .ready = 2,
                          .in_flight = 1,
                          .connections = 1,
                          .earliest_due = from_millis(1'795'412'979'120),
                          .last_reply = "451 4.7.1 caf\xE9 \x1b[2J",
                          .state = "backing off"});
  }

  void status(std::function<void(StatusView)> done) override {
    std::lock_guard lock(mutex);
    if (is_silent) return withheld.push_back([view = status_view, done = std::move(done)] { done(view); });
    done(status_view);
  }
  void sites(std::function<void(std::vector<SiteView>)> done) override { done(site_views); }
  void retry(Selector selector, std::function<void(std::uint64_t)> done) override {
    std::lock_guard lock(mutex);
    retried.push_back(std::move(selector));
    done(7);
  }
  std::string site_of(const std::string& domain) override { return "mx." + domain; }
  std::string prepared_lines(queue::MessageId) override { return prepared; }
  void reload(std::function<void(Result<void>)> done) override { done(reload_result); }

  std::mutex mutex;
  StatusView status_view;
  std::vector<SiteView> site_views;
  std::vector<Selector> retried;
  std::string prepared;
  Result<void> reload_result;
  bool is_silent = false;  ///< status() does not answer, but keeps what it would have said
  std::vector<std::function<void()>> withheld;
};

}  // namespace danki::admin
