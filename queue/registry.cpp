#include "queue/registry.hpp"

namespace danki::queue {

MessagePtr Registry::publish(Slot& slot, std::unique_ptr<Message> message) {
  MessagePtr shared(message.release(), [registry = shared_from_this()](const Message* m) { registry->drop(m); });
  slot = {.message = shared, .object = shared.get(), .loading = false};
  return shared;
}

void Registry::drop(const Message* message) {
  {
    const std::scoped_lock lock(mutex_);
    const auto at = slots_.find(message->id);
    if (at != slots_.end() && at->second.object == message) slots_.erase(at);
  }
  delete message;
}

MessagePtr Registry::add(std::unique_ptr<Message> message) {
  const std::scoped_lock lock(mutex_);
  Slot& slot = slots_[message->id];
  return publish(slot, std::move(message));
}

Result<MessagePtr> Registry::load(MessageId id, const std::function<Result<std::unique_ptr<Message>>()>& read) {
  std::unique_lock lock(mutex_);
  for (;;) {
    Slot& slot = slots_[id];
    if (MessagePtr live = slot.message.lock()) return live;
    if (!slot.loading) {
      slot.loading = true;
      slot.object = nullptr;
      break;
    }
    loaded_.wait(lock);
  }
  lock.unlock();
  auto message = read();
  lock.lock();
  Result<MessagePtr> result = message ? Result<MessagePtr>(publish(slots_[id], std::move(*message)))
                                      : Result<MessagePtr>(std::unexpected(message.error()));
  if (!result) slots_.erase(id);
  lock.unlock();
  loaded_.notify_all();
  return result;
}

}  // namespace danki::queue
