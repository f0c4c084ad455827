#include "dkim/errc.hpp"
#include "dkim/signer.hpp"
#include "tests/dkim/test_keys.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

namespace danki::dkim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Error error_of(std::vector<KeyOptions> keys) {
  auto ring = KeyRing::load(std::move(keys));
  return ring ? Error(std::error_code(), "loaded") : ring.error();
}

TEST(KeyRing, LoadsRsaAndEd25519) {
  test::KeyFolder folder;
  auto ring = KeyRing::load(
      {folder.add("Example.COM", "s1", test::rsa_key(2048)), folder.add("example.com", "s2", test::ed25519_key())});
  ASSERT_TRUE(ring) << ring.error().message();
  EXPECT_THAT((*ring)->warnings(), IsEmpty());
  EXPECT_TRUE((*ring)->has_key("example.com"));
  EXPECT_FALSE((*ring)->has_key("sub.example.com"));
  EXPECT_FALSE((*ring)->has_key("com"));
  EXPECT_TRUE((*ring)->knows("example.com/s1 example.com/s2"));
  EXPECT_TRUE((*ring)->knows("example.com/s2"));
  EXPECT_TRUE((*ring)->knows(""));
  EXPECT_FALSE((*ring)->knows("example.com/s1 example.com/s3"));
  EXPECT_FALSE((*ring)->knows("example.org/s1"));
  EXPECT_FALSE((*ring)->knows("example.com"));
}

TEST(KeyRing, ReadsTraditionalRsaPem) {
  test::KeyFolder folder;
  const auto key = test::rsa_key(2048);
  const auto file = folder.path() / "old.pem";
  {
    const openssl::Bio bio(BIO_new_file(file.c_str(), "w"));
    ASSERT_EQ(PEM_write_bio_PrivateKey_traditional(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr), 1);
  }
  ::chmod(file.c_str(), 0400);
  EXPECT_TRUE(KeyRing::load({{.domain = "example.com", .selector = "s1", .key_file = file}}));
}

TEST(KeyRing, RefusesAKeyThatOthersMayRead) {
  test::KeyFolder folder;
  const KeyOptions options = folder.add("example.com", "s1", test::ed25519_key());
  for (const mode_t mode : {0640u, 0604u, 0660u, 0622u}) {
    ::chmod(options.key_file.c_str(), mode);
    const Error error = error_of({options});
    EXPECT_EQ(error.code, Errc::KeyExposed) << mode;
    EXPECT_THAT(error.message(), HasSubstr("chmod 600 " + options.key_file.native()));
  }
  ::chmod(options.key_file.c_str(), 0400);
  EXPECT_EQ(error_of({options}).message(), "loaded");
}

TEST(KeyRing, RefusesShortRsaKeysAndWarnsBelow2048) {
  test::KeyFolder folder;
  EXPECT_EQ(error_of({folder.add("example.com", "s512", test::rsa_key(768))}).code, Errc::KeyTooShort);
  auto ring = KeyRing::load({folder.add("example.com", "s1024", test::rsa_key(1024))});
  ASSERT_TRUE(ring) << ring.error().message();
  EXPECT_THAT((*ring)->warnings(), ElementsAre(HasSubstr("1024 bits")));
}

TEST(KeyRing, NamesTheFileInEveryRefusal) {
  test::KeyFolder folder;
  struct Case {
    std::string name;
    std::filesystem::path file;
    Errc want;
  };
  const openssl::Key elliptic(EVP_EC_gen("P-256"));
  std::string encrypted;
  {
    const openssl::Bio bio(BIO_new(BIO_s_mem()));
    const auto key = test::ed25519_key();
    PEM_write_bio_PrivateKey(bio.get(), key.get(), EVP_aes_256_cbc(), reinterpret_cast<const unsigned char*>("secret"),
                             6, nullptr, nullptr);
    char* text = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &text);
    encrypted.assign(text, static_cast<std::size_t>(size));
  }
  std::filesystem::create_directory(folder.path() / "folder");
  ::mkfifo((folder.path() / "pipe").c_str(), 0600);
  for (const Case& c :
       {Case{"missing", folder.path() / "missing.pem", Errc::KeyUnreadable},
        Case{"a folder", folder.path() / "folder", Errc::KeyUnreadable},
        Case{"a pipe that nobody writes", folder.path() / "pipe", Errc::KeyUnreadable},
        Case{"too large", folder.write_text("large.pem", std::string(70'000, 'x')), Errc::KeyUnreadable},
        Case{"empty", folder.write_text("empty.pem", ""), Errc::KeyInvalid},
        Case{"no PEM", folder.write_text("text.pem", "hello"), Errc::KeyInvalid},
        Case{"another kind", folder.write("ec.pem", elliptic), Errc::KeyInvalid},
        Case{"encrypted", folder.write_text("encrypted.pem", encrypted), Errc::KeyInvalid}}) {
    SCOPED_TRACE(c.name);
    const Error error = error_of({{.domain = "example.com", .selector = "s1", .key_file = c.file}});
    EXPECT_EQ(error.code, c.want) << error.message();
    EXPECT_THAT(error.message(), HasSubstr(c.file.native()));
  }
}

TEST(KeyRing, RefusesTheSameSelectorTwice) {
  test::KeyFolder folder;
  const KeyOptions options = folder.add("example.com", "s1", test::ed25519_key());
  EXPECT_EQ(error_of({options, options}).code, Errc::KeyTwice);
}

}  // namespace
}  // namespace danki::dkim
