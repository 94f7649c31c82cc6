#include "content/gaps.h"

#include <algorithm>

namespace claw::content {

void Gaps::add(Slot from, std::string_view bytes, std::span<const Step> steps, Slot slot, To to) {
  const std::size_t compared = bytes.size() + (to == To::text ? 1 : 0);
  if (compared > kLongest || steps.size() > kMostSteps || from >= Paths::kMostSlots || gaps_.size() > UINT16_MAX) return;
  Ways& ways = *this->from(from);
  const auto free = std::find(ways.begin(), ways.end(), nullptr);
  if (free == ways.end() - 1) return;
  std::array<char, kLongest> padded{};
  std::copy(bytes.begin(), bytes.end(), padded.begin());
  if (to == To::text) padded[bytes.size()] = '"';
  const auto block = [&](std::size_t from_byte) {  // bytes below `compared` count
    const std::size_t count = std::min<std::size_t>(compared - std::min(compared, from_byte), 16);
    return static_cast<std::uint16_t>((1u << count) - 1);
  };
  Rest& rest = rests_.emplace_back(Rest{.bytes = {}, .block = block(32), .steps = static_cast<std::uint8_t>(steps.size()), .step = {}});
  std::copy(padded.begin() + 32, padded.end(), rest.bytes.begin());
  std::copy(steps.begin(), steps.end(), rest.step.begin());
  Gap& gap = gaps_.emplace_back(Gap{.bytes = {}, .next = this->from(to == To::end ? Paths::kRoot : slot), .rest = &rest, .blocks = {block(0), block(16)}, .slot = slot, .met = 0,
                                    .id = static_cast<std::uint16_t>(gaps_.size()), .length = static_cast<std::uint8_t>(bytes.size()), .to = to});
  std::copy_n(padded.begin(), gap.bytes.size(), gap.bytes.begin());
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
