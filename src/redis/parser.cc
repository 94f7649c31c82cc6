#include "redis/parser.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "model/message.h"

namespace claw::redis {
namespace {

constexpr std::size_t kSmall = 32 * 1024;

}  // namespace

Reply::View Reply::View::operator[](std::size_t index) const {
  CLAW_CHECK(index < size());
  View child = first();
  for (; index > 0; --index) child = child.next();
  return child;
}

std::span<char> Parser::room(std::size_t wanted) {
  if (buffer_.size() < used_ + wanted + Batch::kPadding && begin_ > 0) {  // what was taken makes room
    std::memmove(buffer_.data(), buffer_.data() + begin_, used_ - begin_);
    at_ -= begin_;
    used_ -= begin_;
    begin_ = 0;
  }
  if (buffer_.size() < used_ + wanted + Batch::kPadding) {  // by hand: the vector would move its bytes one by one
    RawBytes larger(std::max(buffer_.size() * 2, used_ + wanted + Batch::kPadding));
    if (used_ > 0) std::memcpy(larger.data(), buffer_.data(), used_);
    buffer_ = std::move(larger);
  }
  return {buffer_.data() + used_, buffer_.size() - used_ - Batch::kPadding};
}

void Parser::close_finished() {
  while (!open_.empty() && open_.back().left == 0) {
    nodes_[open_.back().node].next = static_cast<std::uint32_t>(nodes_.size());
    open_.pop_back();
    if (!open_.empty()) --open_.back().left;
  }
}

// Finds the end of the head that begins at `from`: a type's letter and, mostly, a number of a few digits.
Parser::Step Parser::head(std::size_t from, Head& out) {
  const char* at = buffer_.data() + from + 1;
  const char* const end = buffer_.data() + used_;
  std::int64_t value = 0;
  const char* digit = at;
  for (; digit < end && digit - at < 18 && *digit >= '0' && *digit <= '9'; ++digit) value = value * 10 + (*digit - '0');
  if (digit > at && end - digit >= 2 && digit[0] == '\r' && digit[1] == '\n') {
    out = {.line = {at, static_cast<std::size_t>(digit - at)}, .number = value, .is_number = true, .after = static_cast<std::size_t>(digit + 2 - buffer_.data())};
    return Step::taken;
  }
  const auto* newline = static_cast<const char*>(std::memchr(at - 1, '\n', static_cast<std::size_t>(end - at) + 1));
  if (newline == nullptr) {
    if (used_ - from > 64 * 1024) return not_resp("a line longer than 64 KiB");
    return Step::unfinished;
  }
  if (newline - at < 1 || newline[-1] != '\r') return not_resp("expected CRLF");
  out = {.line = {at, static_cast<std::size_t>(newline - at) - 1}, .number = 0, .is_number = false, .after = static_cast<std::size_t>(newline + 1 - buffer_.data())};
  const auto [last, problem] = std::from_chars(out.line.data(), out.line.data() + out.line.size(), out.number);
  out.is_number = problem == std::errc() && last == out.line.data() + out.line.size() && !out.line.empty();
  return Step::taken;
}

// Understands one value's head and, for a bulk, its body.
Parser::Step Parser::one_value() {
  if (at_ == used_) return Step::unfinished;
  Head head;
  if (const Step step = this->head(at_, head); step != Step::taken) return step;
  const char type = buffer_[at_];
  if ((type == ':' || type == '$' || type == '*') && !head.is_number) return not_resp("expected a number");
  Reply::Node node;
  const auto text = [&](Reply::Type kind, std::size_t from, std::size_t size) {
    node.type = kind;
    node.data = reinterpret_cast<const char*>(from - begin_ + 1);  // an offset from 1 until the reply is whole
    node.number = static_cast<std::int64_t>(size);
  };
  std::size_t after = head.after;
  switch (type) {
    case '$': {
      if (head.number == -1) break;
      if (head.number < 0 || head.number > kMaxBulk) return not_resp("a bulk string beyond 600 MiB");
      const auto length = static_cast<std::size_t>(head.number);
      if (used_ - after < length + 2) return Step::unfinished;
      if (buffer_[after + length] != '\r' || buffer_[after + length + 1] != '\n') return not_resp("expected CRLF after a bulk string");
      text(Reply::Type::bulk, after, length);
      after += length + 2;
      break;
    }
    case '*':
      if (head.number == -1) break;
      if (head.number < 0 || head.number > kMaxElements) return not_resp("an array of too many elements");
      if (open_.size() >= kMaxDepth) return not_resp("arrays nested too deep");
      node.type = Reply::Type::array;
      node.number = head.number;
      break;
    case ':':
      node.number = head.number;
      node.type = Reply::Type::integer;
      break;
    case '+': text(Reply::Type::simple, at_ + 1, head.line.size()); break;
    case '-': text(Reply::Type::error, at_ + 1, head.line.size()); break;
    default: return not_resp("expected one of + - : $ *");
  }
  const auto place = static_cast<std::uint32_t>(nodes_.size());
  node.next = place + 1;
  nodes_.push_back(node);
  if (node.type == Reply::Type::array) open_.push_back({place, node.number});
  else if (!open_.empty()) --open_.back().left;
  at_ = after;
  return Step::taken;
}

Parser::Step Parser::advance() {
  do {
    if (const Step step = one_value(); step != Step::taken) return step;
    close_finished();
  } while (!open_.empty());
  return Step::taken;
}

Result<bool> Parser::next(Reply& reply) {
  if (const Step step = advance(); step != Step::taken) {
    if (step == Step::wrong) return make_error(Code::corrupt, "RESP", wrong_);
    return false;
  }
  const char* base = at_ - begin_ <= kSmall ? copy_out(reply) : hand_over(reply);
  for (Reply::Node& node : nodes_)
    if (node.data != nullptr) node.data = base - 1 + reinterpret_cast<std::uintptr_t>(node.data);
  reply.nodes_.swap(nodes_);
  nodes_.clear();
  return true;
}

// One of many small replies in a pipeline: its bytes are copied, the rest stays where it is.
const char* Parser::copy_out(Reply& reply) {
  const std::size_t size = at_ - begin_;
  if (reply.buffer_.size() < size + Batch::kPadding) reply.buffer_.resize(size + Batch::kPadding);
  std::memcpy(reply.buffer_.data(), buffer_.data() + begin_, size);
  begin_ = at_;
  return reply.buffer_.data();
}

// A page: the reply takes the buffer as it is, and what follows it (the start of the next reply) moves to the reply's old one.
const char* Parser::hand_over(Reply& reply) {
  RawBytes rest = std::move(reply.buffer_);
  const std::size_t left = used_ - at_;
  if (rest.size() < left + Batch::kPadding) rest.resize(left + Batch::kPadding);
  std::memcpy(rest.data(), buffer_.data() + at_, left);
  reply.buffer_ = std::move(buffer_);
  buffer_ = std::move(rest);
  const std::size_t from = std::exchange(begin_, 0);
  at_ = 0;
  used_ = left;
  return reply.buffer_.data() + from;
}

}  // namespace claw::redis
