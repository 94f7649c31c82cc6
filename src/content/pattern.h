// Regular expressions of contracts: ECMA-262 as far as it has a linear time bound, run by RE2.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace re2 {
class RE2;
}

namespace claw::content {

// Immutable; shared by threads.
class Pattern {
 public:
  // Code::unsupported for look-around and back-references, Code::invalid for what is no expression.
  static Result<Pattern> compile(std::string_view ecma);
  // Anywhere in the text, which is UTF-8.
  bool matches(std::string_view text) const;

 private:
  std::shared_ptr<const re2::RE2> regex_;
};

}  // namespace claw::content
