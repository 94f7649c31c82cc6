// Binary numbers in the spelling of Visitor::number.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <string>

namespace claw::content {

// The shortest text that reads back as the same value: "0.1", "1e+20", "NaN", "-Infinity".
template <class Float>
std::string number_text(Float value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return fmt::format("{}", value);
}

}  // namespace claw::content
