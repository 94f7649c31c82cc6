#include "api/who.h"

#include <cstdlib>

namespace claw::api {

bool Who::may(Need need) const {
  if (!token) return true;
  switch (need) {
    case Need::nothing: return true;
    case Need::observe: return token->scopes.contains(Scope::observe);
    case Need::plan: return token->scopes.contains(Scope::plan);
    case Need::approve: return token->scopes.contains(Scope::approve);
    case Need::apply: return token->scopes.contains(Scope::apply);
    case Need::restore: return token->scopes.contains(Scope::restore);
    case Need::local: return false;
  }
  std::abort();
}

}  // namespace claw::api
