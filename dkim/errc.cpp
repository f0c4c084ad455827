#include "dkim/errc.hpp"

#include <string>

namespace danki::dkim {
namespace {

class Category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "dkim"; }
  std::string message(int value) const override {
    switch (static_cast<Errc>(value)) {
      case Errc::KeyUnreadable:
        return "the DKIM key file cannot be read";
      case Errc::KeyExposed:
        return "others than the owner may read this DKIM key";
      case Errc::KeyInvalid:
        return "not a usable DKIM key (PEM, RSA or Ed25519, without passphrase)";
      case Errc::KeyTooShort:
        return "an RSA key below 1024 bits is refused by receivers (RFC 8301); use 2048";
      case Errc::KeyTwice:
        return "two DKIM keys have the same domain and selector";
      case Errc::TooManyFields:
        return "too many header fields to sign";
      case Errc::SignatureFailed:
        return "the DKIM signature could not be made";
    }
    return "unknown";
  }
};

}  // namespace

std::error_code make_error_code(Errc e) {
  static const Category category;
  return {static_cast<int>(e), category};
}

}  // namespace danki::dkim
