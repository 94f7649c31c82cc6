#include "redis/parser.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "model/message.h"

namespace claw::redis {
namespace {

Error not_resp(const char* what) { return make_error(Code::corrupt, "RESP", what); }

}  // namespace

Reply::View Reply::View::operator[](std::size_t index) const {
  CLAW_CHECK(index < size());
  View child = first();
  for (; index > 0; --index) child = child.next();
  return child;
}

std::span<char> Parser::room(std::size_t wanted) {
  if (buffer_.size() < used_ + wanted + Batch::kPadding) {
    if (begin_ > 0 && begin_ == used_) begin_ = at_ = used_ = 0;
    buffer_.resize(std::max(buffer_.size() * 2, used_ + wanted + Batch::kPadding));
  }
  return {buffer_.data() + used_, buffer_.size() - used_ - Batch::kPadding};
}

Result<std::int64_t> Parser::number(std::string_view line) const {
  std::int64_t value = 0;
  const auto [end, problem] = std::from_chars(line.data(), line.data() + line.size(), value);
  if (problem != std::errc() || end != line.data() + line.size() || line.empty()) return not_resp("expected a number");
  return value;
}

void Parser::close_finished() {
  while (!open_.empty() && open_.back().left == 0) {
    nodes_[open_.back().node].next = static_cast<std::uint32_t>(nodes_.size());
    open_.pop_back();
    if (!open_.empty()) --open_.back().left;
  }
}

// Understands one value's head and, for a bulk, its body. False: the bytes are not all there.
Result<bool> Parser::one_value() {
  if (at_ == used_) return false;
  const char* start = buffer_.data() + at_;
  const auto* end = static_cast<const char*>(std::memchr(start, '\n', used_ - at_));
  if (end == nullptr) {
    if (used_ - at_ > 64 * 1024) return not_resp("a line longer than 64 KiB");
    return false;
  }
  if (end - start < 2 || end[-1] != '\r') return not_resp("expected CRLF");
  const std::string_view line(start + 1, static_cast<std::size_t>(end - start) - 2);
  const std::size_t body = at_ + static_cast<std::size_t>(end - start) + 1;
  Reply::Node node;
  const auto text = [&](Reply::Type type, std::size_t from, std::size_t size) {
    node.type = type;
    node.data = reinterpret_cast<const char*>(from - begin_);  // an offset until the reply is whole
    node.size = size;
  };
  std::size_t after = body;
  switch (*start) {
    case '+': text(Reply::Type::simple, at_ + 1, line.size()); break;
    case '-': text(Reply::Type::error, at_ + 1, line.size()); break;
    case ':': {
      CLAW_TRY_ASSIGN(node.integer, number(line));
      node.type = Reply::Type::integer;
      break;
    }
    case '$': {
      CLAW_TRY_ASSIGN(const std::int64_t size, number(line));
      if (size == -1) break;
      if (size < 0 || size > kMaxBulk) return not_resp("a bulk string beyond 600 MiB");
      const auto length = static_cast<std::size_t>(size);
      if (used_ - body < length + 2) return false;
      if (buffer_[body + length] != '\r' || buffer_[body + length + 1] != '\n') return not_resp("expected CRLF after a bulk string");
      text(Reply::Type::bulk, body, length);
      after = body + length + 2;
      break;
    }
    case '*': {
      CLAW_TRY_ASSIGN(const std::int64_t count, number(line));
      if (count == -1) break;
      if (count < 0 || count > kMaxElements) return not_resp("an array of too many elements");
      if (open_.size() >= kMaxDepth) return not_resp("arrays nested too deep");
      node.type = Reply::Type::array;
      node.integer = count;
      nodes_.push_back(node);
      open_.push_back({static_cast<std::uint32_t>(nodes_.size() - 1), count});
      at_ = after;
      return true;
    }
    default: return not_resp("expected one of + - : $ *");
  }
  node.next = static_cast<std::uint32_t>(nodes_.size() + 1);
  nodes_.push_back(node);
  if (!open_.empty()) --open_.back().left;
  at_ = after;
  return true;
}

Result<bool> Parser::advance() {
  do {
    CLAW_TRY_ASSIGN(const bool got, one_value());
    if (!got) return false;
    close_finished();
  } while (!open_.empty());
  return true;
}

Result<bool> Parser::next(Reply& reply) {
  CLAW_TRY_ASSIGN(const bool whole, advance());
  if (!whole) return false;
  // The reply takes the buffer; what follows it (the start of the next reply) moves to a fresh one.
  std::vector<char> rest = std::move(reply.buffer_);
  const std::size_t left = used_ - at_;
  if (rest.size() < left + Batch::kPadding) rest.resize(left + Batch::kPadding);
  std::memcpy(rest.data(), buffer_.data() + at_, left);
  const char* base = buffer_.data() + begin_;
  for (Reply::Node& node : nodes_)
    if (node.type == Reply::Type::simple || node.type == Reply::Type::error || node.type == Reply::Type::bulk)
      node.data = base + reinterpret_cast<std::uintptr_t>(node.data);
  reply.nodes_.swap(nodes_);
  nodes_.clear();
  reply.buffer_ = std::move(buffer_);
  buffer_ = std::move(rest);
  begin_ = at_ = 0;
  used_ = left;
  return true;
}

}  // namespace claw::redis
