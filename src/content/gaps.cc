#include "content/gaps.h"

#include <algorithm>

namespace claw::content {

void Gaps::add(Slot from, std::string_view bytes, std::span<const Step> steps, Slot slot, To to) {
  const std::size_t compared = bytes.size() + (to == To::text ? 1 : 0);
  if (compared > kLongest || steps.size() > kMostSteps || from >= Paths::kMostSlots || gaps_.size() > UINT16_MAX) return;
  Ways* const next = this->from(to == To::end ? Paths::kRoot : slot);
  this->from(from);
  const auto free = std::find(ways_[from].begin(), ways_[from].end(), nullptr);
  if (free == ways_[from].end() - 1) return;
  Gap& gap = gaps_.emplace_back(Gap{
      .bytes = {}, .next = next, .slot = slot, .id = static_cast<std::uint16_t>(gaps_.size()), .met = 0, .blocks = {}, .length = static_cast<std::uint8_t>(bytes.size()), .steps = static_cast<std::uint8_t>(steps.size()), .to = to, .step = {}});
  std::copy(bytes.begin(), bytes.end(), gap.bytes.begin());
  std::copy(steps.begin(), steps.end(), gap.step.begin());
  if (to == To::text) gap.bytes[bytes.size()] = '"';
  for (std::size_t i = 0; i < compared; ++i) gap.blocks[i / 16] = static_cast<std::uint16_t>(gap.blocks[i / 16] | 1u << (i % 16));
  *free = &gap;
}

std::optional<std::span<const std::uint32_t>> Outlines::find(std::uint64_t hash, std::span<const std::uint16_t> gaps) const {
  if (table_.empty()) return std::nullopt;
  for (std::size_t at = place(hash); table_[at] != 0; at = (at + 1) % table_.size()) {
    const Outline& one = outlines_[table_[at] - 1u];
    if (one.hash != hash || one.gaps != gaps.size() || !std::equal(gaps.begin(), gaps.end(), gaps_.begin() + one.first_gap)) continue;
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
