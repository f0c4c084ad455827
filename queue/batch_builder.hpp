#pragma once

#include "queue/ledger.hpp"
#include "queue/records.hpp"
#include "queue/spool.hpp"
#include "queue/store.hpp"

#include <span>
#include <utility>
#include <vector>

#include <rocksdb/write_batch.h>

namespace danki::queue {

/// Turns operations into the changes of one batch, and keeps the ledgers of the messages in step with it. Reads
/// nothing. What is put in comes out on disk whole: a batch that failed is written again as it is, so a ledger never
/// has to be set back.
///
/// Due, envelope and body keys are written once and removed by SingleDelete; state keys may be written again and take a
/// full Delete.
class BatchBuilder {
 public:
  explicit BatchBuilder(const Store& store) : store_(store) {}

  /// Begins an empty batch.
  void begin();
  void accept(const Message& message, std::string_view content);
  /// Takes back what accept() wrote, for a message that was refused and is in the database nevertheless.
  void withdraw(const Message& message);
  /// False when the outcome comes too late: all it tells of had ended before.
  bool record(const Outcome& outcome);
  /// Skipped unless `entry` is still on disk as it says.
  void reschedule(Message& message, const DueEntry& entry, TimePoint due);
  /// A due record without a message.
  void discard(const DueEntry& entry);
  void counter(const std::string& key, const std::string& value);
  void head(const Head& head);

  /// What follows can be taken off again, to write the rest alone.
  void set_save_point() { batch_.SetSavePoint(); }
  void drop_after_save_point() { batch_.RollbackToSavePoint(); }

  rocksdb::WriteBatch& batch() { return batch_; }
  bool empty() const { return batch_.Count() == 0; }
  std::size_t bytes() const { return batch_.GetDataSize(); }
  std::size_t removed() const { return removed_; }
  /// Prepared lines that this batch stores.
  using StoredPrepared = std::pair<Message*, const Message::Prepared*>;
  std::vector<StoredPrepared>& stored_prepared() { return stored_prepared_; }

 private:
  void put(Family family, std::string_view key, std::string_view value);
  void remove_once(Family family, std::string_view key);
  void remove(Family family, std::string_view key);
  void put_due(const Message& message, const Ledger::Record& record);
  void remove_due(const Message& message, const Ledger::Record& record);
  void put_moved(const Message& message, Ledger& ledger, std::uint32_t recipient, const DuePlace& place);
  void put_state(const Message& message, Ledger& ledger, const Outcome::Change& change,
                 const std::optional<DuePlace>& place);
  void put_prepared(Message& message, Ledger& ledger);
  void remove_message(const Message& message, Ledger& ledger);

  const Store& store_;
  rocksdb::WriteBatch batch_;
  std::size_t removed_ = 0;
  std::vector<StoredPrepared> stored_prepared_;
};

}  // namespace danki::queue
