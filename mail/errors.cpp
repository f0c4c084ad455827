#include "mail/errors.hpp"

namespace danki::mail {
namespace {

class Category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "mail"; }
  std::string message(int value) const override {
    switch (static_cast<Errc>(value)) {
      case Errc::BadAddress:
        return "not a valid address";
      case Errc::BadDomain:
        return "not a valid domain";
      case Errc::BadPath:
        return "not a valid path";
      case Errc::BadParameter:
        return "not a valid parameter";
      case Errc::BadXtext:
        return "not valid xtext";
      case Errc::BadMailboxList:
        return "not a valid list of mailboxes";
      case Errc::LongLine:
        return "a line that is too long and cannot be made shorter";
    }
    return "unknown";
  }
};

}  // namespace

std::error_code make_error_code(Errc e) {
  static const Category category;
  return {static_cast<int>(e), category};
}

}  // namespace danki::mail
