#include "mta/submission/authenticator.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <stdexcept>

#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

namespace danki::submission {
namespace {

constexpr std::size_t kMaxRememberedPerTenant = 8;  // a password while it rotates is two

/// Where no tenant has a password to imitate: mkpasswd's default method and cost.
const std::vector<std::string> kDecoyHashes{"$y$j9T$F5Jx5fExrKuPp53xLKQ..1$"};

/// Under which the failures of `client` with `name` are counted. A client has no space in it. Names come from outside:
/// two that differ only behind this many octets share their count.
std::string failures_key(std::string_view client, std::string_view name) {
  constexpr std::size_t kNameBytes = 64;
  std::string key(client);
  key += ' ';
  key += name.substr(0, kNameBytes);
  return key;
}

/// True if `password` has the hash `stored`. Slow.
bool matches(const std::string& password, const std::string& stored) {
  static thread_local auto data = std::make_unique<crypt_data>();  // 32 KiB
  const char* hash = crypt_r(password.c_str(), stored.c_str(), data.get());
  const bool equal = hash != nullptr && hash[0] != '*' && std::strlen(hash) == stored.size() &&
                     CRYPTO_memcmp(hash, stored.data(), stored.size()) == 0;
  OPENSSL_cleanse(data.get(), sizeof(crypt_data));
  return equal;
}

}  // namespace

struct Authenticator::Job {
  std::shared_ptr<const Options> options;
  Credentials credentials;
  Digest digest;
};

Authenticator::Authenticator(const Clock& clock, std::shared_ptr<const Options> options)
    : clock_(clock), options_(std::move(options)), pool_("auth", kThreads, kMaxQueued) {
  if (RAND_bytes(key_.data(), static_cast<int>(key_.size())) != 1) throw std::runtime_error("no random key");
}

Authenticator::~Authenticator() {
  pool_.stop();
  OPENSSL_cleanse(key_.data(), key_.size());
}

void Authenticator::check(std::string client, Credentials credentials, Done done) {
  const std::shared_ptr<const Options> options = newest_options();
  const SteadyPoint now = clock_.steady();
  const std::size_t limit = options->limits.auth_failures;
  const std::string key = failures_key(client, credentials.name);
  const std::size_t failures = name_failures_.count(key, now);
  const Digest digest = digest_of(credentials);
  if (failures < limit * kOverallFactor && is_remembered(credentials.name, digest, now)) {
    return done({AuthVerdict::Accepted});
  }
  const bool client_is_stopped = client_failures_.count(client, now) >= limit * kOverallFactor;
  if (client_is_stopped || failures >= limit) {
    Duration delay = name_failures_.add(key, now);
    // A name that is stopped already does not count against the client: it may be one tenant's old configuration.
    if (client_is_stopped) delay = client_failures_.add(client, now);
    return done({AuthVerdict::TooManyFailures, delay});
  }

  auto job = std::make_shared<Job>(Job{options, std::move(credentials), digest});
  bool is_busy = false;
  {
    std::lock_guard lock(mutex_);
    auto [entry, is_new] = in_flight_.try_emplace({options.get(), digest});
    if (is_new && !pool_.try_submit([this, job] { run(job); })) {
      in_flight_.erase(entry);
      is_busy = true;
    } else {
      entry->second.push_back({std::move(client), std::move(done)});
    }
  }
  if (is_busy) done({AuthVerdict::Busy});
}

void Authenticator::set_options(std::shared_ptr<const Options> options) {
  std::lock_guard lock(mutex_);
  options_ = std::move(options);
  remembered_.clear();
}

std::shared_ptr<const Options> Authenticator::newest_options() {
  std::lock_guard lock(mutex_);
  return options_;
}

Authenticator::Digest Authenticator::digest_of(const Credentials& credentials) const {
  std::string text = std::to_string(credentials.name.size()) + ':' + credentials.name + credentials.password;
  const Digest digest = keyed_hash(text);
  wipe(text);
  return digest;
}

Authenticator::Digest Authenticator::keyed_hash(std::string_view text) const {
  Digest digest{};
  unsigned length = 0;
  HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()), reinterpret_cast<const unsigned char*>(text.data()),
       text.size(), digest.data(), &length);
  return digest;
}

bool Authenticator::is_remembered(const std::string& name, const Digest& digest, SteadyPoint now) {
  std::lock_guard lock(mutex_);
  const auto entry = remembered_.find(name);
  if (entry == remembered_.end()) return false;
  bool found = false;
  for (const Remembered& known : entry->second) {
    const bool equal = CRYPTO_memcmp(known.digest.data(), digest.data(), digest.size()) == 0;
    found = found || (equal && now < known.until);
  }
  return found;
}

/// Time must not tell which tenants exist: a name without a password costs what one of those with passwords costs, and
/// always the same one's. All its hashes are computed, whichever fits.
void Authenticator::run(const std::shared_ptr<Job>& job) {
  const auto tenant = job->options->tenants.find(job->credentials.name);
  const bool exists = tenant != job->options->tenants.end() && !tenant->second.password_hashes.empty();
  const std::vector<std::string>& hashes =
      exists ? tenant->second.password_hashes : imitated(*job->options, job->credentials.name);
  bool fits = false;
  for (const std::string& hash : hashes) {
    fits |= matches(job->credentials.password, hash);
    hashed_.fetch_add(1, std::memory_order_relaxed);
  }
  finish(*job, exists && fits);
}

/// The hashes of a tenant chosen by the name and our key.
const std::vector<std::string>& Authenticator::imitated(const Options& options, std::string_view name) const {
  std::vector<const TenantOptions*> candidates;
  for (const auto& [ignored, tenant] : options.tenants) {
    if (!tenant.password_hashes.empty()) candidates.push_back(&tenant);
  }
  if (candidates.empty()) return kDecoyHashes;
  const Digest digest = keyed_hash(name);
  std::uint64_t number = 0;
  std::memcpy(&number, digest.data(), sizeof number);
  return candidates[number % candidates.size()]->password_hashes;
}

void Authenticator::finish(const Job& job, bool accepted) {
  std::vector<Waiter> waiters;
  {
    std::lock_guard lock(mutex_);
    const auto entry = in_flight_.find({job.options.get(), job.digest});
    waiters.swap(entry->second);
    in_flight_.erase(entry);
    if (accepted && job.options == options_) {
      std::vector<Remembered>& known = remembered_[job.credentials.name];
      const SteadyPoint now = clock_.steady();
      std::erase_if(known, [&](const Remembered& r) { return r.until <= now || r.digest == job.digest; });
      if (known.size() >= kMaxRememberedPerTenant) known.erase(known.begin());
      known.push_back({job.digest, now + kRememberFor});
    }
  }
  // Asked many times at once, one wrong password is one failure of its client: a tenant's pool of connections guesses
  // nothing.
  std::map<std::string, AuthResult> refusals;
  for (const Waiter& waiter : waiters) {
    if (accepted) {
      waiter.done({AuthVerdict::Accepted});
      continue;
    }
    auto [refusal, is_first] = refusals.try_emplace(waiter.client);
    if (is_first) refusal->second = refused(waiter.client, job.credentials.name);
    waiter.done(refusal->second);
  }
}

AuthResult Authenticator::refused(const std::string& client, std::string_view name) {
  failed_.fetch_add(1, std::memory_order_relaxed);
  const SteadyPoint now = clock_.steady();
  client_failures_.add(client, now);
  return {AuthVerdict::Refused, name_failures_.add(failures_key(client, name), now)};
}

}  // namespace danki::submission
