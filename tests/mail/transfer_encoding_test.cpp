#include "mail/transfer_encoding.hpp"

#include "tests/mail/mime_decode.hpp"

#include <gtest/gtest.h>

namespace danki::mail {
namespace {

std::string qp(std::string_view text) {
  std::string result;
  Output out(&result);
  encode_quoted_printable(text, out);
  EXPECT_EQ(out.bytes(), result.size());
  EXPECT_LE(test::longest_line(result), 76u);
  EXPECT_EQ(test::decode_quoted_printable(result), text);
  return result;
}

std::string as_base64(std::string_view octets) {
  std::string result;
  Output out(&result);
  encode_base64(octets, out);
  EXPECT_LE(test::longest_line(result), 76u);
  EXPECT_EQ(test::decode_base64(result), octets);
  return result;
}

std::optional<std::string> rewrapped_quoted(std::string_view body) {
  std::string result;
  Output out(&result);
  if (!rewrap_quoted_printable(body, 100, out)) return std::nullopt;
  EXPECT_LE(test::longest_line(result), 100u);
  EXPECT_EQ(test::decode_quoted_printable(result), test::decode_quoted_printable(body));
  return result;
}

TEST(TransferEncoding, QuotesWhatIsNotPlain) {  // RFC 2045 section 6.7
  EXPECT_EQ(qp("plain text, tab\tand blank\r\n"), "plain text, tab\tand blank\r\n");
  EXPECT_EQ(qp("a=b\xC3\xA9\x7F\r\n"), "a=3Db=C3=A9=7F\r\n");
  EXPECT_EQ(qp("at the end: \r\nand\t\r\nlast "), "at the end:=20\r\nand=09\r\nlast=20");
  EXPECT_EQ(qp("  \r\n\r\n"), " =20\r\n\r\n");
  EXPECT_EQ(qp("--boundary\r\na-b\r\n"), "=2D-boundary\r\na-b\r\n");
  EXPECT_EQ(qp("bare \r and \n stay"), "bare =0D and =0A stay");
  EXPECT_EQ(qp(""), "");
}

TEST(TransferEncoding, BreaksQuotedLinesSoftly) {
  const std::string x75(75, 'x');
  EXPECT_EQ(qp(x75 + "\r\n"), x75 + "\r\n");
  EXPECT_EQ(qp(x75 + "yz\r\n"), x75 + "=\r\nyz\r\n");
  EXPECT_EQ(qp(x75 + "--outer\r\n"), x75 + "=\r\n=2D-outer\r\n");
  EXPECT_EQ(qp(std::string(73, 'x') + "\xE6\x9A\x96\r\n"), std::string(73, 'x') + "=\r\n=E6=9A=96\r\n");
  qp(std::string(5000, '\xFF') + "\r\n" + std::string(5000, ' ') + "\r\n" + std::string(5000, '-'));
}

TEST(TransferEncoding, EncodesBase64InLines) {  // RFC 4648 section 10
  EXPECT_EQ(as_base64(""), "");
  EXPECT_EQ(as_base64("f"), "Zg==");
  EXPECT_EQ(as_base64("fo"), "Zm8=");
  EXPECT_EQ(as_base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(as_base64("foo\r\n"), "Zm9vDQo=\r\n");
  EXPECT_EQ(as_base64(std::string(57, 'x')).size(), 76u);
  EXPECT_EQ(as_base64(std::string(58, 'x')).substr(76), "\r\neA==");
  as_base64(std::string(1000, '\xFF') + "\r\n" + std::string(7, '\x01'));
}

TEST(TransferEncoding, WrapsBase64Anew) {
  std::string result;
  Output out(&result);
  EXPECT_TRUE(rewrap_base64("Zm 9v\r\n" + std::string(100, 'A') + "\t==\r\n", out));
  EXPECT_EQ(result, "Zm9v" + std::string(72, 'A') + "\r\n" + std::string(28, 'A') + "==\r\n");
  Output ignored;
  EXPECT_FALSE(rewrap_base64(std::string(200, 'A') + "--outer", ignored));
}

TEST(TransferEncoding, BreaksOnlyLongQuotedPrintableLines) {
  const std::string x200(200, 'x'), x90(90, 'x');
  EXPECT_EQ(rewrapped_quoted(x90 + "=\r\n" + x90 + "\r\n"), x90 + "=\r\n" + x90 + "\r\n");
  const std::string broken = std::string(75, 'x') + "=\r\n" + std::string(75, 'x') + "=\r\n" + std::string(50, 'x');
  EXPECT_EQ(rewrapped_quoted(x200 + "\r\n--y\r\n"), broken + "\r\n--y\r\n");
  EXPECT_EQ(rewrapped_quoted(x200 + "=\r\ny"), broken + "=\r\ny");
  EXPECT_EQ(rewrapped_quoted(x200 + "=  \r\ny"), broken + "=\r\ny");
  EXPECT_EQ(rewrapped_quoted(x200 + " \t\r\ny"), broken + " \t\r\ny");
  EXPECT_EQ(rewrapped_quoted(x200 + std::string(300, ' ') + "\r\n"), broken + "\r\n");
  EXPECT_EQ(rewrapped_quoted(std::string(74, 'x') + "=3D" + std::string(74, '-') + "\r\n"),
            std::string(74, 'x') + "=\r\n=3D" + std::string(72, '-') + "=\r\n=2D-\r\n");
  for (const char* bad : {"=zz", "=3", "==", "= "}) EXPECT_FALSE(rewrapped_quoted(bad + x200)) << bad;
  EXPECT_FALSE(rewrapped_quoted(x200 + "=="));
}

}  // namespace
}  // namespace danki::mail
