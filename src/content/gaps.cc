#include "content/gaps.h"

#include <algorithm>
#include <bit>

namespace claw::content {

Gaps::Gap* Gaps::before(Slot slot) {
  if (slot < before_.size() && before_[slot] != 0) return &gaps_[before_[slot]];
  return &nowhere_;
}

Gaps::Gap* Gaps::find_more(Gap* from, Slot slot, const char* at, const char* end) {
  if (slot >= behind_.size()) return nullptr;
  for (const Id id : behind_[slot]) {
    if (!is_at(gaps_[id], at, end)) continue;
    lead(*from, id);
    return &gaps_[id];
  }
  return nullptr;
}

void Gaps::lead(Gap& from, Id to) {
  const auto free = std::find(from.next.begin(), from.next.end(), 0);
  if (from.id != 0 && free != from.next.end()) *free = to;
}

void Gaps::add(Gap* from, Slot slot, std::string_view bytes, std::span<const Step> steps, Slot next, To to) {
  const std::size_t compared = bytes.size() + (to == To::text ? 1 : 0);
  if (compared > kLongest || steps.size() > kMostSteps || gaps_.size() + 2 > kMost) return;
  if (gaps_.empty()) {
    gaps_.reserve(kMost);
    gaps_.push_back(nowhere_);
    rests_.emplace_back();
  }
  if (slot >= behind_.size()) behind_.resize(slot + 1u), before_.resize(slot + 1u);
  if (behind_[slot].size() >= kMostOfSlot) return;
  const auto fresh = [this](const Gap& gap) {
    gaps_.push_back(gap);
    gaps_.back().id = static_cast<Id>(gaps_.size() - 1);
    rests_.emplace_back();
    return gaps_.back().id;
  };
  if (before_[slot] == 0) before_[slot] = fresh({.bytes = {}, .blocks = {}, .slot = static_cast<std::uint16_t>(slot), .id = 0, .next = {}, .length = 0, .to = To::end});
  if (from == &nowhere_) from = &gaps_[before_[slot]];

  std::array<char, kLongest> padded{};
  std::copy(bytes.begin(), bytes.end(), padded.begin());
  if (to == To::text) padded[bytes.size()] = '"';
  const auto block = [&](std::size_t from_byte) {  // bytes below `compared` count
    const std::size_t count = std::min<std::size_t>(compared - std::min(compared, from_byte), 16);
    return static_cast<std::uint16_t>((1u << count) - 1);
  };
  Gap gap{.bytes = {}, .blocks = {block(0), block(16)}, .slot = static_cast<std::uint16_t>(next), .id = 0, .next = {}, .length = static_cast<std::uint8_t>(bytes.size()), .to = to};
  std::copy_n(padded.begin(), gap.bytes.size(), gap.bytes.begin());
  const Id id = fresh(gap);
  Rest& rest = rests_[id];
  std::copy(padded.begin() + 32, padded.end(), rest.bytes.begin());
  rest.block = block(32);
  rest.steps = static_cast<std::uint8_t>(steps.size());
  std::copy(steps.begin(), steps.end(), rest.step.begin());
  behind_[slot].push_back(id);
  lead(*from, id);
}

Outlines::Head Outlines::head_of(const Passed& gaps) {
  std::uint64_t h = gaps.size();
  for (const std::uint64_t word : gaps.words()) h = (h ^ word) * 0xd6e8feb86659fd93ull, h ^= h >> 32;
  return {.hash = static_cast<std::uint32_t>(h), .gaps = static_cast<std::uint16_t>(gaps.size()), .odd = 0};
}

std::optional<std::span<const std::uint32_t>> Outlines::find(const Passed& gaps) const {
  if (table_.empty()) return std::nullopt;
  const Head wanted = head_of(gaps);
  const std::span<const std::uint64_t> words = gaps.words();
  for (std::size_t at = place(wanted.hash); table_[at] != 0; at = (at + 1) % table_.size()) {
    const std::uint64_t* const one = words_.data() + (table_[at] - 1);
    const Head head = std::bit_cast<Head>(*one);
    if (head.hash != wanted.hash || head.gaps != wanted.gaps) continue;
    std::uint64_t differ = 0;
    for (std::size_t i = 0; i < words.size(); ++i) differ |= words[i] ^ one[1 + i];
    if (differ == 0) return std::span(reinterpret_cast<const std::uint32_t*>(one + 1 + words.size()), head.odd);
  }
  return std::nullopt;
}

void Outlines::add(const Passed& gaps, std::span<const std::uint32_t> odd) {
  if (count_ >= kMost || words_.size() > kMostWords || odd.size() > kMostOdd) return;
  if (table_.empty()) table_.resize(kMost * 2);
  Head head = head_of(gaps);
  head.odd = static_cast<std::uint16_t>(odd.size());
  std::size_t at = place(head.hash);
  while (table_[at] != 0) at = (at + 1) % table_.size();
  table_[at] = static_cast<std::uint32_t>(words_.size() + 1);
  ++count_;
  words_.push_back(std::bit_cast<std::uint64_t>(head));
  words_.insert(words_.end(), gaps.words().begin(), gaps.words().end());
  const std::size_t first = words_.size();
  words_.resize(first + (odd.size() + 1) / 2);
  std::copy(odd.begin(), odd.end(), reinterpret_cast<std::uint32_t*>(words_.data() + first));
}

}  // namespace claw::content
