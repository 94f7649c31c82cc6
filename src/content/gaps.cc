#include "content/gaps.h"

#include <algorithm>

namespace claw::content {

Gaps::Gap* Gaps::before(Slot slot) {
  if (slot < before_.size() && before_[slot] != 0) return &gaps_[before_[slot]];
  nowhere_.slot = static_cast<std::uint16_t>(slot);
  return &nowhere_;
}

Gaps::Gap* Gaps::find_more(Gap* from, const char* at, const char* end) {
  if (from->slot >= behind_.size()) return nullptr;
  for (const Id id : behind_[from->slot]) {
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

void Gaps::add(Gap* from, std::string_view bytes, std::span<const Step> steps, Slot slot, To to) {
  const std::size_t compared = bytes.size() + (to == To::text ? 1 : 0);
  if (compared > kLongest || steps.size() > kMostSteps || gaps_.size() + 2 > kMost) return;
  if (gaps_.empty()) {
    gaps_.reserve(kMost);
    gaps_.push_back(nowhere_);
    rests_.emplace_back();
  }
  const Slot at = from->slot;
  if (at >= behind_.size()) behind_.resize(at + 1u), before_.resize(at + 1u);
  if (behind_[at].size() >= kMostOfSlot) return;
  const auto fresh = [this](Gap gap) {
    gap.id = static_cast<Id>(gaps_.size());
    gaps_.push_back(gap);
    rests_.emplace_back();
    return gap.id;
  };
  if (before_[at] == 0) before_[at] = fresh({.bytes = {}, .blocks = {}, .slot = static_cast<std::uint16_t>(at), .id = 0, .next = {}, .length = 0, .to = To::end});
  if (from == &nowhere_) from = &gaps_[before_[at]];

  std::array<char, kLongest> padded{};
  std::copy(bytes.begin(), bytes.end(), padded.begin());
  if (to == To::text) padded[bytes.size()] = '"';
  const auto block = [&](std::size_t from_byte) {  // bytes below `compared` count
    const std::size_t count = std::min<std::size_t>(compared - std::min(compared, from_byte), 16);
    return static_cast<std::uint16_t>((1u << count) - 1);
  };
  Gap gap{.bytes = {}, .blocks = {block(0), block(16)}, .slot = static_cast<std::uint16_t>(slot), .id = 0, .next = {}, .length = static_cast<std::uint8_t>(bytes.size()), .to = to};
  std::copy_n(padded.begin(), gap.bytes.size(), gap.bytes.begin());
  const Id id = fresh(gap);
  Rest& rest = rests_[id];
  std::copy(padded.begin() + 32, padded.end(), rest.bytes.begin());
  rest.block = block(32);
  rest.steps = static_cast<std::uint8_t>(steps.size());
  std::copy(steps.begin(), steps.end(), rest.step.begin());
  behind_[at].push_back(id);
  lead(*from, id);
}

namespace {

// One by one: ids that were written a moment ago cannot be read several at once without waiting for the cache.
bool same(const Gaps::Id* a, const Gaps::Id* b, std::size_t count) {
  std::uint32_t differ = 0;
  for (std::size_t i = 0; i < count; ++i) differ |= static_cast<std::uint32_t>(a[i] ^ b[i]);
  return differ == 0;
}

}  // namespace

std::optional<std::span<const std::uint32_t>> Outlines::find(std::uint64_t hash, std::span<const std::uint16_t> gaps) const {
  if (table_.empty()) return std::nullopt;
  for (std::size_t at = place(hash); table_[at] != 0; at = (at + 1) % table_.size()) {
    const Outline& one = outlines_[table_[at] - 1u];
    if (one.hash != hash || one.gaps != gaps.size() || !same(gaps.data(), &gaps_[one.first_gap], gaps.size())) continue;
    return std::span(odd_).subspan(one.first_odd, one.odd);
  }
  return std::nullopt;
}

void Outlines::add(std::uint64_t hash, std::span<const std::uint16_t> gaps, std::span<const std::uint32_t> odd) {
  if (outlines_.size() >= kMost || gaps_.size() + gaps.size() > kMostGaps || odd.size() > kMostOdd) return;
  if (table_.empty()) table_.resize(kMost * 2);
  std::size_t at = place(hash);
  while (table_[at] != 0) at = (at + 1) % table_.size();
  outlines_.push_back({hash, static_cast<std::uint32_t>(gaps_.size()), static_cast<std::uint32_t>(gaps.size()), static_cast<std::uint32_t>(odd_.size()), static_cast<std::uint32_t>(odd.size())});
  gaps_.insert(gaps_.end(), gaps.begin(), gaps.end());
  odd_.insert(odd_.end(), odd.begin(), odd.end());
  table_[at] = static_cast<std::uint16_t>(outlines_.size());
}

}  // namespace claw::content
