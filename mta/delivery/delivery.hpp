#pragma once

#include "base/io_threads.hpp"
#include "base/time.hpp"
#include "dkim/signer.hpp"
#include "events/event_log.hpp"
#include "mail/dsn.hpp"
#include "mta/delivery/options.hpp"
#include "mta/delivery/prepare.hpp"
#include "mta/delivery/scheduler.hpp"
#include "net/dns.hpp"
#include "queue/spool.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

/// Delivery: from the commit of a message to its outcome. This is the part with threads around the scheduler: one
/// thread for its decisions, coroutines on the I/O threads for its connections, workers for the disk, signing threads,
/// and the way of outcomes to the event log and the spool.
namespace danki::delivery {

/// What delivery asks of rooms it does not know; the daemon supplies it. Called on workers, may block.
class Ports {
 public:
  virtual ~Ports() = default;
  /// A delivery status notification for the sender of `message`, or nullopt if none is due (tenant's choice).
  virtual std::optional<queue::NewMessage> compose_dsn(const queue::Message& message, const std::string& content,
                                                       std::vector<mail::DsnRecipient> recipients) = 0;
};

struct DeliveryView {
  SchedulerCounts counts;
  std::vector<SourceView> sources;
};

class Delivery {
 public:
  Delivery(IoThreads& threads, queue::Spool& spool, events::EventLog& events, net::Resolver& resolver, Ports& ports,
           const Clock& clock, std::shared_ptr<const Options> options, std::shared_ptr<const dkim::KeyRing> keys);
  ~Delivery();

  /// Starts the scheduler's thread and reads the lanes of the spool in the background.
  void start();
  /// From the spool's on_accepted, on its commit thread.
  void accepted(std::vector<queue::Accepted> batch);
  void reload(std::shared_ptr<const Options> options, std::shared_ptr<const dkim::KeyRing> keys);
  /// Ends: nothing new is taken, transactions before the final dot are cut, those past it may hear their reply for
  /// `grace`. Blocks until outcomes are handed to the spool and every thread of ours has ended; not from an I/O thread.
  void stop(std::chrono::milliseconds grace);

  /// Answers on the scheduler's thread; short callbacks only.
  void view(std::function<void(DeliveryView)> done);
  void sites(std::function<void(std::vector<SiteSummary>)> done);
  void retry(EntrySelector selector, std::function<void(std::uint64_t)> done);
  void site_of(std::string domain, std::function<void(std::string)> done);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace danki::delivery
