// Findings in words: what is wrong where, what is normal there, the counts, and what would change our mind.
#pragma once

#include <string>
#include <vector>

#include "detect/mine.h"
#include "model/finding.h"

namespace claw::detect {

// `queues`: names, for signatures that hold in one queue only.
Signature signature_of(const Population& population, const Mined& mined, const std::vector<std::string>& queues);

// Of a signature with these counts among all; `unnamed`: its messages that have no id and whose content was not kept.
std::string explanation_of(const Population& population, const Mining& mining, const Mined& mined, const Signature& signature, std::uint64_t unnamed);

// Non-empty when consumers fail whatever they are given.
std::string outage_of(const Population& population, const Mining& mining);

// Changes that harm nobody: values and shapes that came up lately and pass or wait, none of which failed.
std::vector<std::string> notes_of(Population& population, const Mining& mining);

}  // namespace claw::detect
