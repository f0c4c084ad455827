#pragma once

#include "queue/errc.hpp"
#include "tests/queue/spool_fixture.hpp"

#include <fstream>
#include <string>
#include <vector>

namespace danki::queue::testing {

/// Damage to the files of a closed spool.
class SpoolDamageTest : public SpoolTest {
 protected:
  std::string newest_log() {
    std::string newest;
    for (const auto& entry : std::filesystem::directory_iterator(options.directory / "db")) {
      if (entry.path().extension() == ".log" && entry.path().string() > newest) newest = entry.path().string();
    }
    return newest;
  }
  /// Stores messages whose log records are about `size` octets; they stay in the log. Returns the ids and where each
  /// record began.
  std::vector<std::pair<MessageId, std::uint64_t>> fill(int messages, std::size_t size = 2000) {
    open();
    std::vector<std::pair<MessageId, std::uint64_t>> stored;
    for (int i = 0; i < messages; ++i) {
      const auto begin = std::filesystem::file_size(newest_log());
      stored.emplace_back(accept(make_message({"a.test"}, std::string(size, 'x'))).message->id, begin);
    }
    close();
    return stored;
  }
  /// The files of a spool as kill -9 now leaves them. RocksDB removes what it no longer needs on a thread of its own:
  /// where a file goes while it is being copied, all are copied again.
  void copy_as_killed(const std::filesystem::path& to) {
    ASSERT_TRUE(comes_true([&] {
      std::error_code problem;
      std::filesystem::remove_all(to);
      std::filesystem::copy(options.directory, to, std::filesystem::copy_options::recursive, problem);
      return !problem;
    })) << to;
  }
  static void overwrite(const std::string& path, std::uint64_t at, std::string_view bytes) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at));
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  void expect_ids(const std::vector<std::pair<MessageId, std::uint64_t>>& stored, std::size_t count) {
    std::vector<MessageId> want;
    for (std::size_t i = 0; i < count; ++i) want.push_back(stored[i].first);
    EXPECT_EQ(check_nothing_half_there(options), want);
  }
  void expect_refusal(const std::string& path) {
    const auto opened = Spool::open(options, clock);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, Errc::Damaged) << opened.error().message();
    EXPECT_NE(opened.error().message().find(path), std::string::npos) << opened.error().message();
    EXPECT_NE(opened.error().message().find("dankid --repair-spool"), std::string::npos) << opened.error().message();
  }
};

}  // namespace danki::queue::testing
