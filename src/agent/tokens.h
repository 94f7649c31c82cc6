// Tokens of the API: made, told once, kept as a hash. 256 random bits need no slow hash.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "audit/log.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "model/token.h"
#include "store/store.h"

namespace claw {

inline constexpr Millis kLongestTokenLife = std::chrono::days(366);

struct TokenWish {
  std::string name;                            // plain, at most 64
  std::set<Scope> scopes;                      // at least one; "observe" comes with every other
  std::optional<std::set<TenantId>> tenants;
  Millis life = std::chrono::days(30);
};

struct NewToken {
  Token token;
  std::string secret;  // "dct_" and 64 hex digits: shown once, never again
};

// Thread-safe, as what they are given. Each change is in the audit log, without the secret and without its hash.
Result<NewToken> create_token(const TokenWish& wish, const std::string& actor, Store& store, AuditLog& audit, Random& random, Clock& clock);
// Code::not_found when there is none of that id.
Status revoke_token(const std::string& id, const std::string& actor, Store& store, AuditLog& audit, Clock& clock);
// The token of this secret; nullopt when there is none, or it is revoked or has expired.
Result<std::optional<Token>> token_of(std::string_view secret, Store& store, Clock& clock);

}  // namespace claw
