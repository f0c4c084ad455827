#pragma once

#include "base/time.hpp"

#include <chrono>
#include <optional>

namespace danki::delivery {

/// How fast one path may send while a receiver throttles it: additive increase while replies are clean, multiplicative
/// decrease at a throttling reply (DESIGN section 5). Without a throttling reply there is no limit of its own: it
/// starts from the rate that was measured when the first one came, and ends once it has grown well beyond what is sent.
/// Plain code, one thread.
class AdaptiveRate {
 public:
  struct Options {
    double decrease = 0.5;          ///< factor at a throttling reply
    std::chrono::seconds hold{10};  ///< at most one decrease in this time: replies of one burst are one sign
    double increase = 0.05;         ///< of the rate at the last decrease, each `increase_every`
    std::chrono::seconds increase_every{10};
    double floor = 1.0 / 60;  ///< messages a second
    double ends_at = 2.0;     ///< no limit any more at this multiple of the rate before the first decrease
  };

  AdaptiveRate() = default;
  explicit AdaptiveRate(Options options) : options_(options) {}

  void on_sent(SteadyPoint now);
  void on_throttled(SteadyPoint now);
  /// Messages a second; nullopt: no limit.
  std::optional<double> limit(SteadyPoint now);

  /// What outlives a pause or a restart.
  struct State {
    double limit = 0;   ///< messages a second; 0: none
    double target = 0;  ///< the rate before the first decrease
  };
  State state() const { return {limited_ ? rate_ : 0, target_}; }
  void restore(const State& state, SteadyPoint now);

 private:
  double measured(SteadyPoint now) const;

  Options options_;
  bool limited_ = false;
  double rate_ = 0;
  double step_ = 0;
  double target_ = 0;
  SteadyPoint decreased_at_{};
  SteadyPoint increased_at_{};
  // What is sent, as a decaying count with a half-life of kMeasuredOver.
  static constexpr std::chrono::seconds kMeasuredOver{10};
  double weight_ = 0;
  SteadyPoint weighed_at_{};
};

}  // namespace danki::delivery
