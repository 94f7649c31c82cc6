// Messages of one queue, compressed in blocks: a plan may name tens of thousands, and they are needed a few at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "model/message.h"

namespace claw {

// Movable. Used by one thread.
class PackedMessages {
 public:
  // Adds them at the end. Code::full when all of them together are beyond kMaxPlain.
  Status add(std::span<const Message> messages);

  std::size_t size() const { return digests_.size(); }
  // Content digest of each message, in order.
  const std::vector<Digest>& digests() const { return digests_; }
  Result<std::vector<Message>> slice(std::size_t first, std::size_t count) const;

  // What encode_messages() makes of all of them, in pieces, and how long that is.
  std::uint64_t encoded_size() const;
  Status encoded(const std::function<Status(std::string_view piece)>& take) const;

 private:
  struct Block {
    std::size_t first = 0, count = 0;
    std::string packed;  // encode_messages() of these, by zstd
  };
  std::vector<Block> blocks_;
  std::vector<Digest> digests_;
  std::uint64_t plain_ = 0;  // encoded, without heads
};

}  // namespace claw
