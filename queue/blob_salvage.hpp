#pragma once

#include "queue/message.hpp"

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace danki::queue {

/// Bodies found in RocksDB's blob files without the help of a manifest, which is what knows them otherwise. Records
/// whose checksum is wrong do not count; behind damage a file is not read on, as nothing says where its next record
/// begins.
class BlobSalvage {
 public:
  /// Looks through the blob files in `directory`; remembers where each body is.
  explicit BlobSalvage(const std::filesystem::path& directory);

  std::optional<std::string> find(MessageId id) const;
  std::size_t size() const { return places_.size(); }

 private:
  struct Place {
    std::size_t file;
    std::uint64_t offset, bytes;
  };

  void look_through(std::size_t file);

  std::vector<std::filesystem::path> files_;
  std::map<MessageId, Place> places_;
};

}  // namespace danki::queue
