#include "queue/errc.hpp"

#include <string>

namespace danki::queue {
namespace {

class Category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "queue"; }

  std::string message(int value) const override {
    switch (static_cast<Errc>(value)) {
      case Errc::WriteFailed:
        return "the spool could not be written";
      case Errc::DiskReserve:
        return "the spool's disk is full";
      case Errc::MemoryLimit:
        return "too much mail waits to be written";
      case Errc::Closed:
        return "the spool is closed";
      case Errc::Unavailable:
        return "the spool is being reopened";
      case Errc::Damaged:
        return "the spool is damaged";
      case Errc::UnknownFormat:
        return "the spool's format is not known to this version";
      case Errc::InvalidMessage:
        return "not a message the spool can keep";
    }
    return "unknown error of the spool";
  }
};

}  // namespace

const std::error_category& queue_category() {
  static const Category category;
  return category;
}

}  // namespace danki::queue
