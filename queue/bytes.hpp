#pragma once

#include <cstdint>
#include <string>
#include <string_view>

/// The few ways in which numbers and texts become bytes in the spool's records.
namespace danki::queue {

/// Appends to a string that the caller owns.
class ByteWriter {
 public:
  explicit ByteWriter(std::string& out) : out_(out) {}

  void u8(std::uint8_t v) { out_.push_back(static_cast<char>(v)); }
  /// Big endian, so that keys sort as numbers do.
  void fixed32(std::uint32_t v) { fixed<4>(v); }
  void fixed64(std::uint64_t v) { fixed<8>(v); }
  void varint(std::uint64_t v) {
    while (v >= 0x80) {
      u8(static_cast<std::uint8_t>(v | 0x80));
      v >>= 7;
    }
    u8(static_cast<std::uint8_t>(v));
  }
  /// Small negative numbers stay short.
  void signed_varint(std::int64_t v) {
    varint((static_cast<std::uint64_t>(v) << 1) ^ static_cast<std::uint64_t>(v >> 63));
  }
  void text(std::string_view v) {
    varint(v.size());
    out_.append(v);
  }

 private:
  template <int N>
  void fixed(std::uint64_t v) {
    char bytes[N];
    for (int i = 0; i < N; ++i) bytes[i] = static_cast<char>(v >> (8 * (N - 1 - i)));
    out_.append(bytes, N);
  }

  std::string& out_;
};

/// Never reads outside its input: after the first missing or malformed value everything reads as zero or empty and ok()
/// is false.
class ByteReader {
 public:
  explicit ByteReader(std::string_view in) : in_(in) {}

  bool ok() const { return ok_; }
  std::size_t left() const { return in_.size(); }
  void fail() {
    ok_ = false;
    in_ = {};
  }

  std::uint8_t u8() { return static_cast<std::uint8_t>(fixed<1>()); }
  std::uint32_t fixed32() { return static_cast<std::uint32_t>(fixed<4>()); }
  std::uint64_t fixed64() { return fixed<8>(); }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const std::uint64_t byte = u8();
      if (!ok_) return 0;
      if (shift == 63 && byte > 1) break;  // more than 64 bits
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    fail();
    return 0;
  }
  std::int64_t signed_varint() {
    const std::uint64_t v = varint();
    return static_cast<std::int64_t>((v >> 1) ^ (~(v & 1) + 1));
  }
  std::string_view text() {
    const std::uint64_t size = varint();
    if (size > in_.size()) {
      fail();
      return {};
    }
    const std::string_view value = in_.substr(0, size);
    in_.remove_prefix(size);
    return value;
  }

 private:
  template <int N>
  std::uint64_t fixed() {
    if (in_.size() < N) {
      fail();
      return 0;
    }
    std::uint64_t value = 0;
    for (int i = 0; i < N; ++i) value = (value << 8) | static_cast<unsigned char>(in_[i]);
    in_.remove_prefix(N);
    return value;
  }

  std::string_view in_;
  bool ok_ = true;
};

}  // namespace danki::queue
