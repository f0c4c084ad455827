#include "events/archive.hpp"

#include "tests/events/log_directory.hpp"

#include <gtest/gtest.h>
#include <zstd.h>

namespace danki::events {
namespace {

TEST(ArchiveName, TellsItsTimeAndSortsByIt) {
  const TimePoint at = from_millis(1'795'412'979'120);
  EXPECT_EQ(archive_name(at), "events-20261123T054939.120Z.log");
  EXPECT_EQ(parse_archive_name(archive_name(at)), at);
  EXPECT_EQ(parse_archive_name(archive_name(at) + ".zst"), at);
  EXPECT_LT(archive_name(at), archive_name(at + Duration(1)));
}

TEST(ArchiveName, IsNotTakenForOtherFiles) {
  for (const char* name :
       {"events.log", "events-.log", "events-20261123T054939.120Z.log.zst.tmp", "events-20261323T054939.120Z.log",
        "events-20261123T05493x.120Z.log", "notes-20261123T054939.120Z.log", ""}) {
    EXPECT_EQ(parse_archive_name(name), std::nullopt) << name;
  }
}

TEST(CompressLog, MakesFramesThatCanBeReadAlone) {
  LogDirectory directory;
  const auto log = directory.path / "events-20261123T054939.120Z.log";
  std::string text;
  for (int i = 0; text.size() < 5 * kFrameBytes; ++i)
    text += "{\"event_id\":" + std::to_string(i) + ",\"to\":\"someone\"}\n";
  write_file(log, text);
  const std::atomic<bool> stop = false;
  ASSERT_TRUE(compress_log(log, stop));
  EXPECT_FALSE(std::filesystem::exists(log));

  const std::string packed = read_file(log.string() + ".zst");
  EXPECT_LT(packed.size(), text.size() / 5);
  std::string unpacked;
  int frames = 0;
  for (std::size_t offset = 0; offset < packed.size(); ++frames) {
    const std::size_t length = ZSTD_findFrameCompressedSize(packed.data() + offset, packed.size() - offset);
    ASSERT_FALSE(ZSTD_isError(length));
    const unsigned long long size = ZSTD_getFrameContentSize(packed.data() + offset, length);
    ASSERT_LT(size, 2 * kFrameBytes);
    std::string frame(size, '\0');
    ASSERT_EQ(ZSTD_decompress(frame.data(), frame.size(), packed.data() + offset, length), size);
    EXPECT_TRUE(frame.starts_with("{\"event_id\":") && frame.ends_with("}\n")) << "whole lines only";
    unpacked += frame;
    offset += length;
  }
  EXPECT_GE(frames, 4);
  EXPECT_TRUE(unpacked == text);
}

TEST(CompressLog, TakesAFileWithoutLineEndsAndAnEmptyOne) {
  LogDirectory directory;
  const std::atomic<bool> stop = false;
  const auto log = directory.path / "events-20261123T054939.120Z.log";
  write_file(log, std::string(3 * kFrameBytes, 'x'));
  EXPECT_TRUE(compress_log(log, stop));
  write_file(log, "");
  EXPECT_TRUE(compress_log(log, stop));
  EXPECT_EQ(directory.names(""), std::vector<std::string>{"events-20261123T054939.120Z.log.zst"});
}

TEST(CompressLog, LeavesTheLogAloneWhenItIsStoppedOrFails) {
  LogDirectory directory;
  const auto log = directory.path / "events-20261123T054939.120Z.log";
  write_file(log, "{}\n");
  const std::atomic<bool> stop = true;
  const auto stopped = compress_log(log, stop);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, std::errc::operation_canceled);
  EXPECT_EQ(directory.names(""), std::vector<std::string>{"events-20261123T054939.120Z.log"});
  std::filesystem::create_directory(log.string() + ".zst.tmp");
  const std::atomic<bool> go_on = false;
  EXPECT_FALSE(compress_log(log, go_on));
  EXPECT_EQ(read_file(log), "{}\n");
}

TEST(ExpiredArchives, GoByAgeThenOldestFirstBySize) {
  const TimePoint now = from_millis(1'795'412'979'120);
  const auto at = [&](int hours_ago) { return Archive{"f", now - std::chrono::hours(hours_ago), true, 100}; };
  struct Case {
    std::string_view name;
    std::vector<Archive> archives;
    std::uint64_t retain_bytes;
    std::size_t expired;
  };
  for (const Case& c :
       {Case{"none", {}, 0, 0}, Case{"all young and small", {at(3), at(2)}, 200, 0},
        Case{"one old", {at(30), at(2)}, 200, 1}, Case{"too much in all", {at(3), at(2), at(1)}, 250, 1},
        Case{"old and too much", {at(30), at(2), at(1)}, 100, 2}, Case{"no room at all", {at(2), at(1)}, 0, 2}}) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(expired_archives(c.archives, now, std::chrono::hours(24), c.retain_bytes).size(), c.expired);
  }
}

}  // namespace
}  // namespace danki::events
