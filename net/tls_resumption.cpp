#include "net/tls_resumption.hpp"

#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>

#include <openssl/ssl.h>

namespace danki::net {
namespace {

constexpr std::size_t kMaxSessions = 2000;  // about 5 KiB each with the peer's certificate

struct FreeSession {
  void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
};
using SessionPtr = std::unique_ptr<SSL_SESSION, FreeSession>;

/// Used from several threads: a context serves all of them.
class SessionStore {
 public:
  void put(const std::string& key, SessionPtr session) {
    const std::lock_guard lock(mutex_);
    const auto [entry, is_new] = sessions_.insert_or_assign(key, std::move(session));
    if (!is_new) return;
    order_.push_back(key);
    while (order_.size() > kMaxSessions) {
      sessions_.erase(order_.front());
      order_.pop_front();
    }
  }

  /// A reference of the caller's own. A session stays until a newer one replaces it.
  SessionPtr get(const std::string& key) {
    const std::lock_guard lock(mutex_);
    const auto found = sessions_.find(key);
    if (found == sessions_.end() || SSL_SESSION_is_resumable(found->second.get()) == 0) return nullptr;
    SSL_SESSION_up_ref(found->second.get());
    return SessionPtr(found->second.get());
  }

 private:
  std::mutex mutex_;
  std::unordered_map<std::string, SessionPtr> sessions_;
  std::deque<std::string> order_;  ///< each key once, oldest first
};

void free_store(void*, void* store, CRYPTO_EX_DATA*, int, long, void*) {
  delete static_cast<SessionStore*>(store);
}

void free_key(void*, void* key, CRYPTO_EX_DATA*, int, long, void*) {
  delete static_cast<std::string*>(key);
}

int store_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, free_store);
  return index;
}

int key_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, free_key);
  return index;
}

int keep_session(SSL* ssl, SSL_SESSION* session) {
  auto* store = static_cast<SessionStore*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), store_index()));
  const auto* key = static_cast<const std::string*>(SSL_get_ex_data(ssl, key_index()));
  if (store == nullptr || key == nullptr) return 0;
  store->put(*key, SessionPtr(session));
  return 1;  // the reference is ours now
}

}  // namespace

bool enable_resumption(SSL_CTX* context) {
  auto store = std::make_unique<SessionStore>();
  if (SSL_CTX_set_ex_data(context, store_index(), store.get()) != 1) return false;
  store.release();  // freed with the context
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, keep_session);
  return true;
}

void offer_resumption(SSL* ssl, const std::string& key) {
  auto* store = static_cast<SessionStore*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), store_index()));
  if (store == nullptr) return;
  auto kept_key = std::make_unique<std::string>(key);
  if (SSL_set_ex_data(ssl, key_index(), kept_key.get()) != 1) return;
  kept_key.release();  // freed with the SSL
  if (const SessionPtr session = store->get(key)) SSL_set_session(ssl, session.get());
}

}  // namespace danki::net
