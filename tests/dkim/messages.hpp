#pragma once

#include <string>
#include <vector>

namespace danki::dkim::test {

struct NamedMessage {
  std::string name, content;
};

/// Messages that signers and verifiers have disagreed about, or might.
inline std::vector<NamedMessage> nasty_messages() {
  const std::string head =
      "From: Example Shop <news@example.com>\r\nTo: reader@receiver.test\r\nSubject: Hello\r\n"
      "Date: Mon, 23 Nov 2026 05:49:39 +0000\r\nMessage-ID: <1@example.com>\r\n";
  std::string many_fields = head;
  for (int i = 0; i < 400; ++i) {
    many_fields += "X-Trace-" + std::to_string(i) + ": " + std::string(150, 'x') + "\r\n";
  }
  std::string long_references = head + "References:";
  for (int i = 0; i < 600; ++i) long_references += "\r\n <" + std::to_string(i) + ".abcdefghij@mail.example.com>";
  std::string binary;
  for (int i = 0; i < 4096; ++i) {
    const char c = static_cast<char>(i * 7);
    if (c != '\r' && c != '\n' && c != '\0') binary += c;
    if (i % 97 == 0) binary += "\r\n";
  }
  std::string dots;
  for (int i = 0; i < 2000; ++i) dots += ".\r\n..\r\n. x\r\n";
  return {
      {"plain", head + "\r\nHello.\r\n"},
      {"empty body", head + "\r\n"},
      {"no empty line", head},
      {"only line ends", head + "\r\n\r\n\r\n\r\n\r\n"},
      {"only white space", head + "\r\n \t \r\n\t\r\n   "},
      {"line ends at the end", head + "\r\nHello.\r\n\r\n\r\n"},
      {"white space at line ends", head + "\r\nHello \t \r\n\t \r\nyou\t\r\n \r\n"},
      {"white space inside", head + "\r\n  two  spaces\tand \t tabs  \r\n\tmore\r\n"},
      {"no final line end", head + "\r\nHello."},
      {"no final line end after space", head + "\r\nHello. "},
      {"8-bit", head + "\r\nGr\xC3\xBC\xC3\x9F"
                       "e, \xE6\x9A\x96\xE6\xB0\x97\r\n\xFF\xFE\x80 latin \xA0\r\n"},
      {"binary", head + "\r\n" + binary},
      {"dots", head + "\r\n" + dots},
      {"line of 998 octets", head + "\r\n" + std::string(998, 'x') + "\r\n"},
      {"very long line", head + "\r\n" + std::string(70'000, 'y') + " \r\n"},
      {"large body", head + "\r\n" + std::string(2'000'000, 'z') + "\r\n"},
      {"10,000 empty lines, then text",
       [&] {
         std::string body = head + "\r\n";
         for (int i = 0; i < 10'000; ++i) body += "\r\n";
         return body + "end\r\n";
       }()},
      {"folded header",
       "From:\r\n Example\r\n\t Shop\r\n  <news@example.com>\r\nTo:\treader@receiver.test\t \r\n"
       "Subject:  a \t b\r\n\t\tc  \r\nDate:Mon, 23 Nov 2026 05:49:39 +0000\r\n\r\nHello.\r\n"},
      {"empty values", "From: news@example.com\r\nSubject:\r\nTo: \r\nCc:  \t\r\n\r\nHello.\r\n"},
      {"field names in odd case",
       "FROM: news@example.com\r\nsUbJeCt: x\r\nmessage-id: <1@example.com>\r\n\r\nHello.\r\n"},
      {"8-bit header", "From: \xE6\x9A\x96 <news@example.com>\r\nSubject: \xC3\xA9t\xC3\xA9\r\n\r\nHello.\r\n"},
      {"colons in values",
       "From: news@example.com\r\nSubject: a: b: :c\r\nList-Id: <x.example.com>:\r\n\r\nHello.\r\n"},
      {"every field twice",
       "From: news@example.com\r\nTo: a@receiver.test\r\nTo: b@receiver.test\r\nCc: c@receiver.test\r\n"
       "Cc: d@receiver.test\r\nSubject: one\r\nSubject: two\r\nList-Unsubscribe: <https://example.com/1>\r\n"
       "List-Unsubscribe: <mailto:u@example.com>\r\nReply-To: e@example.com\r\nReply-To: f@example.com\r\n"
       "MIME-Version: 1.0\r\nMIME-Version: 1.0\r\n\r\nHello.\r\n"},
      {"newsletter",
       head + "Cc: x@receiver.test\r\nReply-To: help@example.com\r\nMIME-Version: 1.0\r\n"
              "Content-Type: text/html; charset=iso-2022-jp\r\nContent-Transfer-Encoding: 7bit\r\n"
              "In-Reply-To: <0@example.com>\r\nReferences: <0@example.com>\r\nList-Id: News <news.example.com>\r\n"
              "List-Unsubscribe: <https://example.com/u/1>,\r\n <mailto:u@example.com>\r\n"
              "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nFeedback-ID: 1:2:3:example\r\n"
              "Received: from a by b; Mon, 23 Nov 2026 05:49:39 +0000\r\n\r\n\x1B$B$3$s$K$A$O\x1B(B\r\n"},
      {"huge header section", many_fields + "\r\nHello.\r\n"},
      {"huge folded field", long_references + "\r\n\r\nHello.\r\n"},
  };
}

}  // namespace danki::dkim::test
