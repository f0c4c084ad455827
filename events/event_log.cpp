#include "events/event_log.hpp"

#include "base/log.hpp"
#include "base/worker_pool.hpp"
#include "events/log_writer.hpp"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

namespace danki::events {
namespace {

constexpr std::size_t kBlockBytes = 1 << 20;   // of lines in one write(2): bounds the memory of a burst
constexpr std::chrono::seconds kAgeCheck{60};  // how late a quiet log is rotated
// While events keep coming, one write takes what comes in so long; the first after a pause is written at once. Waking
// for every event costs more than writing it.
constexpr std::chrono::milliseconds kGather{3};
constexpr std::size_t kKeptCapacity = 256;  // events; room that a burst took beyond is given back

/// What one append(batch, written) left: its callback, due once `events_before` events of the queue are written.
struct Callback {
  std::size_t events_before;
  std::function<void()> written;
};

struct Queue {
  std::vector<Event> events;
  std::vector<Callback> callbacks;

  bool empty() const { return events.empty() && callbacks.empty(); }
  void clear() {
    events.clear();
    callbacks.clear();
    if (events.capacity() > kKeptCapacity) events.shrink_to_fit();
    if (callbacks.capacity() > kKeptCapacity) callbacks.shrink_to_fit();
  }
};

void run_callback(std::function<void()>& written) {
  if (!written) return;
  try {
    written();
  } catch (const std::exception& failure) {
    log::error("event log callback ended by an exception", {{"error", failure.what()}});
  }
}

}  // namespace

struct EventLog::Impl {
  Impl(EventOptions options_, const Clock& clock_) : options(std::move(options_)), clock(clock_) {}
  void append_one(Event event);
  void append_batch(std::vector<Event> batch, std::function<void()> written);
  void write_now(const std::vector<Event>& batch);
  void flush();
  void stop();
  void run();
  void write_queue(Queue& taken);
  std::size_t write_block(const std::vector<Event>& events, std::size_t begin);

  const EventOptions options;
  const Clock& clock;
  std::mutex writer_mutex;            ///< over what the writer holds; taken before the other one, never inside it
  std::unique_ptr<LogWriter> writer;  ///< null when the log is off

  mutable std::mutex mutex;  ///< over what follows
  std::condition_variable wake, progressed;
  Queue waiting;
  std::size_t writing = 0;  ///< events the thread has taken and not finished
  std::uint64_t taken_queues = 0, finished_queues = 0;
  bool is_dropping = false;
  bool stopping = false;
  Stats stats;
  std::uint64_t drops_at_start = 0;  ///< stats.dropped when dropping began
  std::thread thread;
};

void EventLog::Impl::append_one(Event event) {
  bool began_dropping = false, must_wake = false;
  {
    std::lock_guard lock(mutex);
    if (waiting.events.size() + writing >= options.max_buffered) {
      if (!is_dropping) drops_at_start = stats.dropped;
      began_dropping = !std::exchange(is_dropping, true);
      ++stats.dropped;
    } else {
      must_wake = waiting.empty();
      waiting.events.push_back(std::move(event));
    }
  }
  if (must_wake) wake.notify_one();
  if (began_dropping) log::error("event log cannot keep up, events are lost", {{"waiting", options.max_buffered}});
}

void EventLog::Impl::append_batch(std::vector<Event> batch, std::function<void()> written) {
  bool must_wake = false;
  {
    std::lock_guard lock(mutex);
    must_wake = waiting.empty();
    std::move(batch.begin(), batch.end(), std::back_inserter(waiting.events));
    waiting.callbacks.push_back({waiting.events.size(), std::move(written)});
  }
  if (must_wake) wake.notify_one();
}

void EventLog::Impl::flush() {
  {
    std::unique_lock lock(mutex);
    const std::uint64_t wanted = taken_queues + (waiting.empty() ? 0 : 1);
    progressed.wait(lock, [&] { return finished_queues >= wanted; });
  }
  if (writer) writer->sync();
}

void EventLog::Impl::stop() {
  {
    std::lock_guard lock(mutex);
    stopping = true;
  }
  wake.notify_one();
  if (thread.joinable()) thread.join();
}

void EventLog::Impl::run() {
  name_this_thread("events");
  Queue taken;
  std::chrono::steady_clock::time_point gather_until;
  std::unique_lock lock(mutex);
  for (;;) {
    wake.wait_for(lock, kAgeCheck, [this] { return stopping || !waiting.empty(); });
    if (stopping && waiting.empty()) return;
    wake.wait_until(lock, gather_until, [this] { return stopping; });
    std::swap(taken, waiting);
    writing = taken.events.size();
    ++taken_queues;
    lock.unlock();
    write_queue(taken);
    taken.clear();
    gather_until = std::chrono::steady_clock::now() + kGather;
    lock.lock();
    writing = 0;
    ++finished_queues;
    progressed.notify_all();
    if (is_dropping && waiting.events.size() < options.max_buffered / 2) {
      is_dropping = false;
      log::warn("event log keeps up again", {{"lost", stats.dropped - drops_at_start}});
    }
  }
}

void EventLog::Impl::write_queue(Queue& taken) {
  std::size_t done = 0;
  auto callback = taken.callbacks.begin();
  do {
    done = write_block(taken.events, done);
    for (; callback != taken.callbacks.end() && callback->events_before <= done; ++callback)
      run_callback(callback->written);
  } while (done < taken.events.size());
}

/// Up to kBlockBytes of lines. Gives the position of the first event that is left.
std::size_t EventLog::Impl::write_block(const std::vector<Event>& events, std::size_t begin) {
  if (!writer) return events.size();
  std::size_t end = begin;
  bool is_written = false;
  {
    std::lock_guard hold(writer_mutex);
    writer->rotate_if_due();
    while (end < events.size() && writer->block_bytes() < kBlockBytes) writer->add(events[end++]);
    if (end == begin) return end;
    is_written = writer->write();
  }
  std::lock_guard lock(mutex);
  if (is_written) {
    stats.written += end - begin;
  } else {
    ++stats.failed_writes;
    stats.dropped += end - begin;
  }
  return end;
}

void EventLog::Impl::write_now(const std::vector<Event>& batch) {
  for (std::size_t done = 0; done < batch.size();) done = write_block(batch, done);
}

Result<std::unique_ptr<EventLog>> EventLog::open(EventOptions options, const Clock& clock) {
  auto impl = std::make_unique<Impl>(std::move(options), clock);
  if (impl->options.enabled) {
    auto writer = LogWriter::open(impl->options, clock);
    if (!writer) return std::unexpected(writer.error());
    impl->writer = std::move(*writer);
  }
  impl->thread = std::thread([raw = impl.get()] { raw->run(); });
  return std::unique_ptr<EventLog>(new EventLog(std::move(impl)));
}

EventLog::EventLog(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

EventLog::~EventLog() {
  impl_->stop();
}

void EventLog::append(Event event) {
  impl_->append_one(std::move(event));
}

void EventLog::append(std::vector<Event> batch, std::function<void()> written) {
  impl_->append_batch(std::move(batch), std::move(written));
}

void EventLog::write(const std::vector<Event>& batch) {
  impl_->write_now(batch);
}

void EventLog::flush() {
  impl_->flush();
}

EventLog::Stats EventLog::stats() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->stats;
}

}  // namespace danki::events
