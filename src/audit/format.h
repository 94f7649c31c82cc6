// The bytes of the log's files: write-ahead frames, tile names, keys and signed notes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/disk.h"
#include "base/result.h"

namespace claw::audit {

inline constexpr std::size_t kMaxEntry = 65'535;
inline constexpr std::size_t kTileWidth = 256;
inline constexpr std::size_t kFrameHead = 8;  // u32le length, u32le CRC-32C of the entry

std::uint32_t crc32c(std::string_view bytes);
std::string frame(std::string_view entry);

// "004", "x001/x234/067"
std::string tile_number(std::uint64_t number);
// "tile/<level>/<number>" or "tile/<level>/<number>.p/<width>"; level "entries" for bundles. width 1 to 256.
std::string tile_path(std::string_view level, std::uint64_t number, std::size_t width);

// Reads frames in order. A file that ends within a frame, or whose last frame has the wrong CRC, is torn; damage
// before other bytes than one frame can hold is Code::corrupt.
class WalReader {
 public:
  static Result<WalReader> open(Disk& disk, const std::string& path);
  // nullopt at the end or at a torn tail.
  Result<std::optional<std::string>> next();
  std::uint64_t offset() const { return offset_; }  // end of the last whole frame
  std::uint64_t torn_bytes() const { return size_ - offset_; }

 private:
  WalReader(std::unique_ptr<File> file, std::uint64_t size, std::string path)
      : file_(std::move(file)), size_(size), path_(std::move(path)) {}
  Result<std::string_view> peek(std::size_t size);

  std::unique_ptr<File> file_;
  std::uint64_t size_;
  std::string path_;
  std::uint64_t offset_ = 0;
  std::string block_;
  std::uint64_t block_at_ = 0;
};

struct VerifierKey {
  std::string name;
  std::string hash;    // 4 raw bytes
  std::string public_key;  // 32 raw bytes
  std::string text() const;
};
Result<VerifierKey> parse_verifier_key(std::string_view text);
VerifierKey verifier_of_seed(const std::string& name, std::string_view seed);

struct Checkpoint {
  std::string origin;
  std::uint64_t size = 0;
  Digest root{};
};
std::string sign_checkpoint(const Checkpoint& head, std::string_view seed);
// Code::corrupt unless it is byte for byte a checkpoint of the key's origin with a valid signature of the key.
Result<Checkpoint> open_checkpoint(std::string_view note, const VerifierKey& key);

}  // namespace claw::audit
