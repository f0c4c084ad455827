#include "queue/log_scanner.hpp"

#include "queue/wal_check.hpp"

#include <algorithm>
#include <array>

namespace danki::queue {
namespace {

constexpr std::size_t kBlockBytes = 32768;
constexpr std::size_t kHeaderBytes = 7;  // checksum 4, length 2, type 1
constexpr std::uint32_t kMaskDelta = 0xa282ead8;

using Crc32cTables = std::array<std::array<std::uint32_t, 256>, 8>;

/// Slicing by eight: the logs of a busy relay are read in a fraction of a second.
const Crc32cTables& crc32c_tables() {
  static const Crc32cTables tables = [] {
    constexpr std::uint32_t kPolynomial = 0x82f63b78;  // Castagnoli, reflected
    Crc32cTables t{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t crc = i;
      for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? kPolynomial : 0);
      t[0][i] = crc;
    }
    for (std::size_t k = 1; k < 8; ++k)
      for (std::uint32_t i = 0; i < 256; ++i) t[k][i] = (t[k - 1][i] >> 8) ^ t[0][t[k - 1][i] & 0xff];
    return t;
  }();
  return tables;
}

std::uint32_t little_endian(const char* bytes, int count) {
  std::uint32_t value = 0;
  for (int i = 0; i < count; ++i) value |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  return value;
}

std::uint32_t unmask(std::uint32_t masked) {
  const std::uint32_t rotated = masked - kMaskDelta;
  return (rotated >> 17) | (rotated << 15);
}

bool all_zero(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) { return c == '\0'; });
}

}  // namespace

std::uint32_t crc32c(std::uint32_t seed, std::string_view bytes) {
  const Crc32cTables& t = crc32c_tables();
  std::uint32_t crc = ~seed;
  const char* p = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; left -= 8, p += 8) {
    const std::uint32_t low = little_endian(p, 4) ^ crc;
    const std::uint32_t high = little_endian(p + 4, 4);
    crc = t[7][low & 0xff] ^ t[6][(low >> 8) & 0xff] ^ t[5][(low >> 16) & 0xff] ^ t[4][low >> 24] ^ t[3][high & 0xff] ^
          t[2][(high >> 8) & 0xff] ^ t[1][(high >> 16) & 0xff] ^ t[0][high >> 24];
  }
  for (; left > 0; --left, ++p) crc = (crc >> 8) ^ t[0][(crc ^ static_cast<unsigned char>(*p)) & 0xff];
  return ~crc;
}

bool LogScanner::read_block() {
  block_offset_ += block_.size();
  block_.resize(kBlockBytes);
  at_ = 0;
  std::size_t got = 0;
  while (got < kBlockBytes) {
    rocksdb::Slice piece;
    const auto status = file_->Read(kBlockBytes - got, {}, &piece, block_.data() + got, nullptr);
    if (!status.ok() || piece.empty()) break;
    if (piece.data() != block_.data() + got) std::copy_n(piece.data(), piece.size(), block_.data() + got);
    got += piece.size();
  }
  block_.resize(got);
  last_block_ = got < kBlockBytes;
  return got > 0;
}

bool LogScanner::only_zeros_follow() {
  std::string_view rest = std::string_view(block_).substr(at_);
  while (all_zero(rest)) {
    if (last_block_ || !read_block()) return true;
    rest = block_;
  }
  return false;
}

/// Leaves fragment_ and fragment_offset_ set; after Bad the rest of the block is skipped, since its lengths cannot be
/// trusted.
LogScanner::Fragment LogScanner::next_fragment() {
  if (pushed_back_) return *std::exchange(pushed_back_, std::nullopt);
  while (block_.size() - at_ < kHeaderBytes) {
    const bool torn_header = last_block_ && at_ < block_.size() && !all_zero(std::string_view(block_).substr(at_));
    fragment_offset_ = block_offset_ + at_;
    if (torn_header) {
      at_ = block_.size();
      return Fragment::Bad;
    }
    if (last_block_ || !read_block()) return Fragment::End;
  }
  fragment_offset_ = block_offset_ + at_;
  const char* header = block_.data() + at_;
  const std::uint32_t length = little_endian(header + 4, 2);
  const auto type = static_cast<unsigned char>(header[6]);
  if (type == 0 && length == 0) {
    // Space that was allocated ahead and never written reads as zeros: the end, unless something follows.
    const std::uint64_t block = block_offset_;
    if (only_zeros_follow()) return Fragment::End;
    if (block_offset_ == block) at_ = block_.size();
    return Fragment::Bad;
  }
  const bool fits = kHeaderBytes + length <= block_.size() - at_;
  if (!fits || type < 1 || type > 4 ||
      crc32c(0, std::string_view(header + 6, 1 + length)) != unmask(little_endian(header, 4))) {
    at_ = block_.size();
    return Fragment::Bad;
  }
  fragment_ = std::string_view(header + kHeaderBytes, length);
  at_ += kHeaderBytes + length;
  return static_cast<Fragment>(type - 1);
}

LogScanner::Item LogScanner::next() {
  std::optional<std::uint64_t> begun;  // where the record being put together begins
  std::string record;
  for (;;) {
    const Fragment fragment = next_fragment();
    switch (fragment) {
      case Fragment::Full:
      case Fragment::First:
        if (begun) {  // the one before has no end
          pushed_back_ = fragment;
          return {.kind = Item::Kind::Damage, .offset = *begun};
        }
        if (fragment == Fragment::Full)
          return {.kind = Item::Kind::Record, .offset = fragment_offset_, .record = std::string(fragment_)};
        begun = fragment_offset_;
        record.assign(fragment_);
        break;
      case Fragment::Middle:
      case Fragment::Last:
        if (!begun) return {.kind = Item::Kind::Damage, .offset = fragment_offset_};
        record.append(fragment_);
        if (fragment == Fragment::Last)
          return {.kind = Item::Kind::Record, .offset = *begun, .record = std::move(record)};
        break;
      case Fragment::Bad:
        return {.kind = Item::Kind::Damage, .offset = begun.value_or(fragment_offset_)};
      case Fragment::End:
        if (!begun) return {.kind = Item::Kind::End, .offset = fragment_offset_};
        pushed_back_ = Fragment::End;
        return {.kind = Item::Kind::Damage, .offset = *begun};
    }
  }
}

}  // namespace danki::queue
