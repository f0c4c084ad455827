#include "mail/mailbox_list.hpp"

#include "mail/address.hpp"
#include "mail/ascii.hpp"
#include "mail/errors.hpp"

#include <algorithm>
#include <optional>

namespace danki::mail {
namespace {

/// A piece of a structured field. Comments and white space between pieces are gone.
struct Token {
  enum class Kind { Word, Quoted, Literal, Special, End } kind = Kind::End;
  std::string text;     ///< Word: atext; Quoted: its content, unescaped; Literal: with its brackets
  char special = '\0';  ///< one of < > , ; : @ .

  bool is(char c) const { return kind == Kind::Special && special == c; }
};

/// RFC 5322 section 3.2 and 4.1. Never recurses: nested comments are counted.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  /// False: the text has a piece that no structured field has; problem() says which.
  bool next(Token& token) {
    if (!skip_cfws()) return false;
    token = Token{};
    if (position_ == text_.size()) return true;
    const char c = text_[position_];
    if (c == '"') return take_delimited(token, Token::Kind::Quoted, '"');
    if (c == '[') return take_delimited(token, Token::Kind::Literal, ']');
    if (std::string_view("<>,;:@.").find(c) != std::string_view::npos) {
      token.kind = Token::Kind::Special;
      token.special = c;
      ++position_;
      return true;
    }
    token.kind = Token::Kind::Word;
    while (position_ < text_.size() && (is_atext(text_[position_]) || is_non_ascii(text_[position_]))) {
      token.text += text_[position_++];
    }
    return !token.text.empty() || fail("a character out of place");
  }

  const char* problem() const { return problem_; }

 private:
  bool fail(const char* problem) {
    problem_ = problem;
    return false;
  }

  /// Any mixture of CR, LF, space and tab counts as folding: it is broken only in ways that do not change the
  /// mailboxes.
  static bool is_fws(char c) { return is_wsp(c) || c == '\r' || c == '\n'; }

  bool skip_cfws() {
    std::size_t depth = 0;
    for (; position_ < text_.size(); ++position_) {
      const char c = text_[position_];
      if (c == '(') {
        ++depth;
      } else if (depth > 0) {
        if (c == ')') --depth;
        if (c == '\\') ++position_;  // the pair's second half; at the end the loop ends with an open comment
      } else if (!is_fws(c)) {
        return true;
      }
    }
    position_ = text_.size();
    return depth == 0 || fail("a comment without its end");
  }

  /// From the opening delimiter to `close`; quoted pairs resolved, line ends of folding taken out.
  bool take_delimited(Token& token, Token::Kind kind, char close) {
    const bool keeps_delimiters = kind == Token::Kind::Literal;
    token.kind = kind;
    if (keeps_delimiters) token.text += text_[position_];
    for (++position_; position_ < text_.size(); ++position_) {
      char c = text_[position_];
      if (c == close) {
        if (keeps_delimiters) token.text += c;
        ++position_;
        return true;
      }
      if (c == '\r' || c == '\n') continue;
      if (c == '\\' && ++position_ < text_.size()) c = text_[position_];
      token.text += c;
    }
    return fail(keeps_delimiters ? "a domain literal without its end" : "a quoted string without its end");
  }

  std::string_view text_;
  std::size_t position_ = 0;
  const char* problem_ = "";
};

/// `content` as the local part of an addr-spec: bare if it is a dot-atom, else quoted.
std::string as_local_part(std::string_view content) {
  const bool is_bare =
      !content.empty() && content.front() != '.' && content.back() != '.' &&
      content.find("..") == std::string_view::npos &&
      std::all_of(content.begin(), content.end(), [](char c) { return c == '.' || is_atext(c) || is_non_ascii(c); });
  if (is_bare) return std::string(content);
  std::string quoted = "\"";
  for (const char c : content) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  quoted += '"';
  return quoted;
}

class MailboxListParser {
 public:
  explicit MailboxListParser(std::string_view value) : lexer_(value) {}

  Result<std::vector<std::string>> parse() {
    if (!advance() || !parse_list()) return std::unexpected(Error{Errc::BadMailboxList, std::move(problem_)});
    if (found_.empty()) return std::unexpected(Error{Errc::BadMailboxList, "no mailbox in it"});
    return std::move(found_);
  }

 private:
  bool fail(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }

  bool advance() { return lexer_.next(token_) || fail(lexer_.problem()); }

  bool expect(char special, const char* problem) { return token_.is(special) ? advance() : fail(problem); }

  /// address-list with the empty elements of section 4.4; groups do not nest.
  bool parse_list() {
    bool in_group = false;
    bool after_element = false;  // a separator must come before the next one
    while (token_.kind != Token::Kind::End) {
      if (token_.is(',')) {
        after_element = false;
        if (!advance()) return false;
      } else if (token_.is(';')) {
        if (!in_group) return fail("a semicolon outside a group");
        in_group = false;
        after_element = true;
        if (!advance()) return false;
      } else if (after_element) {
        return fail("no comma between two mailboxes");
      } else {
        bool began_group = false;
        if (!parse_element(in_group, began_group)) return false;
        in_group = in_group || began_group;
        after_element = !began_group;
      }
    }
    return !in_group || fail("a group without its semicolon");
  }

  /// A mailbox, or the beginning of a group up to its colon.
  bool parse_element(bool in_group, bool& began_group) {
    std::vector<Token> words;  // a display name or a local part: known at the piece behind it
    while (token_.kind == Token::Kind::Word || token_.kind == Token::Kind::Quoted || token_.is('.')) {
      words.push_back(std::move(token_));
      if (!advance()) return false;
    }
    if (token_.is('<')) return advance() && parse_angle_address();
    if (token_.is('@')) return parse_addr_spec(words);
    if (token_.is(':') && !in_group && !words.empty()) {
      began_group = true;
      return advance();
    }
    return fail(words.empty() ? "a character out of place" : "a name without an address");
  }

  /// Behind "<": [obs-route] addr-spec ">".
  bool parse_angle_address() {
    if ((token_.is('@') || token_.is(',')) && !skip_route()) return false;
    std::vector<Token> words;
    while (token_.kind == Token::Kind::Word || token_.kind == Token::Kind::Quoted || token_.is('.')) {
      words.push_back(std::move(token_));
      if (!advance()) return false;
    }
    if (!token_.is('@')) return fail("no address between the angle brackets");
    return parse_addr_spec(words) && expect('>', "an address without its closing angle bracket");
  }

  /// "@a.example,@b.example:" (section 4.4): means nothing any more.
  bool skip_route() {
    std::string ignored;
    while (token_.is('@') || token_.is(',')) {
      const bool names_domain = token_.is('@');
      if (!advance() || (names_domain && !parse_domain(ignored))) return false;
    }
    return expect(':', "a route without its colon");
  }

  /// At the "@" behind the local part's `words`.
  bool parse_addr_spec(const std::vector<Token>& words) {
    std::string content;
    bool wants_word = true;
    for (const Token& word : words) {
      const bool is_dot = word.is('.');
      if (is_dot == wants_word) return fail("a dot out of place before the @");
      content += is_dot ? "." : word.text;
      wants_word = is_dot;
    }
    if (wants_word) return fail(words.empty() ? "nothing before the @" : "a dot out of place before the @");
    std::string domain;
    if (!advance() || !parse_domain(domain)) return false;
    auto address = parse_address(as_local_part(content) + '@' + domain);
    if (!address) return fail(std::move(address.error().detail));
    if (found_.size() == kMaxMailboxes) return fail("too many mailboxes");
    found_.push_back(address->to_string());
    return true;
  }

  /// obs-domain: atoms with dots, comments and spaces between them allowed; or a domain literal.
  bool parse_domain(std::string& domain) {
    domain.clear();
    if (token_.kind == Token::Kind::Literal) {
      domain = std::move(token_.text);
      std::erase_if(domain, is_wsp);
      return advance();
    }
    for (bool wants_word = true;; wants_word = !wants_word) {
      if (wants_word ? token_.kind != Token::Kind::Word : !token_.is('.')) {
        return !wants_word || fail("no domain after the @");
      }
      domain += wants_word ? token_.text : ".";
      if (!advance()) return false;
    }
  }

  Lexer lexer_;
  Token token_;
  std::string problem_;
  std::vector<std::string> found_;
};

}  // namespace

Result<std::vector<std::string>> parse_mailbox_list(std::string_view value) {
  return MailboxListParser(value).parse();
}

}  // namespace danki::mail
