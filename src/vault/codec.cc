#include "vault/codec.h"

#include <fmt/format.h>

#include <limits>

namespace claw {
namespace {

constexpr std::uint64_t kVersion = 2;
constexpr std::uint64_t kLeastMessage = 4 + 8 + 8 + 8 + 8 + 4 + 4;
constexpr std::uint64_t kLeastField = 4 + 4;
constexpr std::uint64_t kLeastGroup = 4 + 1 + 4 + 4 + 8;

// Written to disk: never renumber.
std::uint8_t number_of(GroupState::Standing standing) {
  switch (standing) {
    case GroupState::Standing::waiting: return 0;
    case GroupState::Standing::pending: return 1;
    case GroupState::Standing::acknowledged: return 2;
  }
  CLAW_CHECK(false);
  return 0;
}

GroupState::Standing take_standing(Cursor& in) {
  switch (in.number(1)) {
    case 0: return GroupState::Standing::waiting;
    case 1: return GroupState::Standing::pending;
    case 2: return GroupState::Standing::acknowledged;
  }
  in.fail();
  return GroupState::Standing::waiting;
}

std::uint64_t encoded_size(const Message& message) {
  std::uint64_t size = kLeastMessage + message.id.size();
  for (const OwnedField& field : message.fields) size += kLeastField + field.name.size() + field.value.size();
  for (const GroupState& group : message.groups) size += kLeastGroup + group.group.size() + group.consumer.size();
  return size;
}

void put_message(std::string& out, const Message& message) {
  put_text(out, message.id);
  put_number(out, message.key.high, 8);
  put_number(out, message.key.low, 8);
  put_number(out, message.neighbours.before, 8);
  put_number(out, message.neighbours.after, 8);
  put_number(out, message.fields.size(), 4);
  for (const OwnedField& field : message.fields) {
    put_text(out, field.name);
    put_text(out, field.value);
  }
  put_number(out, message.groups.size(), 4);
  for (const GroupState& group : message.groups) {
    put_text(out, group.group);
    put_number(out, number_of(group.standing), 1);
    put_text(out, group.consumer);
    put_number(out, group.attempts, 4);
    put_number(out, group.idle_ms, 8);
  }
}

GroupState take_group(Cursor& in) {
  GroupState group;
  group.group = in.text();
  group.standing = take_standing(in);
  group.consumer = in.text();
  group.attempts = static_cast<std::uint32_t>(in.number(4));
  group.idle_ms = in.number(8);
  return group;
}

Message take_message(Cursor& in) {
  Message message;
  message.id = in.text();
  message.key.high = in.number(8);
  message.key.low = in.number(8);
  message.neighbours.before = in.number(8);
  message.neighbours.after = in.number(8);
  const std::uint64_t fields = in.count(4, kLeastField);
  for (std::uint64_t i = 0; i < fields && in.ok(); ++i) {
    OwnedField field;
    field.name = in.text();
    field.value = in.text();
    message.fields.push_back(std::move(field));
  }
  const std::uint64_t groups = in.count(4, kLeastGroup);
  for (std::uint64_t i = 0; i < groups && in.ok(); ++i) message.groups.push_back(take_group(in));
  return message;
}

}  // namespace

void put_number(std::string& out, std::uint64_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i) out.push_back(static_cast<char>((value >> (8 * i)) & 0xff));
}

void put_text(std::string& out, std::string_view text) {
  CLAW_CHECK(text.size() <= std::numeric_limits<std::uint32_t>::max());
  put_number(out, text.size(), 4);
  out.append(text);
}

std::string_view Cursor::bytes(std::uint64_t size) {
  if (!ok_ || size > rest_.size()) {
    ok_ = false;
    return {};
  }
  const std::string_view taken = rest_.substr(0, static_cast<std::size_t>(size));
  rest_.remove_prefix(static_cast<std::size_t>(size));
  return taken;
}

std::uint64_t Cursor::number(unsigned bytes_wide) {
  std::uint64_t value = 0;
  unsigned shift = 0;
  for (const char c : bytes(bytes_wide)) {
    value |= static_cast<std::uint64_t>(static_cast<unsigned char>(c)) << shift;
    shift += 8;
  }
  return value;
}

std::uint64_t Cursor::count(unsigned bytes_wide, std::uint64_t least) {
  const std::uint64_t value = number(bytes_wide);
  if (value <= rest_.size() / least) return value;
  ok_ = false;
  return 0;
}

std::string encoded_head(std::uint64_t count) {
  std::string head;
  put_number(head, kVersion, 4);
  put_number(head, count, 8);
  return head;
}

Result<std::string> encode_messages(std::span<const Message> messages) {
  std::uint64_t size = kEncodedHead;
  for (const Message& message : messages) size += encoded_size(message);
  if (size >= kMaxPlain)  // which also bounds every length to 32 bits
    return make_error(Code::full, "encode snapshot", fmt::format("{} bytes, expected less than {}", size, kMaxPlain));
  std::string out = encoded_head(messages.size());
  out.reserve(static_cast<std::size_t>(size));
  for (const Message& message : messages) put_message(out, message);
  return out;
}

Result<std::vector<Message>> decode_messages(std::string_view bytes) {
  Cursor in(bytes);
  if (const std::uint64_t version = in.number(4); version != kVersion)
    return make_error(Code::corrupt, "decode snapshot", fmt::format("version {}, expected {}", version, kVersion));
  const std::uint64_t count = in.count(8, kLeastMessage);
  std::vector<Message> messages;
  if (in.ok()) messages.reserve(static_cast<std::size_t>(count));
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) messages.push_back(take_message(in));
  if (!in.ok() || !in.rest().empty())
    return make_error(Code::corrupt, "decode snapshot",
                      fmt::format("byte {} of {} does not fit, expected {} whole messages", in.offset(), bytes.size(), count));
  return messages;
}

}  // namespace claw
