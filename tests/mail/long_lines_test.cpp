#include "mail/long_lines.hpp"

#include "tests/mail/mime_decode.hpp"

#include <chrono>

#include <gtest/gtest.h>

namespace danki::mail {
namespace {

const std::string kLong(1200, 'x');

std::string soft(std::size_t octets) {
  std::string text;
  for (; octets > 75; octets -= 75) text += std::string(75, 'x') + "=\r\n";
  return text + std::string(octets, 'x');
}
const std::string kSoft = soft(1200);

/// What comes out, after a look at whether it means the same.
std::string fitted(const std::string& message) {
  const auto plan = LineFitting::plan(message);
  if (!plan) return "refused: " + plan.error().detail;
  const std::string result = plan->write();
  EXPECT_EQ(result.size(), plan->bytes());
  EXPECT_LE(test::longest_line(result), kMaxTextLineBytes);
  EXPECT_EQ(test::read_message(result), test::read_message(message));
  return result;
}

bool is_refused(const std::string& message, std::string_view why) {
  const std::string result = fitted(message);
  return result.starts_with("refused: ") && result.find(why) != std::string::npos;
}

TEST(LongLines, LeavesAMessageWithoutAsItIs) {
  const std::string message = "From: a@example.com\r\n\r\n" + std::string(998, 'x') + "\r\n";
  const auto plan = LineFitting::plan(message);
  ASSERT_TRUE(plan);
  EXPECT_FALSE(plan->changes_anything());
  EXPECT_EQ(plan->write(), message);
}

TEST(LongLines, QuotesTextAndSaysSo) {
  EXPECT_EQ(fitted("Subject: s\r\n\r\nshort =\r\n" + kLong + "\r\nend"),
            "Subject: s\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nshort =3D\r\n" +
                kSoft + "\r\nend");
  EXPECT_EQ(
      fitted("mime-version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\nContent-Type: text/html\r\n\r\n" + kLong),
      "mime-version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\nContent-Type: text/html\r\n\r\n" + kSoft);
  EXPECT_EQ(fitted("\r\n" + kLong), "MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + kSoft);
}

TEST(LongLines, EncodesAllElseInBase64) {
  const std::string result = fitted("MIME-Version: 1.0\r\nContent-Type: application/json\r\n\r\n{" + kLong + "}\r\n");
  EXPECT_EQ(result.substr(0, 124),
            "MIME-Version: 1.0\r\nContent-Type: application/json\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            "e3h4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4");
  EXPECT_TRUE(result.ends_with("\r\n"));
}

TEST(LongLines, WrapsWhatIsEncodedAlready) {
  const std::string head = "MIME-Version: 1.0\r\nContent-Transfer-Encoding: ";
  EXPECT_EQ(fitted(head + "quoted-printable\r\n\r\n" + kLong + "=3D\r\n"),
            head + "quoted-printable\r\n\r\n" + kSoft + "=\r\n=3D\r\n");
  const std::string base64 = fitted(head + "base64\r\nContent-Type: image/png\r\n\r\n" + kLong + "\r\n");
  EXPECT_EQ(test::longest_line(base64), 76u);
  EXPECT_TRUE(is_refused(head + "base64\r\n\r\n" + kLong + "-\r\n", "not well formed"));
  EXPECT_TRUE(is_refused(head + "quoted-printable\r\n\r\n" + kLong + "=x\r\n", "not well formed"));
  EXPECT_TRUE(is_refused(head + "x-uuencode\r\n\r\n" + kLong + "\r\n", "not clear"));
  EXPECT_TRUE(is_refused(head + "8bit\r\nContent-Transfer-Encoding: base64\r\n\r\n" + kLong + "\r\n", "not clear"));
}

TEST(LongLines, ChangesOnlyThePartsThatHaveThem) {  // RFC 2046 section 5.1
  const std::string head =
      "Content-Type: multipart/mixed; boundary=outer\r\nContent-Transfer-Encoding: "
      "binary\r\n\r\npreamble\r\n--outer\r\n"
      "Content-Type: multipart/alternative; boundary=\"outer in\"\r\n\r\n--outer in\r\n\r\nplain "
      "--outer\r\n--outerx\r\n"
      "--outer in  \r\nContent-Type: text/html\r\n\r\n";
  const std::string middle = "\r\n--outer in--\r\nepilogue\r\n--outer\r\nContent-Type: image/x\r\n\r\n";
  const std::string result = fitted(head + kLong + middle + kLong + "\r\n--outer--\r\nepilogue\r\n");
  std::string want_head = head;
  want_head.replace(want_head.find("binary\r\n"), 8, "8bit\r\nMIME-Version: 1.0\r\n");
  want_head.insert(want_head.size() - 2, "Content-Transfer-Encoding: quoted-printable\r\n");
  std::string want_middle = middle;
  want_middle.insert(want_middle.size() - 2, "Content-Transfer-Encoding: base64\r\n");
  EXPECT_TRUE(result.starts_with(want_head + kSoft + want_middle + "eHh4")) << result;
  EXPECT_TRUE(result.ends_with("eHh4\r\n--outer--\r\nepilogue\r\n")) << result;
}

TEST(LongLines, CannotMakeADelimiterByAccident) {
  const std::string head = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b=3D\r\n\r\n--b=3D\r\n";
  const std::string body =
      std::string(75, 'x') + "--b=3D" + std::string(1000, ' ') + "x\r\n--b=\r\n" + std::string(75, 'x');
  const std::string end = "\r\n--b=3D--\r\n";
  EXPECT_NE(fitted(head + "\r\n" + body + "--b=3D" + end).substr(0, 7), "refused");
  EXPECT_NE(fitted(head + "Content-Transfer-Encoding: quoted-printable\r\n\r\n" + std::string(75, 'x') + "--b=3D" +
                   kLong + end)
                .substr(0, 7),
            "refused");
}

TEST(LongLines, LeavesSignedAndEncryptedPartsAlone) {  // RFC 1847
  const std::string inner =
      "--s\r\n\r\n" + kLong + "\r\n--s\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--s--\r\n";
  for (const std::string kind : {"signed", "encrypted"}) {
    EXPECT_TRUE(is_refused("Content-Type: multipart/" + kind + "; boundary=s\r\n\r\n" + inner, "multipart/" + kind));
    EXPECT_TRUE(is_refused("Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/" + kind +
                               "; boundary=s\r\n\r\n" + inner + "--o--\r\n",
                           "multipart/" + kind));
  }
  // Beside one, parts may change; and the header in front of one is not what it signs.
  const std::string sealed = "Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\nshort\r\n--s--\r\n";
  const std::string head = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n";
  EXPECT_EQ(fitted(head + sealed + "--o\r\n\r\n" + kLong + "\r\n--o--\r\n"),
            head + sealed + "--o\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + kSoft + "\r\n--o--\r\n");
  EXPECT_EQ(fitted("X-Long: a " + std::string(990, 'x') + " b\r\n" + sealed),
            "X-Long: a\r\n " + std::string(990, 'x') + "\r\n b\r\n" + sealed);
}

TEST(LongLines, EncodesInsideAMessageNotTheMessage) {  // RFC 2046 section 5.2.1
  const std::string head = "MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\n";
  EXPECT_EQ(
      fitted(head + "Subject: s\r\n\r\n" + kLong + "\r\n"),
      head + "Subject: s\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + kSoft + "\r\n");
  const std::string sealed = "Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\n" + kLong + "\r\n--s--\r\n";
  EXPECT_TRUE(is_refused(head + sealed, "multipart/signed"));
  for (const std::string other : {"partial", "external-body", "delivery-status"}) {
    EXPECT_TRUE(is_refused("Content-Type: message/" + other + "\r\n\r\nX: y\r\n\r\n" + kLong + "\r\n", "not clear"));
  }
  const std::string digest =
      "MIME-Version: 1.0\r\nContent-Type: multipart/digest; boundary=d\r\n\r\n--d\r\n\r\nSubject: s\r\n";
  EXPECT_EQ(
      fitted(digest + "\r\n" + kLong + "\r\n--d--\r\n"),
      digest + "MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + kSoft + "\r\n--d--\r\n");
}

TEST(LongLines, RefusesWhatIsInNoPart) {
  const std::string head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
  EXPECT_TRUE(is_refused(head + kLong + "\r\n--b\r\n\r\nx\r\n--b--\r\n", "between the parts"));
  EXPECT_TRUE(is_refused(head + "--b\r\n\r\nx\r\n--b--\r\n" + kLong + "\r\n", "between the parts"));
  EXPECT_TRUE(is_refused(head + kLong, "between the parts"));
  EXPECT_TRUE(is_refused(head + "--b\r\n\r\nx\r\n--b" + std::string(1000, ' ') + "\r\n\r\ny\r\n", "between the parts"));
  EXPECT_TRUE(is_refused("Content-Type: multipart/mixed\r\n\r\n" + kLong + "\r\n", "not clear"));
  EXPECT_TRUE(is_refused("Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\n" + kLong + "\r\n", "not clear"));
  EXPECT_TRUE(is_refused("Subject: s\r\nno field here\r\n" + kLong + "\r\n", "no empty line"));
  EXPECT_FALSE(fitted(head + "--b\r\n\r\n" + kLong).starts_with("refused")) << "a last part without its end is one";
}

TEST(LongLines, FoldsHeaderLines) {  // RFC 5322 section 2.2.3
  struct Case {
    std::string_view name;
    std::string line, want;
  };
  const std::string x60(60, 'x'), x990(990, 'x'), x995(995, 'x');
  for (const Case& c : {
           Case{"at 78", "References: " + x60 + " " + x60 + " y", "References: " + x60 + "\r\n " + x60 + " y"},
           Case{"not at the name", "Subject:" + x990 + " y", "Subject:" + x990 + "\r\n y"},
           Case{"behind the name if need be", "Subject: " + x995 + " y", "Subject:\r\n " + x995 + "\r\n y"},
           Case{"space before the colon", "Subject : " + x995 + " y", "Subject :\r\n " + x995 + "\r\n y"},
           Case{"a continuation", "\t" + x60 + "\t" + x60, "\t" + x60 + "\r\n\t" + x60},
           Case{"several blanks stay together", "A: " + x60 + "  \t" + x60 + "  ",
                "A: " + x60 + "\r\n  \t" + x60 + "  "},
           Case{"not behind a backslash", "A: " + x60 + "\\ " + x60 + " y", "A: " + x60 + "\\ " + x60 + "\r\n y"},
           Case{"not if it helps nothing", "Subject: " + x60 + x60, "Subject: " + x60 + x60},
       }) {
    SCOPED_TRACE(c.name);
    std::string folded;
    Output out(&folded);
    EXPECT_TRUE(fold_header_line(c.line, 998, out));
    EXPECT_EQ(folded, c.want);
  }
  for (const std::string& line : {"Subject: " + std::string(1000, 'x'), "Subject: x" + std::string(1000, ' '),
                                  std::string(1200, ' '), std::string(1200, 'x'), std::string(1200, 'x') + ": y"}) {
    Output out;
    EXPECT_FALSE(fold_header_line(line, 998, out)) << line.substr(0, 12);
  }
  EXPECT_TRUE(is_refused("Subject: " + kLong + "\r\n\r\nbody\r\n", "no spaces"));
}

TEST(LongLines, ReplacesAnEncodingFieldThatIsTooLongItself) {
  const std::string result =
      fitted("MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit (" + std::string(1000, 'c') + ")\r\n\r\n" + kLong);
  EXPECT_EQ(result, "MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + kSoft);
}

/// Depth, many parts, many header lines, delimiters that look like fields: each would be slow if looked at again for
/// every part around it.
TEST(LongLines, TakesLinearTime) {
  const auto begin = std::chrono::steady_clock::now();
  std::string fields = "Content-Type: multipart/mixed; boundary=\"b:\"\r\n\r\n", nested, many;
  while (fields.size() < (8u << 20)) fields += "--b:\r\n";
  for (int i = 0; i < 100'000; ++i) nested += "Content-Type: message/rfc822\r\n\r\n";
  many = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
  while (many.size() < (8u << 20)) many += "--b\r\n\r\n" + kLong + "\r\n";
  for (std::string* text : {&fields, &nested, &many}) {
    *text += kLong + "\r\n";
    (void)LineFitting::plan(*text);
  }
  EXPECT_TRUE(is_refused(nested, "not clear"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

}  // namespace
}  // namespace danki::mail
