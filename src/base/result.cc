#include "base/result.h"

#include <cstdio>

namespace claw {

std::string_view name(Code code) {
  switch (code) {
    case Code::timed_out: return "timed_out";
    case Code::unavailable: return "unavailable";
    case Code::throttled: return "throttled";
    case Code::denied: return "denied";
    case Code::not_found: return "not_found";
    case Code::conflict: return "conflict";
    case Code::lease_lost: return "lease_lost";
    case Code::unsupported: return "unsupported";
    case Code::invalid: return "invalid";
    case Code::refused: return "refused";
    case Code::full: return "full";
    case Code::corrupt: return "corrupt";
    case Code::outcome_unknown: return "outcome_unknown";
  }
  std::abort();
}

std::string Error::message() const {
  std::string text = op;
  text += ": ";
  text += detail;
  text += " (";
  text += name(code);
  text += ")";
  return text;
}

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "deployclaw: internal check failed: %s at %s:%d\n", condition, file, line);
  std::abort();
}

}  // namespace claw
