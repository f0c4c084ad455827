#pragma once

#include "base/random.hpp"
#include "mta/delivery/lane_table.hpp"
#include "mta/delivery/outcome.hpp"
#include "mta/delivery/session_options.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

/// Which site each recipient domain's mail waits at, and in which order it is taken there. Plain code on the
/// scheduler's strand.
namespace danki::delivery {

using ConnectionId = std::uint64_t;
struct Site;

/// Messages of one lane and pool that are ready at a site, oldest due first.
struct ReadyQueue {
  std::string tenant;
  std::string pool;
  mail::MailClass klass = mail::MailClass::Transactional;
  std::deque<Item*> items;
  bool listed = false;  ///< in its site's rotation
};

/// What is ready at a site for one pool: per class a rotation over the lanes (step by step, one message each).
struct PoolReady {
  std::deque<ReadyQueue*> rotation[2];
  std::size_t ready[2] = {0, 0};
  double bulk_credit = 0;              ///< grows with each transactional message taken while bulk waits
  std::map<std::string, double> turn;  ///< smooth weighted round robin over the pool's sources, by source name
  unsigned further_tries = 0;          ///< opened beyond what is due since the site last answered
  SteadyPoint next_try_at{};           ///< the next of these
};

/// One recipient domain with mail in memory.
struct Domain {
  std::string name;
  Site* site = nullptr;  ///< null until resolved
  bool resolving = false;
  SteadyPoint resolved_until{};    ///< ask again after
  SteadyPoint retry_resolve_at{};  ///< after a temporary failure
  unsigned resolve_failures = 0;
  std::string kind;                                                        ///< domain_kind() of the options in force
  std::string problem;                                                     ///< last temporary failure, for people
  using QueueKey = std::tuple<mail::MailClass, std::string, std::string>;  ///< class, tenant, pool
  std::map<QueueKey, std::unique_ptr<ReadyQueue>> queues;
  std::size_t ready = 0;
};

/// (source, shaping group): without a provider catalogue the shaping group is the site.
struct Path {
  std::string source;
  Site* site = nullptr;
  std::uint32_t limit_connections = 10;
  std::uint32_t limit_messages = 100;    ///< per connection
  std::uint32_t limit_recipients = 100;  ///< per transaction
  TlsPolicy tls = TlsPolicy::Opportunistic;
  std::set<ConnectionId> connections;  ///< connecting, busy and idle
  std::vector<ConnectionId> idle;
  std::size_t connecting = 0;  ///< of these, under way and waited for
  std::size_t ungreeted = 0;   ///< under way and counted on, waited for or not
  std::size_t connected = 0;
  std::size_t retired = 0;     ///< of these, those that take nothing more
  unsigned failures = 0;       ///< in a row
  SteadyPoint closed_until{};  ///< backing off

  /// A connection of it takes longer than is waited for.
  bool hangs() const { return connections.size() > connected + connecting; }
};

struct Site {
  std::string name;
  std::vector<HostTarget> targets;
  std::map<std::string, PoolReady> pools;
  std::map<std::string, std::unique_ptr<Path>> paths;  ///< by source name
  std::size_t domains = 0;
  struct Kind {
    std::string example;  ///< a domain of it
    std::size_t domains = 0;
  };
  std::map<std::string, Kind> kinds;  ///< of its domains: each has limits of its own
  bool limits_stale = false;          ///< a kind came or went since the paths' limits were reckoned
  std::size_t in_flight = 0;          ///< items leased to connections
  std::size_t connections = 0;
  std::size_t pool_turn = 0;  ///< which pool a connection is filled from first
  std::string last_reply;
  Hindrance hindrance;   ///< how its paths failed, until a message hears a reply
  bool dirty = false;    ///< in the list of sites to dispatch
  bool waiting = false;  ///< for a connection to any site to end
  bool starves = false;  ///< so that another is to make way

  std::size_t ready(mail::MailClass klass) const;
};

class SiteTable {
 public:
  Domain& domain(const std::string& name);
  Domain* find_domain(const std::string& name);
  Site& site(const std::string& name);
  Site* find_site(const std::string& name);

  /// Puts a ready item where its domain's mail waits. `front`: it came back untouched.
  void add(Domain& domain, Item& item, bool front);
  /// Binds a domain to a site, moving what is ready to it.
  void bind(Domain& domain, Site& site);
  /// The domain has no site any more, and nothing ready.
  void unbind(Domain& domain);
  void set_kind(Domain& domain, std::string kind);
  /// Takes the next ready item of the pool at the site (strict priority to transactional, a share for bulk), or null.
  Item* take(Site& site, const std::string& pool, double bulk_share);
  /// What class take() would give next; nullopt if nothing is ready.
  std::optional<mail::MailClass> next_class(Site& site, const std::string& pool, double bulk_share);
  /// Removes one ready item wherever it waits (expiry, admin).
  void remove(Item& item);
  /// Removes all that is ready at the site for the pool, or for a domain without a site, but what `stays`.
  using Stays = std::function<bool(const Item& item)>;
  std::vector<Item*> drain(Site& site, const std::string& pool, const Stays& stays);
  std::vector<Item*> drain(Domain& domain, const Stays& stays);
  /// Forgets domains and sites without mail and connections; not domains that are `in_use`.
  void sweep(SteadyPoint now, const std::function<bool(const std::string& domain)>& in_use = {});

  const std::map<std::string, std::unique_ptr<Domain>>& domains() const { return domains_; }
  const std::map<std::string, std::unique_ptr<Site>>& sites() const { return sites_; }

 private:
  static void join(Site& site, Domain& domain);
  static void leave_site(Domain& domain);
  ReadyQueue& queue_of(Domain& domain, const Item& item);
  void list(Site& site, ReadyQueue& queue, bool front);
  void unlist(Site& site, ReadyQueue& queue);
  void drain(Domain& domain, ReadyQueue& queue, const Stays& stays, std::vector<Item*>& drained);

  std::map<std::string, std::unique_ptr<Domain>> domains_;
  std::map<std::string, std::unique_ptr<Site>> sites_;
};

}  // namespace danki::delivery
