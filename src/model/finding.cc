#include "model/finding.h"

#include <fmt/format.h>

#include <charconv>

#include "base/text.h"

namespace claw {
namespace {

// The whole of `text` as a number to `base`.
std::optional<std::uint64_t> number(std::string_view text, int base) {
  std::uint64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string_view name(Said said) {
  switch (said) {
    case Said::poison: return "poison";
    case Said::not_poison: return "not-poison";
    case Said::none: return "none";
  }
  std::abort();
}

std::optional<Said> said(std::string_view text) {
  for (const Said one : {Said::poison, Said::not_poison, Said::none})
    if (name(one) == text) return one;
  return std::nullopt;
}

std::string message_id(QueueType type, const PoisonRef& ref) {
  switch (type) {
    case QueueType::stream: return fmt::format("{}-{}", ref.key.high, ref.key.low);
    case QueueType::list:
    case QueueType::classic:
    case QueueType::quorum: return fmt::format("{}:{}@{:016x}", name(type), ref.key.high, ref.digest);
    case QueueType::standard:
    case QueueType::fifo: return uuid_text(ref.key);
  }
  std::abort();
}

Result<PoisonRef> ref_of_id(QueueType type, std::string_view id) {
  const Error wrong = make_error(Code::corrupt, "message id", "'" + escape(id, 60) + "' is none of a queue of type " + std::string(name(type)));
  PoisonRef ref;
  if (type == QueueType::standard || type == QueueType::fifo) {
    CLAW_TRY_ASSIGN(ref.key, uuid_key(id));
    return ref;
  }
  const std::string prefix = type == QueueType::stream ? std::string() : std::string(name(type)) + ":";
  if (!id.starts_with(prefix)) return wrong;
  id.remove_prefix(prefix.size());
  const std::size_t split = id.find(type == QueueType::stream ? '-' : '@');
  if (split == std::string_view::npos) return wrong;
  const auto first = number(id.substr(0, split), 10), second = number(id.substr(split + 1), type == QueueType::stream ? 10 : 16);
  if (!first || !second) return wrong;
  ref.key.high = *first;
  (type == QueueType::stream ? ref.key.low : ref.digest) = *second;
  return ref;
}

}  // namespace claw
