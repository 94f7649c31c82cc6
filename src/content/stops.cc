#include "content/stops.h"

namespace claw::content {

const char* Stops::next_far(const char* at) const {
  const auto place = static_cast<std::size_t>(at - text_);
  std::size_t word = place / kStopsBlock;
  std::uint64_t bits = bits_[word] >> place % kStopsBlock << place % kStopsBlock;
  while (bits == 0) bits = bits_[++word];
  return text_ + word * kStopsBlock + std::countr_zero(bits);
}

}  // namespace claw::content
