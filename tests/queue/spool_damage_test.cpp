#include "tests/queue/damage_fixture.hpp"

#include <functional>

namespace danki::queue::testing {
namespace {

TEST_F(SpoolDamageTest, ATornTailIsCut) {
  struct Case {
    std::string_view name;
    std::function<void(const std::string& log, std::uint64_t last_record)> damage;
  };
  for (const Case& c :
       {Case{"cut short", [](auto&log, auto at) { std::filesystem::resize_file(log, at + 500); }},
        Case{"zeros over its begin", [](auto&log, auto at) { overwrite(log, at, std::string(100, '\0')); }},
        Case{"cut in the header", [](auto&log, auto at) { std::filesystem::resize_file(log, at + 3); }},
        Case{"zeros", [](auto&log, auto at) { overwrite(log, at + 100, std::string(1000, '\0')); }},
        Case{"garbage", [](auto&log, auto at) { overwrite(log, at + 700, "garbage"); }},
        Case{"all zeros", [](auto&log, auto at) {
               const auto size = std::filesystem::file_size(log);
               overwrite(log, at, std::string(size - at, '\0'));
             }}}) {
    SCOPED_TRACE(c.name);
    std::filesystem::remove_all(options.directory);
    const auto stored = fill(20);
    c.damage(newest_log(), stored.back().second);
    expect_ids(stored, 19);
    open();
    accept(make_message({"a.test"}));
    close();
    EXPECT_EQ(check_nothing_half_there(options).size(), 20u);
  }
}

TEST_F(SpoolDamageTest, ATornTailOfManyBlocksIsCut) {
  const auto stored = fill(3, 200'000);
  overwrite(newest_log(), stored[2].second + 40'000, "garbage");  // whole blocks of the same record follow
  expect_ids(stored, 2);
}

TEST_F(SpoolDamageTest, DamageBeforeAcknowledgedMailStopsTheStart) {
  struct Case {
    std::string_view name;
    std::size_t size;
    std::function<void(const std::string& log, std::uint64_t record)> damage;
  };
  for (const Case& c :
       {Case{"garbage", 2000, [](auto&log, auto at) { overwrite(log, at + 700, "garbage"); }},
        Case{"zeros over a whole block", 20'000,
             [](auto&log, auto at) { overwrite(log, at / 32768 * 32768, std::string(32768, '\0')); }},
        Case{"large records", 200'000, [](auto&log, auto at) { overwrite(log, at + 90'000, "garbage"); }}}) {
    SCOPED_TRACE(c.name);
    std::filesystem::remove_all(options.directory);
    const auto stored = fill(20, c.size);
    const std::string log = newest_log();
    const auto size = std::filesystem::file_size(log);
    c.damage(log, stored[10].second);
    expect_refusal(log);
    expect_refusal(log);
    EXPECT_EQ(std::filesystem::file_size(log), size) << "left as it is";
  }
}

TEST_F(SpoolDamageTest, AMissingBlobFileStopsTheStart) {
  open();
  accept(make_message({"a.test"}, std::string(5000, 'x')));
  close();
  open();  // what the log held is in tables and blobs now
  close();
  std::filesystem::path blob;
  for (const auto& entry : std::filesystem::directory_iterator(options.directory / "db")) {
    if (entry.path().extension() == ".blob") blob = entry.path();
  }
  ASSERT_FALSE(blob.empty());
  std::filesystem::rename(blob, scratch.path() / "blob");
  expect_refusal(blob.filename().string());
  std::filesystem::rename(scratch.path() / "blob", blob);
  std::filesystem::resize_file(blob, 1000);
  expect_refusal(blob.filename().string());
}

TEST_F(SpoolDamageTest, AMissingTableOrManifestStopsTheStart) {
  for (const std::string_view what : {".sst", "MANIFEST"}) {
    SCOPED_TRACE(what);
    std::filesystem::remove_all(options.directory);
    fill(3);
    open();
    close();
    for (const auto& entry : std::filesystem::directory_iterator(options.directory / "db")) {
      if (entry.path().extension() == what || entry.path().filename().string().starts_with(what))
        std::filesystem::remove(entry.path());
    }
    expect_refusal((options.directory / "db").string());
  }
}

}  // namespace
}  // namespace danki::queue::testing
