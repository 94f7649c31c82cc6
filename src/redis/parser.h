// RESP2, resumable: bytes in as they come, one Reply out. Zero copy: the reply keeps the bytes it was parsed from.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/raw_bytes.h"
#include "base/result.h"
#include "redis/reply.h"

namespace claw::redis {

// Used by one thread. After Code::corrupt the parser must not be used again.
class Parser {
 public:
  static constexpr std::size_t kMaxDepth = 16;
  static constexpr std::int64_t kMaxBulk = 600ll << 20;      // Redis' own limit is 512 MiB
  static constexpr std::int64_t kMaxElements = 64ll << 20;   // counted against bytes that are really there

  // Room for the next bytes from the socket, at least `wanted`. Good until commit().
  std::span<char> room(std::size_t wanted);
  void commit(std::size_t got) { used_ += got; }

  // True: `reply` holds the next whole reply. False: more bytes are needed.
  Result<bool> next(Reply& reply);

 private:
  struct Open {  // an array whose children are still coming
    std::uint32_t node;
    std::int64_t left;
  };
  struct Head {  // a value's first line, without its type's letter
    std::string_view line;
    std::int64_t number = 0;
    bool is_number = false;
    std::size_t after = 0;  // where the next line starts
  };
  // A value at a time, many millions of them: a Result for each would cost more than the parsing.
  enum class Step : std::uint8_t { taken, unfinished, wrong };

  // A node's text is an offset from begin_ until the reply is whole (the buffer may move until then).
  Step head(std::size_t from, Head& out);
  Step advance();
  Step one_value();
  Step not_resp(const char* what) { return wrong_ = what, Step::wrong; }
  void close_finished();
  const char* copy_out(Reply& reply);
  const char* hand_over(Reply& reply);

  RawBytes buffer_;
  std::size_t begin_ = 0;  // first byte of the reply under way
  std::size_t at_ = 0;     // first byte not yet understood
  std::size_t used_ = 0;   // bytes in the buffer
  std::vector<Reply::Node> nodes_;
  std::vector<Open> open_;
  const char* wrong_ = nullptr;
};

}  // namespace claw::redis
