#include "net/errc.hpp"

namespace danki::net {
namespace {

class Category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "net"; }

  std::string message(int value) const override {
    switch (static_cast<Errc>(value)) {
      case Errc::BindFailed:
        return "cannot bind the source address";
      case Errc::TlsFailed:
        return "TLS failed";
      case Errc::DnsTemporary:
        return "temporary DNS failure";
      case Errc::DnsNxDomain:
        return "no such domain";
      case Errc::DnsNoData:
        return "no such records";
      case Errc::NullMx:
        return "the domain accepts no mail (null MX)";
    }
    return "unknown network error";
  }
};

}  // namespace

const std::error_category& category() {
  static const Category instance;
  return instance;
}

}  // namespace danki::net
