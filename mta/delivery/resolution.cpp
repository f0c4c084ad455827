#include "mta/delivery/resolution.hpp"

#include <utility>

namespace danki::delivery {

namespace {

Resolution::Status status_of(MxTargets::Status found) {
  switch (found) {
    case MxTargets::Status::Ok:
      return Resolution::Status::Ok;
    case MxTargets::Status::NullMx:
      return Resolution::Status::NullMx;
    case MxTargets::Status::NxDomain:
      return Resolution::Status::NxDomain;
    case MxTargets::Status::NoAddress:
    case MxTargets::Status::Forbidden:
      return Resolution::Status::NoAddress;
    case MxTargets::Status::Loop:
      return Resolution::Status::Loop;
    case MxTargets::Status::NoFamily:
    case MxTargets::Status::Temporary:
      return Resolution::Status::Temporary;
  }
  return Resolution::Status::Temporary;
}

}  // namespace

Resolution to_resolution(MxTargets found) {
  Resolution resolution;
  resolution.status = status_of(found.status);
  resolution.site = std::move(found.site);
  resolution.targets = std::move(found.targets);
  resolution.ttl = std::chrono::seconds(found.ttl);
  resolution.error = std::move(found.error);
  return resolution;
}

}  // namespace danki::delivery
