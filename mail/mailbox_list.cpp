#include "mail/mailbox_list.hpp"

#include "base/utf8.hpp"
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

using Tokens = std::vector<Token>;

constexpr std::size_t kMaxPieces = 1'000;  // of one name or address: bounds the memory for tokens

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
    Tokens pieces;  // a name or an address: known at the piece behind it
    if (!collect(pieces)) return false;
    if (token_.is('<')) return advance() && parse_angle_address() && judge_display_name(pieces);
    if (pieces.empty()) return fail("a character out of place");
    if (holds_at(pieces)) {
      std::size_t used = 0;
      std::string mailbox;
      if (!parse_addr_spec(pieces, used, mailbox)) return false;
      return used == pieces.size() ? keep(std::move(mailbox)) : fail("no comma between two mailboxes");
    }
    const bool is_phrase = std::none_of(pieces.begin(), pieces.end(), is_literal);
    if (!token_.is(':') || in_group || !is_phrase) return fail("a name without an address");
    began_group = true;
    return advance();
  }

  bool collect(Tokens& pieces) {
    while (token_.kind == Token::Kind::Word || token_.kind == Token::Kind::Quoted || is_literal(token_) ||
           token_.is('.') || token_.is('@')) {
      if (pieces.size() == kMaxPieces) return fail("too many words before an address");
      pieces.push_back(std::move(token_));
      if (!advance()) return false;
    }
    return true;
  }

  static bool is_literal(const Token& token) { return token.kind == Token::Kind::Literal; }

  static bool holds_at(const Tokens& pieces) {
    return std::any_of(pieces.begin(), pieces.end(), [](const Token& piece) { return piece.is('@'); });
  }

  bool keep(std::string mailbox) {
    if (found_.size() == kMaxMailboxes) return fail("too many mailboxes");
    found_.push_back(std::move(mailbox));
    return true;
  }

  /// Behind "<": [obs-route] addr-spec ">".
  bool parse_angle_address() {
    Tokens pieces;
    if (!collect(pieces)) return false;
    const bool has_route = token_.is(',') || token_.is(':') || (!pieces.empty() && pieces.front().is('@'));
    if (has_route && !skip_route(pieces)) return false;
    if (!holds_at(pieces)) return fail("no address between the angle brackets");
    std::size_t used = 0;
    std::string mailbox;
    if (!parse_addr_spec(pieces, used, mailbox) || !keep(std::move(mailbox))) return false;
    constexpr const char* kNoEnd = "an address without its closing angle bracket";
    return used == pieces.size() ? expect('>', kNoEnd) : fail(kNoEnd);
  }

  /// "@a.example,@b.example:" (section 4.4): means nothing any more. `pieces` are what stands before its first comma or
  /// colon, and then what stands behind its colon.
  bool skip_route(Tokens& pieces) {
    for (bool names_host = false;;) {
      if (!pieces.empty()) {
        std::size_t used = 1;
        std::string ignored;
        if (!pieces.front().is('@')) break;
        if (!parse_domain(pieces, used, ignored)) return false;
        if (used != pieces.size()) return fail("a route without its colon");
        names_host = true;
      }
      const bool is_last = token_.is(':');
      if (is_last && !names_host) break;
      if (!is_last && !token_.is(',')) return fail("a route without its colon");
      pieces.clear();
      if (!advance() || !collect(pieces)) return false;
      if (is_last) return true;
    }
    return fail("no address between the angle brackets");
  }

  /// An addr-spec that `pieces` begin with; `used` is where it ends.
  bool parse_addr_spec(const Tokens& pieces, std::size_t& used, std::string& mailbox) {
    std::string content;
    bool wants_word = true;
    for (used = 0; used < pieces.size() && !pieces[used].is('@'); ++used) {
      const Token& piece = pieces[used];
      const bool is_dot = piece.is('.');
      if (is_literal(piece)) return fail("a square bracket out of place before the @");
      if (is_dot == wants_word) return fail("a dot out of place before the @");
      content += is_dot ? "." : piece.text;
      wants_word = is_dot;
    }
    if (wants_word) return fail(used == 0 ? "nothing before the @" : "a dot out of place before the @");
    std::string domain;
    if (!parse_domain(pieces, ++used, domain)) return false;
    auto address = parse_address(as_local_part(content) + '@' + domain);
    if (!address) return fail(std::move(address.error().detail));
    mailbox = address->to_string();
    return true;
  }

  /// From `pieces[at]` on, obs-domain: atoms with dots, comments and spaces between them allowed; or a domain literal.
  bool parse_domain(const Tokens& pieces, std::size_t& at, std::string& domain) {
    if (at < pieces.size() && is_literal(pieces[at])) {
      domain = pieces[at++].text;
      std::erase_if(domain, is_wsp);
      return true;
    }
    for (bool wants_word = true;; wants_word = !wants_word, ++at) {
      const bool fits = at < pieces.size() && (wants_word ? pieces[at].kind == Token::Kind::Word : pieces[at].is('.'));
      if (!fits) return !wants_word || fail("no domain after the @");
      domain += wants_word ? pieces[at].text : ".";
    }
  }

  /// `name` stands before the address that was found last. RFC 5322 has no square brackets and no "@" in it unless
  /// quoted; people write them, and are understood. But a reader that begins with what looks like an address, or has
  /// other rules for brackets, must not come to another address than the one that the sender is judged by.
  bool judge_display_name(const Tokens& name) {
    if (!std::all_of(name.begin(), name.end(), is_harmless_if_literal)) {
      return fail("more than words between square brackets: quote the name");
    }
    for (std::size_t i = 0; i < name.size(); ++i) {
      if (!name[i].is('@') || !may_begin_domain(name, i + 1)) continue;
      std::size_t used = 0;
      std::string spelled;
      const bool is_the_same =
          parse_addr_spec(name, used, spelled) && used == name.size() && iequals(spelled, found_.back());
      return is_the_same || fail("another address in the name before an address: quote the name");
    }
    return true;
  }

  static bool is_harmless_if_literal(const Token& token) {
    if (!is_literal(token)) return true;
    const std::string_view inside = std::string_view(token.text).substr(1, token.text.size() - 2);
    return std::none_of(inside.begin(), inside.end(), [](char c) {
      return is_control(c) || std::string_view("<>,;:@\"()[]\\").find(c) != std::string_view::npos;
    });
  }

  /// True if somebody might read a domain of the Internet from `pieces[at]` on, up to the next "@": ASCII words without a
  /// dot are none. Some readers join words over spaces and comments, and others have dots that are not ASCII.
  static bool may_begin_domain(const Tokens& pieces, std::size_t at) {
    for (; at < pieces.size() && !pieces[at].is('@'); ++at) {
      if (pieces[at].kind != Token::Kind::Word || !is_ascii(pieces[at].text)) return true;
    }
    return false;
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
