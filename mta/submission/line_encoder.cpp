#include "mta/submission/line_encoder.hpp"

#include "mail/long_lines.hpp"

namespace danki::submission {
namespace {

constexpr int kNice = 5;  // below accepting: such messages are rare, and their senders can wait for each other

std::unexpected<Answer> no_memory() {
  return std::unexpected(Answer{452, "4.3.1", "no memory for this message now"});
}

}  // namespace

Encoded encode_long_lines(std::string content, MemoryBudget& budget) {
  const auto fitting = mail::LineFitting::plan(content);
  if (!fitting) return std::unexpected(Answer{550, "5.6.0", fitting.error().detail});
  if (!fitting->changes_anything()) return content;
  MemoryShare share(budget);
  if (!share.grow_to(fitting->bytes())) return no_memory();
  return fitting->write();
}

LineEncoder::LineEncoder(MemoryBudget& budget) : budget_(budget), pool_("encode", 1, kMaxQueued, kNice) {}

void LineEncoder::encode(std::string content, Done done) {
  struct Job {
    std::string content;
    Done done;
  };
  auto job = std::make_shared<Job>(Job{std::move(content), std::move(done)});  // a std::function must be copyable
  const bool is_taken =
      pool_.try_submit([this, job] { job->done(encode_long_lines(std::move(job->content), budget_)); });
  if (!is_taken) job->done(no_memory());
}

}  // namespace danki::submission
