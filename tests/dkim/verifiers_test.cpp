// Verifiers that nobody here wrote judge our signatures: libopendkim, python3-dkim and Mail::DKIM.
#include "dkim/signer.hpp"
#include "tests/dkim/messages.hpp"
#include "tests/dkim/opendkim_judge.hpp"
#include "tests/dkim/test_keys.hpp"

#include <chrono>
#include <cstdio>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace danki::dkim {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;

TimePoint now() {  // verifiers compare t= with their own clock
  return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
}

/// Every nasty message as it arrives: our fields, what was submitted, and the last line end that SMTP always has.
std::vector<test::NamedMessage> signed_messages(std::vector<KeyOptions> keys) {
  Signer signer = test::make_signer(std::move(keys));
  auto messages = test::nasty_messages();
  for (auto& message : messages) {
    auto signature = signer.sign("example.com", message.content, now());
    if (!signature) throw std::runtime_error(signature.error().message());
    message.content.insert(0, signature->header_lines);
    if (!message.content.ends_with("\r\n")) message.content += "\r\n";
  }
  return messages;
}

/// One octet of what each signature covers is changed.
std::vector<test::NamedMessage> forged(std::vector<test::NamedMessage> messages) {
  for (auto& message : messages) {
    const std::size_t at = message.content.find("news@example.com");
    message.content[at] = 'N';
  }
  return messages;
}

/// A judge that is a program: gives its verdicts, message by message.
std::vector<std::vector<std::string>> program_verdicts(const std::string& command,
                                                       const std::vector<test::NamedMessage>& messages,
                                                       const test::KeyFolder& keys) {
  const test::KeyFolder folder;
  std::string records;
  for (const auto& [name, text] : keys.records) records += name + "\t" + text + "\n";
  folder.write_text("records.txt", records);
  for (std::size_t i = 0; i < messages.size(); ++i) {
    char name[32];
    std::snprintf(name, sizeof name, "%03zu.eml", i);
    folder.write_text(name, messages[i].content);
  }
  const std::string line = command.substr(0, command.find(' ')) + " " + DANKI_SOURCE_DIR + "/tests/dkim/" +
                           command.substr(command.find(' ') + 1) + " " + folder.path().native();
  std::FILE* pipe = ::popen(line.c_str(), "r");
  std::string output;
  char buffer[4096];
  for (std::size_t got; (got = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) output.append(buffer, got);
  EXPECT_EQ(::pclose(pipe), 0) << line;

  std::vector<std::vector<std::string>> verdicts(messages.size());
  std::istringstream lines(output);
  std::string file, index, verdict;
  while (lines >> file >> index && std::getline(lines >> std::ws, verdict)) {
    verdicts.at(static_cast<std::size_t>(std::stoi(file))).push_back(verdict);
  }
  return verdicts;
}

TEST(Libopendkim, AcceptsOurSignatures) {
  test::KeyFolder keys;
  const auto messages = signed_messages(
      {keys.add("example.com", "rsa", test::rsa_key(2048)), keys.add("example.com", "ed", test::ed25519_key())});
  for (const auto& message : messages) {
    EXPECT_THAT(test::opendkim_verdicts(message.content, keys.records), ElementsAre("pass", "pass")) << message.name;
  }
  for (const auto& message : forged(messages)) {
    EXPECT_THAT(test::opendkim_verdicts(message.content, keys.records), Each(Not("pass"))) << message.name;
  }
}

TEST(Libopendkim, RefusesASecondFromField) {  // what over-signing is for
  test::KeyFolder keys;
  const auto messages = signed_messages({keys.add("example.com", "rsa", test::rsa_key(2048))});
  const std::string& content = messages.front().content;
  EXPECT_THAT(test::opendkim_verdicts(content, keys.records), ElementsAre("pass"));
  EXPECT_THAT(test::opendkim_verdicts("From: else@example.net\r\n" + content, keys.records), Not(Contains("pass")));
}

// The system's interpreters: the modules come as Debian packages for them.
class Program : public ::testing::TestWithParam<std::string> {};

TEST_P(Program, AcceptsOurRsaSignatures) {
  test::KeyFolder keys;
  const auto messages = signed_messages({keys.add("example.com", "rsa", test::rsa_key(2048))});
  const auto verdicts = program_verdicts(GetParam(), messages, keys);
  const auto forged_verdicts = program_verdicts(GetParam(), forged(messages), keys);
  for (std::size_t i = 0; i < messages.size(); ++i) {
    EXPECT_THAT(verdicts[i], ElementsAre("pass")) << messages[i].name;
    EXPECT_THAT(forged_verdicts[i], Not(IsEmpty())) << messages[i].name;
    EXPECT_THAT(forged_verdicts[i], Not(Contains("pass"))) << messages[i].name;
  }
}

INSTANTIATE_TEST_SUITE_P(Judges, Program,
                         ::testing::Values("/usr/bin/python3 judge_dkimpy.py", "/usr/bin/perl judge_maildkim.pl"),
                         [](const auto& judge) { return judge.param.substr(9, judge.param.find(' ') - 9); });

}  // namespace
}  // namespace danki::dkim
