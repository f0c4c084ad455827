#pragma once

#include "dkim/key_file.hpp"
#include "dkim/signer.hpp"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace danki::dkim {

/// What the ring holds, for the signer. The keys are only copied from here, never signed with: then threads may share
/// it.
struct KeyRing::Impl {
  struct Entry {
    std::string domain;
    std::string selector;
    PrivateKey private_key;
    std::string field_begin;  ///< the DKIM-Signature field up to the value of t=
  };

  std::vector<Entry> entries;
  std::map<std::string, std::vector<std::size_t>, std::less<>> by_domain;  ///< indices into `entries`
  std::vector<std::string> warnings;

  const Entry* find(std::string_view domain, std::string_view selector) const;
};

}  // namespace danki::dkim
