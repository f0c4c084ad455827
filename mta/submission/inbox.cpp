#include "mta/submission/inbox.hpp"

#include <boost/asio/post.hpp>

namespace danki::submission {

void Inbox::deliver(std::shared_ptr<PendingAnswer> answer) {
  if (!box_.push(std::move(answer))) return;
  std::lock_guard lock(mutex_);
  if (context_ != nullptr) boost::asio::post(*context_, [self = shared_from_this()] { self->hand_out(); });
}

void Inbox::close() {
  std::lock_guard lock(mutex_);
  context_ = nullptr;
}

void Inbox::hand_out() {
  box_.take_all(batch_);
  for (const auto& answer : batch_) {
    answer->delivered = true;
    if (answer->wake != nullptr) answer->wake->cancel();
  }
  batch_.clear();
}

}  // namespace danki::submission
