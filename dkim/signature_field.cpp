#include "dkim/signature_field.hpp"

#include "dkim/canonical.hpp"
#include "mail/ascii.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace danki::dkim {
namespace {

constexpr std::string_view kFold = "\r\n\t";
constexpr std::size_t kMaxLineBytes = 70;  ///< with the tab as eight columns a line stays below 78 (RFC 5322, 2.1.1)

constexpr std::size_t kBase64LineBytes = 64;  ///< a multiple of four leaves no stray "=" on the last line

/// RFC 6376 section 5.4.1, RFC 8058 section 4 (List-Unsubscribe and its -Post must be covered), and Feedback-ID, which
/// Gmail believes only when it is signed. Return-Path and Received change on the way and stay out.
constexpr std::array<std::string_view, 16> kSignedFields = {"From",
                                                            "To",
                                                            "Cc",
                                                            "Subject",
                                                            "Date",
                                                            "Reply-To",
                                                            "Message-ID",
                                                            "MIME-Version",
                                                            "Content-Type",
                                                            "Content-Transfer-Encoding",
                                                            "In-Reply-To",
                                                            "References",
                                                            "List-Unsubscribe",
                                                            "List-Unsubscribe-Post",
                                                            "List-Id",
                                                            "Feedback-ID"};

/// Joins words into lines: a word that would make its line too long starts a new one.
class Folder {
 public:
  explicit Folder(std::string begin) : text_(std::move(begin)), column_(text_.size()) {}

  void add(std::string_view separator, std::string_view word) {
    if (column_ + separator.size() + word.size() > kMaxLineBytes) {
      text_ += kFold;
      column_ = 1;
    } else {
      text_ += separator;
      column_ += separator.size();
    }
    text_ += word;
    column_ += word.size();
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
  std::size_t column_;
};

}  // namespace

std::string signature_field_begin(KeyType type, std::string_view domain, std::string_view selector) {
  Folder folder("DKIM-Signature: v=1;");
  folder.add(" ", type == KeyType::Rsa ? "a=rsa-sha256;" : "a=ed25519-sha256;");
  folder.add(" ", "c=relaxed/relaxed;");
  folder.add(" ", fmt::format("d={};", domain));
  folder.add(" ", fmt::format("s={};", selector));
  return folder.take() + "\r\n\tt=";
}

std::string signature_field_end(std::int64_t unix_seconds, std::string_view signed_names,
                                std::string_view body_hash_base64) {
  return fmt::format("{};\r\n\th={};\r\n\tbh={};\r\n\tb=", unix_seconds, signed_names, body_hash_base64);
}

void append_signature_value(std::string_view base64, std::string& field) {
  for (std::size_t at = 0; at < base64.size(); at += kBase64LineBytes) {
    if (at > 0) field += kFold;
    field += base64.substr(at, kBase64LineBytes);
  }
  field += "\r\n";
}

SignedHeaders collect_signed_headers(const mail::HeaderBlock& block) {
  SignedHeaders headers;
  headers.relaxed.reserve(block.size() + 64);
  Folder names("\th=");
  const auto& fields = block.fields();
  for (const std::string_view name : kSignedFields) {
    const auto add_name = [&] { names.add("", fmt::format("{}:", name)); };
    for (auto field = fields.rbegin(); field != fields.rend(); ++field) {
      if (!mail::iequals(field->name, name)) continue;
      add_name();
      append_relaxed_header(field->name, field->value, headers.relaxed);
    }
    if (name == "From") add_name();
  }
  headers.names = names.take().substr(std::string_view("\th=").size());
  headers.names.pop_back();
  return headers;
}

}  // namespace danki::dkim
