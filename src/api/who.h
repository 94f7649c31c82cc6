// Who asks, and what that one may see and do.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "model/token.h"

namespace claw::api {

// What a route asks of its caller. Each of the scopes as it is named; local: the agent's own user alone, no token.
enum class Need { nothing, observe, plan, approve, apply, restore, local };

struct Who {
  std::string actor;             // "user:root", "token:ci"
  std::optional<Token> token;    // nullopt: the agent's own user, root, or a member of the socket's group

  bool may(Need need) const;
  bool sees_all() const { return !token || !token->tenants; }
  // Nobody's is seen by those alone who see everybody's.
  bool sees(const TenantId& tenant) const { return sees_all() || (!tenant.empty() && token->tenants->contains(tenant)); }
};

}  // namespace claw::api
