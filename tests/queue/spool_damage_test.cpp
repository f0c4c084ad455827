#include "queue/repair.hpp"
#include "tests/queue/damage_fixture.hpp"

#include <atomic>
#include <functional>
#include <future>
#include <set>

#include <rocksdb/write_batch.h>

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

TEST_F(SpoolDamageTest, AMissingOrEmptyNewestLogStopsTheStart) {
  const auto stored = fill(20);
  const std::string log = newest_log(), kept = scratch.path() / "kept";
  std::filesystem::rename(log, kept);
  expect_refusal(log);
  expect_refusal(log);
  std::ofstream(log).close();
  expect_refusal(log);
  std::filesystem::rename(kept, log);
  expect_ids(stored, 20);
}

TEST_F(SpoolDamageTest, AfterARepairALogIsNotMissedAnyMore) {
  const auto stored = fill(5);
  open();
  close();
  open();
  accept(make_message({"a.test"}));
  close();
  std::filesystem::remove(newest_log());
  expect_refusal("db");
  const auto report = repair(options);
  ASSERT_TRUE(report) << report.error().message();
  expect_ids(stored, 5);
  open();
  accept(make_message({"a.test"}));
  restart();
  EXPECT_EQ(all_due().size(), 6u);
}

TEST_F(SpoolDamageTest, AnOlderLogThatIsMissingStopsTheStart) {
  options.cache_bytes = 1 << 20;
  open();
  spool->set_counter("pins", "the first log");
  const auto logs = [this] {
    std::set<std::string> paths;
    for (const auto& entry : std::filesystem::directory_iterator(options.directory / "db")) {
      if (entry.path().extension() == ".log") paths.insert(entry.path().string());
    }
    return paths;
  };
  for (int i = 0; i < 2000 && logs().size() < 3; ++i) accept(make_message({"a.test"}, std::string(20'000, 'x')));
  const auto before = logs();
  ASSERT_GE(before.size(), 3u);
  close();
  for (const std::string& log : before) {
    if (!std::filesystem::exists(log)) continue;
    SCOPED_TRACE(log);
    std::filesystem::rename(log, scratch.path() / "kept");
    expect_refusal(log);
    std::filesystem::rename(scratch.path() / "kept", log);
  }
  open();
  ASSERT_TRUE(spool);
  EXPECT_EQ(spool->counter("pins"), "the first log");
}

/// Files as kill -9 leaves them, at moments when logs come and go.
TEST_F(SpoolDamageTest, NoLogIsMissedThatIsGoneByRight) {
  SpoolOptions copy = options;
  copy.directory = scratch.path() / "copy";
  const auto starts_from_a_copy = [&](std::string_view when, std::uint64_t messages) {
    SCOPED_TRACE(when);
    copy_as_killed(copy.directory);
    for (int i = 0; i < 2; ++i) {
      const auto opened = Spool::open(copy, clock);
      ASSERT_TRUE(opened) << opened.error().message();
      EXPECT_EQ((*opened)->stats().messages, messages);
    }
  };
  open();
  starts_from_a_copy("a first start", 0);
  restart();
  starts_from_a_copy("a second one without mail", 0);
  const Accepted accepted = accept(make_message({"a.test"}));
  starts_from_a_copy("a message", 1);
  restart();
  starts_from_a_copy("in tables, with an empty log", 1);
  close();
  {
    auto store = Store::open(options, nullptr);
    ASSERT_TRUE(store) << store.error().message();
    rocksdb::WriteBatch batch;
    Head head = **(*store)->read_head();
    ++head.batch;
    batch.Put((*store)->family(Family::Default), kHeadKey, encode_head(head));
    ASSERT_TRUE((*store)->write(batch, true).ok());
    const std::string log = newest_log();
    (*store)->flush();
    ASSERT_TRUE(comes_true([&] { return !std::filesystem::exists(log); }));
    starts_from_a_copy("flushed, with an empty log", 1);
  }
  open();
  starts_from_a_copy("after all that", 1);
}

/// A log that could not be listed is, before a later one: else the list would say of the one before it that it held the
/// batches of both. Here that one goes by right, after a flush that took until then.
TEST_F(SpoolDamageTest, ALogThatCouldNotBeListedIsNotPassedOver) {
  FaultEnv fault(scratch.path() / "attic");
  auto opened = Store::open(options, fault.env.get());
  ASSERT_TRUE(opened) << opened.error().message();
  Store& store = **opened;
  std::uint64_t batch_number = 0;
  const auto write = [&](Family family) {
    rocksdb::WriteBatch batch;
    batch.Put(store.family(family), "key", "value");
    batch.Put(store.family(Family::Default), kHeadKey, encode_head({.batch = ++batch_number}));
    ASSERT_TRUE(store.write(batch, true).ok());
  };
  write(Family::Counters);
  const std::string first = newest_log();
  std::promise<void> released;
  std::atomic<int> list_faults = 0;
  fault.files->set_fault(
      [&, go = released.get_future().share()](FaultFileSystem::Operation o, const std::string& path) {
        if (o != FaultFileSystem::Operation::Create) return rocksdb::IOStatus::OK();
        if (path.ends_with(".sst")) go.wait();
        return path.ends_with("/log-list.new") && list_faults++ == 0 ? rocksdb::IOStatus::NoSpace("injected")
                                                                     : rocksdb::IOStatus::OK();
      });
  store.flush();
  write(Family::Bodies);
  const std::string second = newest_log();
  EXPECT_EQ(list_faults, 1);
  {
    auto reading = store.read();
    ASSERT_TRUE(reading);
    rocksdb::FlushOptions later;
    later.wait = false;
    later.allow_write_stall = true;
    ASSERT_TRUE((*reading)->Flush(later, store.family(Family::Bodies)).ok());
  }
  write(Family::Counters);
  ASSERT_LT(second, newest_log());
  ASSERT_TRUE(std::filesystem::exists(first));
  released.set_value();
  ASSERT_TRUE(comes_true([&] { return !std::filesystem::exists(first); }));
  ASSERT_TRUE(std::filesystem::exists(second));
  SpoolOptions copy = options;
  copy.directory = scratch.path() / "copy";
  copy_as_killed(copy.directory);
  const auto started = Store::open(copy, nullptr);
  ASSERT_TRUE(started) << started.error().message();
  EXPECT_EQ((*(*started)->read_head())->batch, 3u);
  opened->reset();
  std::filesystem::remove(second);
  expect_refusal("db");
}

/// No permission, no free descriptor: nothing that a repair would help against.
TEST_F(SpoolDamageTest, ADatabaseThatCannotBeOpenedNowIsNotCalledDamaged) {
  fill(5);
  std::filesystem::rename(newest_log(), scratch.path() / "kept");
  FaultEnv fault(scratch.path() / "attic");
  fault.files->set_read_fault([](const std::string& path) {
    return path.ends_with("/CURRENT") ? rocksdb::IOStatus::IOError("Too many open files") : rocksdb::IOStatus::OK();
  });
  const auto opened = Spool::open(options, clock, fault.env.get());
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().code, Errc::Damaged) << opened.error().message();
  EXPECT_NE(opened.error().message().find("Too many open files"), std::string::npos) << opened.error().message();
  EXPECT_EQ(opened.error().message().find(kRepairCommand), std::string::npos) << opened.error().message();
}

}  // namespace
}  // namespace danki::queue::testing
