#include "queue/wal_check.hpp"

#include "base/log.hpp"
#include "queue/errc.hpp"
#include "queue/log_scanner.hpp"
#include "queue/store.hpp"

#include <algorithm>
#include <charconv>
#include <vector>

#include <fmt/format.h>
#include <rocksdb/file_system.h>

namespace danki::queue {
namespace {

/// Finds our head in a batch; everything else passes by.
class HeadFinder final : public rocksdb::WriteBatch::Handler {
 public:
  std::optional<Head> head;

  rocksdb::Status PutCF(std::uint32_t family, const rocksdb::Slice& key, const rocksdb::Slice& value) override {
    if (family == 0 && key.ToStringView() == kHeadKey) {
      if (auto decoded = decode_head(value.ToStringView())) head = *decoded;
    }
    return rocksdb::Status::OK();
  }
  rocksdb::Status DeleteCF(std::uint32_t, const rocksdb::Slice&) override { return rocksdb::Status::OK(); }
  rocksdb::Status SingleDeleteCF(std::uint32_t, const rocksdb::Slice&) override { return rocksdb::Status::OK(); }
};

/// Where the sequence of batches breaks off.
struct Break {
  std::size_t log;
  std::uint64_t offset;
  std::optional<std::uint64_t> batch;  ///< the first one that is missing; nullopt when none came before
};

/// Goes through the batches in order; says where to cut, or that synced ones are missing.
class Inspector {
 public:
  void damage(std::size_t log, std::uint64_t offset) {
    if (!break_) break_ = Break{.log = log, .offset = offset, .batch = next()};
  }

  void batch(std::size_t log, std::uint64_t offset, const Head& head) {
    if (!break_ && last_ && head.batch > *last_ + 1) damage(log, offset);
    // After a failed write the same number is written once more, to a newer log: then nothing is missing.
    if (break_ && break_->batch && head.batch <= *break_->batch && log > break_->log) break_.reset();
    if (!break_) {
      last_ = head.batch;
    } else if (!break_->batch || head.synced >= *break_->batch) {
      lost_synced_ = true;
    }
  }

  const std::optional<Break>& found() const { return break_; }
  bool lost_synced() const { return lost_synced_; }

 private:
  std::optional<std::uint64_t> next() const { return last_ ? std::optional(*last_ + 1) : std::nullopt; }

  std::optional<std::uint64_t> last_;
  std::optional<Break> break_;
  bool lost_synced_ = false;
};

Result<void> inspect_log(rocksdb::FileSystem& files, const LogFile& log, std::size_t index, Inspector& inspector) {
  std::unique_ptr<rocksdb::FSSequentialFile> file;
  if (const auto status = files.NewSequentialFile(log.path, {}, &file, nullptr); !status.ok())
    return std::unexpected(to_error(status, log.path));
  LogScanner scanner(std::move(file));
  for (;;) {
    LogScanner::Item item = scanner.next();
    if (item.kind == LogScanner::Item::Kind::End) return {};
    if (item.kind == LogScanner::Item::Kind::Damage) {
      inspector.damage(index, item.offset);
    } else if (const auto head = head_of(rocksdb::WriteBatch(std::move(item.record)))) {
      inspector.batch(index, item.offset, *head);
    }
  }
}

Result<void> cut(rocksdb::FileSystem& files, const std::string& path, std::uint64_t size) {
  std::unique_ptr<rocksdb::FSWritableFile> file;
  auto status = files.ReopenWritableFile(path, {}, &file, nullptr);
  if (status.ok()) status = file->Truncate(size, {}, nullptr);
  if (status.ok()) status = file->Sync({}, nullptr);
  if (status.ok()) status = file->Close({}, nullptr);
  if (!status.ok()) return std::unexpected(to_error(status, path));
  return {};
}

}  // namespace

std::optional<Head> head_of(const rocksdb::WriteBatch& batch) {
  HeadFinder finder;
  if (!batch.Iterate(&finder).ok()) return std::nullopt;
  return finder.head;
}

void ContinuityFilter::ColumnFamilyLogNumberMap(const std::map<std::uint32_t, std::uint64_t>& log_numbers,
                                                const std::map<std::string, std::uint32_t>&) {
  for (const auto& [family, number] : log_numbers) {
    if (first_log_ == 0 || number < first_log_) first_log_ = number;
  }
}

ContinuityFilter::WalProcessingOption ContinuityFilter::LogRecordFound(unsigned long long, const std::string&,
                                                                       const rocksdb::WriteBatch& batch,
                                                                       rocksdb::WriteBatch*, bool*) {
  const auto head = head_of(batch);
  if (!head) return WalProcessingOption::kContinueProcessing;
  found_gap_ = last_batch_ && head->batch > *last_batch_ + 1;
  if (found_gap_) return WalProcessingOption::kCorruptedRecord;
  last_batch_ = head->batch;
  return WalProcessingOption::kContinueProcessing;
}

Result<std::vector<LogFile>> list_logs(rocksdb::FileSystem& files, const std::string& directory, std::uint64_t first) {
  std::vector<std::string> names;
  if (const auto status = files.GetChildren(directory, {}, &names, nullptr); !status.ok())
    return std::unexpected(to_error(status, directory));
  std::vector<LogFile> logs;
  for (const std::string& name : names) {
    std::uint64_t number = 0;
    const auto [end, problem] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (problem != std::errc{} || std::string_view(end) != ".log" || number < first) continue;
    logs.push_back({.number = number, .path = directory + "/" + name});
  }
  std::sort(logs.begin(), logs.end(), [](const LogFile& a, const LogFile& b) { return a.number < b.number; });
  return logs;
}

Result<bool> cut_damaged_tail(rocksdb::FileSystem& files, const std::string& directory, std::uint64_t first_log) {
  const auto logs = list_logs(files, directory, first_log);
  if (!logs) return std::unexpected(logs.error());
  Inspector inspector;
  for (std::size_t i = 0; i < logs->size(); ++i) {
    if (auto done = inspect_log(files, (*logs)[i], i, inspector); !done) return std::unexpected(done.error());
  }
  const auto& found = inspector.found();
  if (!found) return false;
  const std::string& path = (*logs)[found->log].path;
  if (inspector.lost_synced()) {
    return std::unexpected(Error{
        Errc::Damaged,
        fmt::format("{} is damaged at octet {}, before mail that was accepted later; \"{}\" saves what can be read",
                    path, found->offset, kRepairCommand)});
  }
  log::warn("cut the damaged tail of the spool's log", {{"file", path}, {"octet", found->offset}});
  if (auto done = cut(files, path, found->offset); !done) return std::unexpected(done.error());
  for (std::size_t i = found->log + 1; i < logs->size(); ++i) {
    if (auto done = cut(files, (*logs)[i].path, 0); !done) return std::unexpected(done.error());
  }
  return true;
}

}  // namespace danki::queue
