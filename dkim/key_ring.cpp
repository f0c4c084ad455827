#include "dkim/key_ring.hpp"

#include "dkim/errc.hpp"
#include "dkim/signature_field.hpp"
#include "mail/ascii.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace danki::dkim {

KeyRing::KeyRing() : impl_(std::make_unique<Impl>()) {}
KeyRing::~KeyRing() = default;

Result<std::shared_ptr<const KeyRing>> KeyRing::load(std::vector<KeyOptions> keys) {
  std::shared_ptr<KeyRing> ring(new KeyRing);
  Impl& impl = *ring->impl_;
  for (const KeyOptions& options : keys) {
    const std::string domain = mail::to_lower(options.domain);
    if (impl.find(domain, options.selector) != nullptr) {
      return std::unexpected(Error(Errc::KeyTwice, fmt::format("{} selector {}", domain, options.selector)));
    }
    auto key = read_private_key(options.key_file);
    if (!key) return std::unexpected(key.error());
    if (key->type == KeyType::Rsa && key->bits < kRecommendedRsaBits) {
      impl.warnings.push_back(fmt::format("{}: the DKIM key of {} selector {} has {} bits; use {} (RFC 8301)",
                                          options.key_file.native(), domain, options.selector, key->bits,
                                          kRecommendedRsaBits));
    }
    impl.by_domain[domain].push_back(impl.entries.size());
    std::string begin = signature_field_begin(key->type, domain, options.selector);
    impl.entries.push_back({domain, options.selector, std::move(*key), std::move(begin)});
  }
  return ring;
}

const KeyRing::Impl::Entry* KeyRing::Impl::find(std::string_view domain, std::string_view selector) const {
  const auto found = by_domain.find(domain);
  if (found == by_domain.end()) return nullptr;
  for (const std::size_t index : found->second) {
    if (entries[index].selector == selector) return &entries[index];
  }
  return nullptr;
}

bool KeyRing::has_key(std::string_view from_domain) const {
  return impl_->by_domain.contains(from_domain);
}

bool KeyRing::knows(std::string_view selectors) const {
  while (!selectors.empty()) {
    const std::string_view one = selectors.substr(0, selectors.find(' '));
    selectors.remove_prefix(std::min(selectors.size(), one.size() + 1));
    const std::size_t slash = one.find('/');
    if (slash == std::string_view::npos || !impl_->find(one.substr(0, slash), one.substr(slash + 1))) return false;
  }
  return true;
}

const std::vector<std::string>& KeyRing::warnings() const {
  return impl_->warnings;
}

}  // namespace danki::dkim
