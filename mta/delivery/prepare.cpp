#include "mta/delivery/prepare.hpp"

#include "base/worker_pool.hpp"

#include <utility>

namespace danki::delivery {

namespace {
constexpr int kNice = 5;  // below accepting and sending: a burst is absorbed first, signed after
}

Prepare::Prepare(unsigned threads, queue::Spool& spool, events::EventLog& events, const Clock& clock,
                 PrepareOptions options, Done done)
    : spool_(spool),
      events_(events),
      clock_(clock),
      done_(std::move(done)),
      options_(std::make_shared<const PrepareOptions>(std::move(options))) {
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this, i] { run(i); });
}

Prepare::~Prepare() {
  stop();
}

void Prepare::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void Prepare::submit(std::uint64_t item, queue::MessagePtr message) {
  {
    std::lock_guard lock(mutex_);
    jobs_[static_cast<std::size_t>(message->envelope.klass)].push_back({item, std::move(message)});
  }
  wake_.notify_one();
}

void Prepare::set_options(PrepareOptions options) {
  auto made = std::make_shared<const PrepareOptions>(std::move(options));
  std::lock_guard lock(mutex_);
  options_ = std::move(made);
  ++options_version_;
}

namespace {

/// Our own reports come from the null reverse-path and from this host, under the name it has now or had when they were
/// written: whether there is a key for it or not, they are sent. Everyone else's mail from `<>` passed the gate with
/// its From domain's key.
bool may_go_unsigned(const mail::Envelope& envelope, const PrepareOptions& options) {
  return options.send_unsigned || envelope.from_domain.empty() || envelope.reverse_path.is_null();
}

bool is_prepared_for(const queue::Message& message, const PrepareOptions& options, TimePoint now) {
  const std::string& domain = message.envelope.from_domain;
  auto prepared = message.prepared();
  if (!prepared) return !options.keys->has_key(domain) && may_go_unsigned(message.envelope, options);
  if (prepared->header_lines.empty()) return !options.keys->has_key(domain);
  return now - prepared->signed_at < options.sign_max_age && options.keys->knows(prepared->selectors);
}

}  // namespace

bool Prepare::is_prepared(const queue::Message& message) const {
  std::shared_ptr<const PrepareOptions> options;
  {
    std::lock_guard lock(mutex_);
    options = options_;
  }
  return is_prepared_for(message, *options, clock_.now());
}

std::string Prepare::prepare(const queue::MessagePtr& message, dkim::Signer& signer, const PrepareOptions& options) {
  // Another due record of it may have had it signed while this one waited.
  if (message->prepared() && is_prepared_for(*message, options, clock_.now())) return {};
  auto prepared = std::make_shared<queue::Message::Prepared>();
  const std::string& domain = message->envelope.from_domain;
  if (options.keys->has_key(domain)) {
    std::shared_ptr<const std::string> content = message->content();
    if (!content) {
      auto read = spool_.read_content(message->id);
      if (!read) return "reading the content: " + read.error().message();
      content = std::make_shared<const std::string>(std::move(*read));
    }
    TimePoint now = clock_.now();
    auto signature = signer.sign(domain, *content, now);
    if (!signature) return "signing for " + domain + ": " + signature.error().message();
    prepared->header_lines = std::move(signature->header_lines);
    prepared->selectors = std::move(signature->selectors);
    prepared->signed_at = now;
    events::Event event;
    event.type = events::Type::Signed;
    event.at = now;
    event.id = message->id.to_string();
    event.tenant = message->envelope.tenant;
    event.klass = message->envelope.klass;
    event.campaign = message->envelope.campaign;
    event.from = message->envelope.reverse_path.is_null() ? "<>" : message->envelope.reverse_path.to_string();
    event.evidence.emplace_back("keys", prepared->selectors);
    events_.append(std::move(event));
  } else if (!may_go_unsigned(message->envelope, options)) {
    return "no DKIM key for " + domain;
  }
  message->prepared_stored = false;
  message->set_prepared(std::move(prepared));
  return {};
}

std::optional<Prepare::Job> Prepare::take(bool may_wait, Own& own) {
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto is_ready = [this] { return stopping_ || !jobs_[0].empty() || !jobs_[1].empty(); };
    if (may_wait) wake_.wait(lock, is_ready);
    if (stopping_ || !is_ready()) return std::nullopt;
    auto& jobs = jobs_[0].empty() ? jobs_[1] : jobs_[0];
    Job job = std::move(jobs.front());
    jobs.pop_front();
    // One that is being signed is not signed again: this record hears of the same signature.
    auto [under_way, is_first] = under_way_.try_emplace(job.message->id);
    if (!is_first) {
      under_way->second.push_back(job.item);
      continue;
    }
    if (!own.options || own.version != options_version_) {
      own.options = options_;
      own.version = options_version_;
      own.signer.emplace(own.options->keys);  // its own copies of the keys: a shared one contends inside OpenSSL
    }
    return job;
  }
}

void Prepare::finish(const Job& job, const std::string& error, std::vector<Finished>& finished) {
  finished.push_back({job.item, error});
  std::lock_guard lock(mutex_);
  auto under_way = under_way_.extract(job.message->id);
  for (std::uint64_t item : under_way.mapped()) finished.push_back({item, error});
}

void Prepare::run(unsigned index) {
  name_this_thread("prepare-" + std::to_string(index), kNice);
  using Steady = std::chrono::steady_clock;
  Own own;
  std::vector<Finished> finished;
  Steady::time_point first_at;
  for (;;) {
    std::optional<Job> job = take(finished.empty(), own);
    if (!job && finished.empty()) return;  // stopping
    if (job) {
      if (finished.empty()) first_at = Steady::now();
      finish(*job, prepare(job->message, *own.signer, *own.options), finished);
      job.reset();
      if (finished.size() < kTogether && Steady::now() - first_at < kHeldBack) continue;
    }
    done_(std::exchange(finished, {}));
  }
}

}  // namespace danki::delivery
