#include "mail/long_lines.hpp"

#include "mail/ascii.hpp"
#include "mail/errors.hpp"
#include "mail/mime_walk.hpp"

#include <algorithm>
#include <span>

#include <fmt/format.h>

namespace danki::mail {
namespace {

constexpr std::size_t kFoldedLineBytes = 78;  // RFC 5322 section 2.1.1: what lines should keep to
constexpr std::string_view kCrLf = "\r\n";

/// A line over the limit, without its line end.
struct LongLine {
  std::size_t begin, end;
};

std::vector<LongLine> find_long_lines(std::string_view message, std::size_t max_line) {
  std::vector<LongLine> lines;
  for (std::size_t begin = 0; begin < message.size();) {
    const std::size_t newline = std::min(message.find('\n', begin), message.size());
    const bool has_cr = newline != message.size() && newline > begin && message[newline - 1] == '\r';
    const std::size_t end = has_cr ? newline - 1 : newline;
    if (end - begin > max_line) lines.push_back({begin, end});
    begin = newline + 1;
  }
  return lines;
}

/// Where a header line may be broken: before spaces that follow something, and that something follows. Behind a
/// backslash a space is quoted.
bool may_break_before(std::string_view line, std::size_t at) {
  return is_wsp(line[at]) && !is_wsp(line[at - 1]) && line[at - 1] != '\\';
}

}  // namespace

bool fold_header_line(std::string_view line, std::size_t max_line, Output& out) {
  const std::size_t last = line.find_last_not_of(" \t");
  if (last == std::string_view::npos) return false;
  // A field's name stays with its colon, and with its first word where it can.
  const std::size_t value = is_wsp(line.front()) ? 0 : std::min(line.find(':'), last) + 1;
  std::size_t from = std::min(line.find_first_not_of(" \t", value), last) + 1;
  std::size_t begin = 0;
  while (line.size() - begin > kFoldedLineBytes) {
    std::size_t best = 0;
    for (std::size_t at = from; at < last && at - begin <= max_line; ++at) {
      if (best != 0 && at - begin > kFoldedLineBytes) break;
      if (may_break_before(line, at)) best = at;
    }
    if (best == 0 && begin == 0 && value != 0 && value < last && value <= max_line && line.size() > max_line &&
        is_wsp(line[value])) {
      best = value;
    }
    if (best == 0) break;
    out.put(line.substr(begin, best - begin));
    out.put(kCrLf);
    begin = best;
    from = best + 1;
  }
  out.put(line.substr(begin));
  return line.size() - begin <= max_line;
}

/// Decides, entity by entity, what has to change.
class LineFitter {
 public:
  using Edit = LineFitting::Edit;
  using Action = LineFitting::Action;

  LineFitter(std::string_view message, std::size_t max_line)
      : message_(message), long_lines_(find_long_lines(message, max_line)) {}

  bool has_long_lines() const { return !long_lines_.empty(); }
  std::vector<Edit> decide() {
    walk_mime(message_, [this](const MimeEntity& entity) { look_at(entity); });
    std::sort(edits_.begin(), edits_.end(), [](const Edit& a, const Edit& b) { return a.from < b.from; });
    look_for_the_rest();
    return std::move(edits_);
  }
  /// Why it cannot be done; empty if it can.
  const std::string& refusal() const { return refusal_; }

 private:
  std::span<const LongLine> within(std::size_t begin, std::size_t end) const {
    const auto before = [](const LongLine& line, std::size_t at) { return line.begin < at; };
    const auto first = std::lower_bound(long_lines_.begin(), long_lines_.end(), begin, before);
    return {first, std::lower_bound(first, long_lines_.end(), end, before)};
  }
  void refuse(std::string why) {
    if (refusal_.empty()) refusal_ = std::move(why);
  }
  void edit(std::size_t from, std::size_t to, Action action, std::string text = {}) {
    edits_.push_back({from, to, action, std::move(text)});
  }

  void look_at(const MimeEntity& entity);
  void fit_header(const MimeEntity& entity, std::string_view encoding);
  std::string_view fit_leaf(const MimeEntity& entity);
  void look_for_the_rest();

  std::string_view message_;
  std::vector<LongLine> long_lines_;
  std::vector<Edit> edits_;
  std::string refusal_;
};

void LineFitter::look_at(const MimeEntity& entity) {
  std::string_view encoding;  // a new one
  if (!within(entity.body_begin, entity.body_end).empty()) {
    if (entity.body_begin == entity.header_end) {
      // A first line that is no field ends the section, but encoded it may look like one.
      refuse("there is a line over the limit, and no empty line behind a header section");
    }
    switch (entity.kind) {
      case MimeEntity::Kind::Leaf:
        encoding = fit_leaf(entity);
        break;
      case MimeEntity::Kind::Parts:
        // What was binary only for its long lines need not find a next hop that takes BINARYMIME.
        if (entity.encoding == TransferEncoding::Binary) encoding = "8bit";
        break;
      case MimeEntity::Kind::Sealed:
        refuse(fmt::format("there is a line over the limit in a multipart/{}, which must stay as it is",
                           entity.type.subtype));
        break;
      case MimeEntity::Kind::Opaque:
        refuse("there is a line over the limit in a part whose structure or encoding is not clear");
        break;
    }
  }
  fit_header(entity, encoding);
}

/// Gives the transfer encoding the body gets, if it gets another.
std::string_view LineFitter::fit_leaf(const MimeEntity& entity) {
  const std::size_t begin = entity.body_begin, end = entity.body_end;
  switch (entity.encoding) {
    case TransferEncoding::QuotedPrintable:
      edit(begin, end, Action::WrapQuotedPrintable);
      return {};
    case TransferEncoding::Base64:
      edit(begin, end, Action::WrapBase64);
      return {};
    default:
      break;
  }
  if (entity.type.type == "text") {
    edit(begin, end, Action::QuotedPrintable);
    return "quoted-printable";
  }
  edit(begin, end, Action::Base64);
  return "base64";
}

void LineFitter::fit_header(const MimeEntity& entity, std::string_view encoding) {
  std::string added;
  const bool body_changes = !within(entity.body_begin, entity.body_end).empty();
  if (entity.is_message && body_changes && entity.header->count("MIME-Version") == 0) added = "MIME-Version: 1.0\r\n";

  LongLine replaced{entity.header_end, entity.header_end};
  if (!encoding.empty()) {
    std::string field = fmt::format("Content-Transfer-Encoding: {}\r\n", encoding);
    if (const HeaderField* old = entity.header->first("Content-Transfer-Encoding")) {
      const auto at = static_cast<std::size_t>(old->raw.data() - message_.data());
      replaced = {at, at + old->raw.size()};
      edit(replaced.begin, replaced.end, Action::Put, std::move(field));
    } else {
      added += field;
    }
  }
  for (const LongLine& line : within(entity.header_begin, entity.header_end)) {
    if (line.begin >= replaced.begin && line.begin < replaced.end) continue;
    edit(line.begin, line.end, Action::Fold);
  }
  if (!added.empty()) edit(entity.header_end, entity.header_end, Action::Put, std::move(added));
}

/// Long lines that no edit is about stand before the first part or behind the last one.
void LineFitter::look_for_the_rest() {
  auto edit = edits_.begin();
  for (const LongLine& line : long_lines_) {
    while (edit != edits_.end() && edit->to <= line.begin) ++edit;
    if (edit == edits_.end() || edit->from > line.begin) {
      return refuse("there is a line over the limit between the parts of a multipart");
    }
  }
}

Result<LineFitting> LineFitting::plan(std::string_view message, std::size_t max_line) {
  LineFitting fitting(message, max_line);
  fitting.bytes_ = message.size();
  LineFitter fitter(message, max_line);
  if (!fitter.has_long_lines()) return fitting;
  fitting.edits_ = fitter.decide();
  if (!fitter.refusal().empty()) return std::unexpected(Error{Errc::LongLine, fitter.refusal()});
  for (const Edit& edit : fitting.edits_) {
    Output counted;
    if (!fitting.run(edit, counted)) {
      const char* const why = edit.action == Action::Fold ? "a header line over the limit has no spaces to fold it at"
                                                          : "there is a line over the limit in a part whose "
                                                            "quoted-printable or base64 is not well formed";
      return std::unexpected(Error{Errc::LongLine, why});
    }
    fitting.bytes_ = fitting.bytes_ - (edit.to - edit.from) + counted.bytes();
  }
  return fitting;
}

bool LineFitting::run(const Edit& edit, Output& out) const {
  const std::string_view old = message_.substr(edit.from, edit.to - edit.from);
  switch (edit.action) {
    case Action::Put:
      out.put(edit.text);
      return true;
    case Action::Fold:
      return fold_header_line(old, max_line_, out);
    case Action::QuotedPrintable:
      encode_quoted_printable(old, out);
      return true;
    case Action::Base64:
      encode_base64(old, out);
      return true;
    case Action::WrapQuotedPrintable:
      return rewrap_quoted_printable(old, max_line_, out);
    case Action::WrapBase64:
      return rewrap_base64(old, out);
  }
  return false;
}

std::string LineFitting::write() const {
  std::string fitted;
  fitted.reserve(bytes_);
  Output out(&fitted);
  std::size_t done = 0;
  for (const Edit& edit : edits_) {
    out.put(message_.substr(done, edit.from - done));
    run(edit, out);
    done = edit.to;
  }
  out.put(message_.substr(done));
  return fitted;
}

}  // namespace danki::mail
