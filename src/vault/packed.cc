#include "vault/packed.h"

#include <fmt/format.h>

#include <algorithm>

#include "vault/codec.h"
#include "vault/sealed.h"

namespace claw {
namespace {

constexpr std::size_t kMostInBlock = 500;
constexpr std::size_t kBytesInBlock = 1u << 20;

std::size_t size_of(const Message& message) {
  std::size_t size = 0;
  for (const OwnedField& field : message.fields) size += field.name.size() + field.value.size();
  return size;
}

}  // namespace

Status PackedMessages::add(std::span<const Message> messages) {
  while (!messages.empty()) {
    std::size_t count = 0;
    for (std::size_t bytes = 0; count < std::min(messages.size(), kMostInBlock) && bytes < kBytesInBlock; ++count) bytes += size_of(messages[count]);
    const auto some = messages.first(count);
    CLAW_TRY_ASSIGN(const std::string plain, encode_messages(some));
    if (plain_ + plain.size() >= kMaxPlain) return make_error(Code::full, "snapshot", fmt::format("more than {} bytes of messages of one queue", kMaxPlain));
    plain_ += plain.size() - kEncodedHead;
    CLAW_TRY_ASSIGN(std::string packed, compress(plain));
    blocks_.push_back({.first = digests_.size(), .count = count, .packed = std::move(packed)});
    for (const Message& message : some) digests_.push_back(message.digest());
    messages = messages.subspan(count);
  }
  return {};
}

Result<std::vector<Message>> PackedMessages::slice(std::size_t first, std::size_t count) const {
  CLAW_CHECK(first + count <= size());
  std::vector<Message> out;
  out.reserve(count);
  for (const Block& block : blocks_) {
    if (block.first + block.count <= first || block.first >= first + count) continue;
    CLAW_TRY_ASSIGN(const std::string plain, decompress(block.packed));
    CLAW_TRY_ASSIGN(std::vector<Message> messages, decode_messages(plain));
    for (std::size_t i = std::max(first, block.first); i < std::min(first + count, block.first + block.count); ++i) out.push_back(std::move(messages[i - block.first]));
  }
  return out;
}

std::uint64_t PackedMessages::encoded_size() const { return kEncodedHead + plain_; }

Status PackedMessages::encoded(const std::function<Status(std::string_view)>& take) const {
  CLAW_TRY(take(encoded_head(size())));
  for (const Block& block : blocks_) {
    CLAW_TRY_ASSIGN(const std::string plain, decompress(block.packed));
    CLAW_TRY(take(std::string_view(plain).substr(kEncodedHead)));
  }
  return {};
}

}  // namespace claw
