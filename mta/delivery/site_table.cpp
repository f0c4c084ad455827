#include "mta/delivery/site_table.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace danki::delivery {

namespace {
std::size_t index_of(mail::MailClass klass) {
  return static_cast<std::size_t>(klass);
}
}  // namespace

std::size_t Site::ready(mail::MailClass klass) const {
  std::size_t sum = 0;
  for (const auto& [pool_name, pool] : pools) sum += pool.ready[index_of(klass)];
  return sum;
}

Domain* SiteTable::find_domain(const std::string& name) {
  auto found = domains_.find(name);
  return found == domains_.end() ? nullptr : found->second.get();
}

Domain& SiteTable::domain(const std::string& name) {
  if (Domain* known = find_domain(name)) return *known;
  auto made = std::make_unique<Domain>();
  made->name = name;
  return *domains_.emplace(name, std::move(made)).first->second;
}

Site* SiteTable::find_site(const std::string& name) {
  auto found = sites_.find(name);
  return found == sites_.end() ? nullptr : found->second.get();
}

Site& SiteTable::site(const std::string& name) {
  if (Site* known = find_site(name)) return *known;
  auto made = std::make_unique<Site>();
  made->name = name;
  return *sites_.emplace(name, std::move(made)).first->second;
}

ReadyQueue& SiteTable::queue_of(Domain& domain, const Item& item) {
  const std::string& pool = item.message->envelope.pool;
  auto& slot = domain.queues[{item.entry.lane.klass, item.entry.lane.tenant, pool}];
  if (!slot) {
    slot = std::make_unique<ReadyQueue>();
    slot->tenant = item.entry.lane.tenant;
    slot->pool = pool;
    slot->klass = item.entry.lane.klass;
  }
  return *slot;
}

void SiteTable::list(Site& site, ReadyQueue& queue, bool front) {
  if (queue.listed || queue.items.empty()) return;
  auto& rotation = site.pools[queue.pool].rotation[index_of(queue.klass)];
  if (front) {
    rotation.push_front(&queue);
  } else {
    rotation.push_back(&queue);
  }
  queue.listed = true;
}

void SiteTable::unlist(Site& site, ReadyQueue& queue) {
  if (!queue.listed) return;
  auto& rotation = site.pools[queue.pool].rotation[index_of(queue.klass)];
  rotation.erase(std::find(rotation.begin(), rotation.end(), &queue));
  queue.listed = false;
}

void SiteTable::add(Domain& domain, Item& item, bool front) {
  ReadyQueue& queue = queue_of(domain, item);
  item.state = Item::State::Ready;
  if (front) {
    queue.items.push_front(&item);
  } else {
    queue.items.push_back(&item);
  }
  ++domain.ready;
  if (domain.site) {
    ++domain.site->pools[queue.pool].ready[index_of(queue.klass)];
    list(*domain.site, queue, front);
  }
}

void SiteTable::bind(Domain& domain, Site& site) {
  if (domain.site == &site) return;
  for (auto& [key, queue] : domain.queues) {
    if (domain.site) {
      domain.site->pools[queue->pool].ready[index_of(queue->klass)] -= queue->items.size();
      unlist(*domain.site, *queue);
    }
    site.pools[queue->pool].ready[index_of(queue->klass)] += queue->items.size();
    list(site, *queue, false);
  }
  leave_site(domain);
  join(site, domain);
}

void SiteTable::join(Site& site, Domain& domain) {
  domain.site = &site;
  ++site.domains;
  Site::Kind& kind = site.kinds[domain.kind];
  if (kind.domains++ > 0) return;
  kind.example = domain.name;
  site.limits_stale = true;
}

void SiteTable::leave_site(Domain& domain) {
  Site* site = std::exchange(domain.site, nullptr);
  if (!site) return;
  --site->domains;
  auto kind = site->kinds.find(domain.kind);
  if (--kind->second.domains > 0) return;
  site->kinds.erase(kind);
  site->limits_stale = true;
}

void SiteTable::set_kind(Domain& domain, std::string kind) {
  if (domain.kind == kind) return;
  Site* site = domain.site;
  leave_site(domain);
  domain.kind = std::move(kind);
  if (site) join(*site, domain);
}

void SiteTable::unbind(Domain& domain) {
  assert(domain.ready == 0);
  leave_site(domain);
}

std::optional<mail::MailClass> SiteTable::next_class(Site& site, const std::string& pool, double bulk_share) {
  auto found = site.pools.find(pool);
  if (found == site.pools.end()) return std::nullopt;
  PoolReady& ready = found->second;
  bool transactional = ready.ready[0] > 0;
  bool bulk = ready.ready[1] > 0;
  if (!transactional && !bulk) return std::nullopt;
  if (transactional && bulk) {
    return ready.bulk_credit + bulk_share >= 1.0 ? mail::MailClass::Bulk : mail::MailClass::Transactional;
  }
  return transactional ? mail::MailClass::Transactional : mail::MailClass::Bulk;
}

Item* SiteTable::take(Site& site, const std::string& pool, double bulk_share) {
  auto klass = next_class(site, pool, bulk_share);
  if (!klass) return nullptr;
  PoolReady& ready = site.pools[pool];
  if (ready.ready[0] > 0 && ready.ready[1] > 0) {
    // Each message taken while both wait earns bulk its share; a bulk message spends one.
    ready.bulk_credit += bulk_share;
    if (*klass == mail::MailClass::Bulk) ready.bulk_credit -= 1.0;
  } else {
    ready.bulk_credit = 0;
  }
  auto& rotation = ready.rotation[index_of(*klass)];
  assert(!rotation.empty());
  ReadyQueue& queue = *rotation.front();
  rotation.pop_front();
  queue.listed = false;
  Item* item = queue.items.front();
  queue.items.pop_front();
  --ready.ready[index_of(*klass)];
  if (Domain* domain = find_domain(item->entry.lane.domain)) --domain->ready;
  list(site, queue, false);
  return item;
}

void SiteTable::remove(Item& item) {
  assert(item.state == Item::State::Ready);
  Domain* domain = find_domain(item.entry.lane.domain);
  assert(domain);
  ReadyQueue& queue = queue_of(*domain, item);
  queue.items.erase(std::find(queue.items.begin(), queue.items.end(), &item));
  --domain->ready;
  if (domain->site) {
    --domain->site->pools[queue.pool].ready[index_of(queue.klass)];
    if (queue.items.empty()) unlist(*domain->site, queue);
  }
}

void SiteTable::drain(Domain& domain, ReadyQueue& queue, const Stays& stays, std::vector<Item*>& drained) {
  std::deque<Item*> staying;
  for (Item* item : queue.items) {
    if (stays(*item)) {
      staying.push_back(item);
    } else {
      drained.push_back(item);
    }
  }
  const std::size_t removed = queue.items.size() - staying.size();
  queue.items = std::move(staying);
  domain.ready -= removed;
  if (!domain.site) return;
  domain.site->pools[queue.pool].ready[index_of(queue.klass)] -= removed;
  if (queue.items.empty()) unlist(*domain.site, queue);
}

std::vector<Item*> SiteTable::drain(Site& site, const std::string& pool, const Stays& stays) {
  std::vector<Item*> drained;
  for (auto& rotation : site.pools[pool].rotation) {
    const std::vector<ReadyQueue*> listed(rotation.begin(), rotation.end());
    for (ReadyQueue* queue : listed) {
      if (Domain* domain = find_domain(queue->items.front()->entry.lane.domain)) drain(*domain, *queue, stays, drained);
    }
  }
  return drained;
}

std::vector<Item*> SiteTable::drain(Domain& domain, const Stays& stays) {
  std::vector<Item*> drained;
  for (auto& [key, queue] : domain.queues) drain(domain, *queue, stays, drained);
  return drained;
}

void SiteTable::sweep(SteadyPoint now, const std::function<bool(const std::string& domain)>& in_use) {
  for (auto it = domains_.begin(); it != domains_.end();) {
    Domain& domain = *it->second;
    if (domain.ready == 0 && !domain.resolving && domain.resolved_until < now && domain.retry_resolve_at < now &&
        !(in_use && in_use(domain.name))) {
      for (auto& [key, queue] : domain.queues) {
        if (domain.site) unlist(*domain.site, *queue);
      }
      leave_site(domain);
      it = domains_.erase(it);
    } else {
      ++it;
    }
  }
  for (auto it = sites_.begin(); it != sites_.end();) {
    Site& site = *it->second;
    bool backing_off = std::any_of(site.paths.begin(), site.paths.end(),
                                   [&](const auto& path) { return path.second->closed_until > now; });
    if (site.domains == 0 && site.connections == 0 && site.in_flight == 0 && !site.dirty && !site.waiting &&
        !backing_off) {
      it = sites_.erase(it);
    } else {
      ++it;
    }
  }
}

}  // namespace danki::delivery
