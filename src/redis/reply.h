// One RESP2 reply, whole, without a copy a value: nodes are views into the bytes that came from the socket.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/raw_bytes.h"
#include "base/result.h"

namespace claw::redis {

// A reply in pre-order: an array's node is followed by its children. Movable; views survive a move.
class Reply {
 public:
  enum class Type : std::uint8_t { simple, error, integer, bulk, nil, array };

  struct Node {
    Type type = Type::nil;
    std::uint32_t next = 0;      // index of the node after this one's last descendant
    std::int64_t number = 0;     // integer: the value; array: number of elements; simple, error, bulk: number of bytes
    const char* data = nullptr;  // simple, error, bulk
  };

  // A node with its children; cheap to copy, valid while the Reply lives. A server may answer another shape than the one
  // that is read: what is not there reads as nil.
  class View {
   public:
    View(const Reply& reply, std::uint32_t at) : reply_(&reply), at_(at) {}
    Type type() const { return node().type; }
    bool is_nil() const { return type() == Type::nil; }
    bool is_error() const { return type() == Type::error; }
    bool is_array() const { return type() == Type::array; }
    std::string_view text() const { return node().data == nullptr ? std::string_view() : std::string_view(node().data, static_cast<std::size_t>(node().number)); }
    std::int64_t integer() const { return type() == Type::integer ? node().number : 0; }
    std::size_t size() const { return is_array() ? static_cast<std::size_t>(node().number) : 0; }
    // Children in order; walking is O(1) a step, indexing is O(index).
    View first() const { return {*reply_, size() > 0 ? at_ + 1 : kNowhere}; }
    View next() const { return {*reply_, node().next}; }
    View operator[](std::size_t index) const;

   private:
    static constexpr std::uint32_t kNowhere = UINT32_MAX;
    const Node& node() const {
      static constexpr Node kNothing{.type = Type::nil, .next = kNowhere, .number = 0, .data = nullptr};
      return at_ < reply_->nodes_.size() ? reply_->nodes_[at_] : kNothing;
    }
    const Reply* reply_;
    std::uint32_t at_;
  };

  View root() const { return {*this, 0}; }
  // Takes the bytes out for Batch::adopt; the nodes' views stay good because a vector keeps its storage.
  RawBytes release_buffer() { return std::move(buffer_); }
  // Gives an old buffer's storage for the next reply that is received into this one.
  void reuse_buffer(RawBytes buffer) { buffer_ = std::move(buffer); }

 private:
  friend class Parser;
  std::vector<Node> nodes_;
  RawBytes buffer_;  // at least Batch::kPadding readable bytes after the last value
};

}  // namespace claw::redis
