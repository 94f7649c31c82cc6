#include "model/token.h"

#include <array>
#include <cstdlib>

namespace claw {
namespace {
constexpr std::array kScopes = {Scope::observe, Scope::plan, Scope::approve, Scope::apply, Scope::restore};
}

std::string_view name(Scope scope) {
  switch (scope) {
    case Scope::observe: return "observe";
    case Scope::plan: return "plan";
    case Scope::approve: return "approve";
    case Scope::apply: return "apply";
    case Scope::restore: return "restore";
  }
  std::abort();
}

std::optional<Scope> scope(std::string_view text) {
  for (const Scope one : kScopes)
    if (name(one) == text) return one;
  return std::nullopt;
}

std::vector<std::string> names(const std::set<Scope>& scopes) {
  std::vector<std::string> out;
  for (const Scope one : scopes) out.emplace_back(name(one));
  return out;
}

bool is_good(const Token& token, WallTime now) { return !token.revoked && now < token.expires; }

}  // namespace claw
