#include "mail/content_type.hpp"

#include <gtest/gtest.h>

namespace danki::mail {
namespace {

TEST(ContentType, ReadsTypeAndBoundary) {  // RFC 2045 section 5.1
  struct Case {
    std::string_view value, type, subtype, boundary;
  };
  for (const Case& c : {
           Case{"text/plain; charset=utf-8", "text", "plain", ""},
           Case{" Multipart/MIXED; boundary=abc", "multipart", "mixed", "abc"},
           Case{"multipart/mixed; boundary=\"a b:c\"", "multipart", "mixed", "a b:c"},
           Case{"multipart/mixed; boundary=\"a\\\"b\"", "multipart", "mixed", "a\"b"},
           Case{"multipart/mixed; charset=\"x; boundary=no\"; boundary=yes", "multipart", "mixed", "yes"},
           Case{"multipart/mixed;\r\n\tboundary=abc; x", "multipart", "mixed", "abc"},
           Case{"multipart/mixed;\r\n boundary=\"a\r\n b\"", "multipart", "mixed", "a b"},
           Case{"multipart/mixed (a (nested) comment); boundary=abc (another)", "multipart", "mixed", "abc"},
           Case{"multipart/mixed; boundary=----=_Part_1.2?", "multipart", "mixed", "----=_Part_1.2?"},
           Case{"multipart/mixed; boundary=\"abc \"", "multipart", "mixed", "abc"},
           Case{"multipart/mixed; boundary=abc;", "multipart", "mixed", "abc"},
           // Readers may disagree about these.
           Case{"multipart/mixed; boundary=a; boundary=b", "multipart", "mixed", ""},
           Case{"multipart/mixed; boundary*0=a; boundary*1=b", "multipart", "mixed", ""},
           Case{"multipart/mixed; boundary=a b", "multipart", "mixed", ""},
           Case{"multipart/mixed; boundary=a@b", "multipart", "mixed", ""},
           Case{"multipart/mixed; boundary=\"a", "multipart", "mixed", ""},
           Case{"multipart/mixed boundary=a", "multipart", "mixed", ""},
           Case{"multipart/mixed; boundary=", "multipart", "mixed", ""},
       }) {
    SCOPED_TRACE(c.value);
    const auto content_type = parse_content_type(c.value);
    ASSERT_TRUE(content_type);
    EXPECT_TRUE(content_type->is(c.type, c.subtype));
    EXPECT_EQ(content_type->boundary, c.boundary);
  }
  EXPECT_EQ(parse_content_type("multipart/mixed; boundary=" + std::string(201, 'x'))->boundary, "");
  for (const std::string_view bad : {"", "text", "/plain", "text/", "text plain", "(text/plain", "\"text\"/plain"}) {
    EXPECT_FALSE(parse_content_type(bad)) << bad;
  }
}

TEST(ContentType, ReadsTransferEncodings) {  // RFC 2045 section 6.1
  EXPECT_EQ(parse_transfer_encoding(" 7BIT"), TransferEncoding::SevenBit);
  EXPECT_EQ(parse_transfer_encoding("8bit (a comment)"), TransferEncoding::EightBit);
  EXPECT_EQ(parse_transfer_encoding("binary"), TransferEncoding::Binary);
  EXPECT_EQ(parse_transfer_encoding("Quoted-Printable\r\n "), TransferEncoding::QuotedPrintable);
  EXPECT_EQ(parse_transfer_encoding("base64"), TransferEncoding::Base64);
  for (const std::string_view unknown : {"", "x-uuencode", "base64 8bit", "8bit;", "base64\""}) {
    EXPECT_EQ(parse_transfer_encoding(unknown), TransferEncoding::Unknown) << unknown;
  }
}

}  // namespace
}  // namespace danki::mail
