#include "queue/blob_salvage.hpp"

#include "queue/records.hpp"
#include "queue/wal_check.hpp"

#include <algorithm>
#include <fstream>

namespace danki::queue {
namespace {

// RocksDB's blob file, version 1: a header, then records of header, key and value, then a footer that no record's
// checksum fits.
constexpr std::size_t kFileHeaderBytes = 30;
constexpr std::size_t kRecordHeaderBytes =
    32;  // key and value length, expiry (8 each), checksums of header and blob (4 each)
constexpr std::uint64_t kIdKeyBytes = 8;
constexpr std::uint64_t kMaxBodyBytes = 1ull << 30;
constexpr std::uint32_t kMaskDelta = 0xa282ead8;

std::uint64_t little_endian(const char* bytes, int count) {
  std::uint64_t value = 0;
  for (int i = count; i-- > 0;) value = (value << 8) | static_cast<unsigned char>(bytes[i]);
  return value;
}

std::uint32_t mask(std::uint32_t crc) {
  return ((crc >> 15) | (crc << 17)) + kMaskDelta;
}

}  // namespace

BlobSalvage::BlobSalvage(const std::filesystem::path& directory) {
  std::error_code problem;  // which ends the walk; what was found until then is of use
  for (std::filesystem::directory_iterator at(directory, problem), end; at != end; at.increment(problem)) {
    if (at->path().extension() == ".blob") files_.push_back(at->path());
  }
  std::sort(files_.begin(), files_.end());
  for (std::size_t i = 0; i < files_.size(); ++i) look_through(i);
}

void BlobSalvage::look_through(std::size_t file) {
  std::ifstream in(files_[file], std::ios::binary);
  std::string header(kFileHeaderBytes, '\0');
  in.read(header.data(), kFileHeaderBytes);
  std::string body;
  for (std::uint64_t at = kFileHeaderBytes;; at += kRecordHeaderBytes + kIdKeyBytes + body.size()) {
    char record[kRecordHeaderBytes + kIdKeyBytes];
    if (!in.read(record, sizeof record)) return;
    const std::uint64_t bytes = little_endian(record + 8, 8);
    const bool has_header = little_endian(record, 8) == kIdKeyBytes && bytes < kMaxBodyBytes &&
                            mask(crc32c(0, std::string_view(record, 24))) == little_endian(record + 24, 4);
    if (!has_header) return;
    const std::string_view key(record + kRecordHeaderBytes, kIdKeyBytes);
    body.resize(bytes);
    if (!in.read(body.data(), static_cast<std::streamsize>(bytes))) return;
    if (mask(crc32c(crc32c(0, key), body)) != little_endian(record + 28, 4)) continue;
    places_[id_of_key(key)] = {.file = file, .offset = at + sizeof record, .bytes = bytes};
  }
}

std::optional<std::string> BlobSalvage::find(MessageId id) const {
  const auto place = places_.find(id);
  if (place == places_.end()) return std::nullopt;
  std::ifstream in(files_[place->second.file], std::ios::binary);
  in.seekg(static_cast<std::streamoff>(place->second.offset));
  std::string body(place->second.bytes, '\0');
  if (!in.read(body.data(), static_cast<std::streamsize>(body.size()))) return std::nullopt;
  return body;
}

}  // namespace danki::queue
