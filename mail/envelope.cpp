#include "mail/envelope.hpp"

namespace danki::mail {

std::string_view to_string(MailClass c) {
  return c == MailClass::Bulk ? "bulk" : "transactional";
}

std::optional<MailClass> parse_mail_class(std::string_view name) {
  if (name == "transactional") return MailClass::Transactional;
  if (name == "bulk") return MailClass::Bulk;
  return std::nullopt;
}

}  // namespace danki::mail
