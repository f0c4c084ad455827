#pragma once

#include "base/time.hpp"

#include <functional>
#include <optional>
#include <vector>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>

namespace danki::submission {

/// Where mail that follows MX records would meet one of our own listeners: those on port 25. A listener on all
/// addresses is met at every address of this machine, which change while we run. One thread.
class OwnAddresses {
 public:
  using Interfaces = std::function<std::vector<boost::asio::ip::address>()>;

  static constexpr std::chrono::seconds kInterfacesKept{60};

  OwnAddresses() = default;
  /// `listening`: what the listeners are bound to, whatever the port. `interfaces` tells this machine's addresses; it
  /// is asked at most once in kInterfacesKept, and only for a listener on all addresses.
  explicit OwnAddresses(const std::vector<boost::asio::ip::tcp::endpoint>& listening, Interfaces interfaces = local);

  /// False: no address is ours, there is nothing to look up.
  bool any() const { return all_v4_ || all_v6_ || !addresses_.empty(); }
  bool contains(const boost::asio::ip::address& address, SteadyPoint now);

  /// What the kernel says.
  static std::vector<boost::asio::ip::address> local();

 private:
  std::vector<boost::asio::ip::address> addresses_;
  bool all_v4_ = false, all_v6_ = false;
  Interfaces interfaces_;
  std::vector<boost::asio::ip::address> of_interfaces_;
  std::optional<SteadyPoint> fresh_until_;
};

}  // namespace danki::submission
