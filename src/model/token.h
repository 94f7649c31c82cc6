// A key to the API for somebody who is not the agent's own user: what it may ask, and of which tenants.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "model/queue.h"

namespace claw {

enum class Scope { observe, plan, approve, apply, restore };
std::string_view name(Scope scope);
std::optional<Scope> scope(std::string_view name);

struct Token {
  std::string id;                              // "tok_…": names it, opens nothing
  std::string name;                            // whose it is, for people
  std::set<Scope> scopes;
  std::optional<std::set<TenantId>> tenants;   // nullopt: all
  std::string creator;                         // "user:root"
  WallTime created;
  WallTime expires;
  bool revoked = false;
};

std::vector<std::string> names(const std::set<Scope>& scopes);
bool is_good(const Token& token, WallTime now);  // neither revoked nor expired

}  // namespace claw
