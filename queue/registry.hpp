#pragma once

#include "base/result.hpp"
#include "queue/message.hpp"

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace danki::queue {

/// The live messages: at most one object per id. Entries vanish with their objects. Thread-safe; outlives the spool as
/// long as a message does.
class Registry : public std::enable_shared_from_this<Registry> {
 public:
  /// A message that is about to be committed; its id is new.
  MessagePtr add(std::unique_ptr<Message> message);

  /// The live object, or the one that `read` makes. While one thread reads, others that ask for the same id wait for
  /// its result, so that an object made from what was on disk before somebody else loaded, changed and dropped the
  /// message cannot appear.
  Result<MessagePtr> load(MessageId id, const std::function<Result<std::unique_ptr<Message>>()>& read);

 private:
  struct Slot {
    std::weak_ptr<Message> message;
    const Message* object = nullptr;  // tells a slot that was taken over from the one of an object being deleted
    bool loading = false;
  };

  MessagePtr publish(Slot& slot, std::unique_ptr<Message> message);
  void drop(const Message* message);

  std::mutex mutex_;
  std::condition_variable loaded_;
  std::unordered_map<MessageId, Slot, MessageIdHash> slots_;
};

}  // namespace danki::queue
