#include "dkim/signer.hpp"

#include "dkim/canonical.hpp"
#include "dkim/errc.hpp"
#include "mail/header_block.hpp"
#include "tests/dkim/messages.hpp"
#include "tests/dkim/test_keys.hpp"

#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace danki::dkim {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr TimePoint kNow{std::chrono::milliseconds(1'795'413'000'999)};

std::string without_folding(std::string_view field) {
  std::string text;
  for (const char c : field) {
    if (c != '\r' && c != '\n' && c != '\t') text += c;
  }
  return text;
}

std::string tag(std::string_view field, std::string_view name) {
  const std::string text = ";" + without_folding(field.substr(field.find(':') + 1)) + ";";
  std::string plain;
  for (const char c : text) {
    if (c != ' ') plain += c;
  }
  const std::size_t begin = plain.find(";" + std::string(name) + "=");
  if (begin == std::string::npos) return "(none)";
  const std::size_t value = begin + name.size() + 2;
  return plain.substr(value, plain.find(';', value) - value);
}

TEST(Signer, WritesTheTagsOfRfc6376) {
  test::KeyFolder folder;
  Signer signer = test::make_signer({folder.add("example.com", "s1", test::rsa_key(2048))});
  const auto signature = signer.sign("example.com",
                                     "From: a@example.com\r\nReceived: x\r\nReturn-Path: <a@example.com>\r\n"
                                     "Subject: x\r\nX-Other: y\r\n\r\n",
                                     kNow);
  ASSERT_TRUE(signature) << signature.error().message();
  EXPECT_EQ(signature->selectors, "example.com/s1");
  const std::string& field = signature->header_lines;
  EXPECT_THAT(field, StartsWith("DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;"));
  EXPECT_TRUE(field.ends_with("\r\n"));
  EXPECT_EQ(tag(field, "v"), "1");
  EXPECT_EQ(tag(field, "a"), "rsa-sha256");
  EXPECT_EQ(tag(field, "c"), "relaxed/relaxed");
  EXPECT_EQ(tag(field, "d"), "example.com");
  EXPECT_EQ(tag(field, "s"), "s1");
  EXPECT_EQ(tag(field, "t"), "1795413000");
  EXPECT_EQ(tag(field, "h"), "From:From:Subject");
  EXPECT_EQ(tag(field, "bh"), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");  // RFC 6376 section 3.4.4: empty body
  EXPECT_EQ(tag(field, "b").size(), 344u);
  EXPECT_EQ(tag(field, "l"), "(none)");
  EXPECT_EQ(tag(field, "x"), "(none)");
}

TEST(Signer, CoversEachOccurrenceAndOverSignsFrom) {
  test::KeyFolder folder;
  Signer signer = test::make_signer({folder.add("example.com", "s1", test::ed25519_key())});
  const auto signature =
      signer.sign("example.com",
                  "to: a\r\nFROM: a@example.com\r\nTo: b\r\nList-Unsubscribe-Post: x\r\ncc: c\r\nTO: d\r\n\r\n", kNow);
  ASSERT_TRUE(signature);
  EXPECT_EQ(tag(signature->header_lines, "h"), "From:From:To:To:To:Cc:List-Unsubscribe-Post");
}

TEST(Signer, FoldsBelow78Columns) {
  test::KeyFolder folder;
  Signer signer =
      test::make_signer({folder.add("mail.a-rather-long-label-for-a-domain.example.com",
                                    "selector-of-some-length-2026-11", test::rsa_key(4096)),
                         folder.add("mail.a-rather-long-label-for-a-domain.example.com", "e", test::ed25519_key())});
  for (const auto& message : test::nasty_messages()) {
    SCOPED_TRACE(message.name);
    const auto signature = signer.sign("mail.a-rather-long-label-for-a-domain.example.com", message.content, kNow);
    ASSERT_TRUE(signature) << signature.error().message();
    const mail::HeaderBlock block = mail::HeaderBlock::parse(signature->header_lines);
    EXPECT_EQ(block.fields().size(), 2u);
    EXPECT_EQ(block.size(), signature->header_lines.size());
    for (std::string_view rest = signature->header_lines; !rest.empty();) {
      const std::string_view line = rest.substr(0, rest.find("\r\n"));
      std::size_t columns = 0;
      for (const char c : line) columns += c == '\t' ? 8 : 1;
      EXPECT_LT(columns, 78u) << line;
      rest.remove_prefix(line.size() + 2);
    }
  }
}

TEST(Signer, SignsWithEveryKeyOfTheDomainInTheirOrder) {
  test::KeyFolder folder;
  Signer signer = test::make_signer({folder.add("example.com", "rsa", test::rsa_key(2048)),
                                     folder.add("example.org", "other", test::ed25519_key()),
                                     folder.add("example.com", "ed", test::ed25519_key())});
  const auto signature = signer.sign("example.com", "From: a@example.com\r\n\r\n", kNow);
  ASSERT_TRUE(signature);
  EXPECT_EQ(signature->selectors, "example.com/rsa example.com/ed");
  const mail::HeaderBlock block = mail::HeaderBlock::parse(signature->header_lines);
  ASSERT_EQ(block.fields().size(), 2u);
  EXPECT_EQ(tag(block.fields()[0].raw, "a"), "rsa-sha256");
  EXPECT_EQ(tag(block.fields()[1].raw, "a"), "ed25519-sha256");
}

TEST(Signer, GivesNothingWithoutAKeyForTheDomain) {
  test::KeyFolder folder;
  Signer signer = test::make_signer({folder.add("example.com", "s1", test::ed25519_key())});
  const auto signature = signer.sign("sub.example.com", "From: a@sub.example.com\r\n\r\n", kNow);
  ASSERT_TRUE(signature);
  EXPECT_EQ(signature->header_lines, "");
  EXPECT_EQ(signature->selectors, "");
}

TEST(Signer, RefusesMoreFieldsThanItSees) {
  test::KeyFolder folder;
  Signer signer = test::make_signer({folder.add("example.com", "s1", test::ed25519_key())});
  std::string message;
  for (std::size_t i = 0; i <= mail::kMaxHeaderFields; ++i) message += "X: y\r\n";
  const auto signature = signer.sign("example.com", message + "From: a@example.com\r\n\r\n", kNow);
  ASSERT_FALSE(signature);
  EXPECT_EQ(signature.error().code, Errc::TooManyFields);
}

TEST(Signer, IsRepeatable) {
  test::KeyFolder folder;
  const auto options = folder.add("example.com", "s1", test::rsa_key(2048));
  Signer one = test::make_signer({options}), other = test::make_signer({options});
  for (const auto& message : test::nasty_messages()) {
    EXPECT_EQ(one.sign("example.com", message.content, kNow)->header_lines,
              other.sign("example.com", message.content, kNow)->header_lines)
        << message.name;
  }
}

TEST(Signer, OneRingServesSeveralThreads) {
  test::KeyFolder folder;
  auto ring = KeyRing::load(
      {folder.add("example.com", "s1", test::rsa_key(2048)), folder.add("example.com", "s2", test::ed25519_key())});
  ASSERT_TRUE(ring);
  const std::string message = test::nasty_messages().front().content;
  std::vector<std::string> results(4);
  {
    std::vector<std::jthread> threads;
    for (std::string& result : results) {
      threads.emplace_back([&result, &message, keys = *ring] {
        Signer signer(keys);
        for (int i = 0; i < 50; ++i) result = signer.sign("example.com", message, kNow)->header_lines;
      });
    }
  }
  for (const std::string& result : results) EXPECT_EQ(result, results.front());
  EXPECT_THAT(results.front(), HasSubstr("ed25519-sha256"));
}

// RFC 8463 appendix A.3: our canonical forms of its message are what its authors signed.
struct Rfc8463 {
  static constexpr std::string_view kMessage =
      "From: Joe SixPack <joe@football.example.com>\r\nTo: Suzie Q <suzie@shopping.example.net>\r\n"
      "Subject: Is dinner ready?\r\nDate: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
      "Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\r\n"
      "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";
  static constexpr std::string_view kBodyHash = "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=";
  static constexpr std::string_view kPublicKey = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
  static constexpr std::string_view kField =
      " v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n"
      " q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n subject : date : message-id : from : subject : date;\r\n"
      " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b=";
  static constexpr std::string_view kSignature =
      "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==";
};

TEST(Signer, MakesTheBodyHashOfRfc8463) {
  test::KeyFolder folder;
  Signer signer = test::make_signer({folder.add("football.example.com", "brisbane", test::rfc8463_ed25519_key())});
  EXPECT_THAT(folder.records.at("brisbane._domainkey.football.example.com"), HasSubstr(Rfc8463::kPublicKey));
  const auto signature = signer.sign("football.example.com", Rfc8463::kMessage, kNow);
  ASSERT_TRUE(signature);
  EXPECT_EQ(tag(signature->header_lines, "bh"), Rfc8463::kBodyHash);
}

TEST(Signer, AgreesWithTheHeaderHashOfRfc8463) {
  const mail::HeaderBlock block = mail::HeaderBlock::parse(Rfc8463::kMessage);
  std::string hashed;
  for (const mail::HeaderField& field : block.fields()) append_relaxed_header(field.name, field.value, hashed);
  append_relaxed_header("DKIM-Signature", Rfc8463::kField, hashed);
  hashed.resize(hashed.size() - 2);
  unsigned char digest[32];
  ASSERT_EQ(EVP_Digest(hashed.data(), hashed.size(), digest, nullptr, openssl::sha256(), nullptr), 1);

  const auto key = test::rfc8463_ed25519_key();
  const auto signature = test::from_base64(Rfc8463::kSignature);
  const openssl::DigestContext context(EVP_MD_CTX_new());
  ASSERT_EQ(EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()), 1);
  EXPECT_EQ(EVP_DigestVerify(context.get(), signature.data(), signature.size(), digest, sizeof digest), 1);
}

}  // namespace
}  // namespace danki::dkim
