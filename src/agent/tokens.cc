#include "agent/tokens.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/text.h"

namespace claw {
namespace {

using nlohmann::json;

std::string hash_of(std::string_view secret) { return hex(sha256(secret)); }

json words_of(const Token& token) {
  return {{"token", token.id}, {"name", token.name}, {"scopes", names(token.scopes)}, {"tenants", token.tenants ? json(*token.tenants) : json("all")}, {"expires", rfc3339(token.expires)}};
}

Status record(AuditLog& audit, json fields, const char* what, const std::string& actor, WallTime now) {
  fields.update({{"type", "token"}, {"did", what}, {"actor", escape(actor)}, {"ts", rfc3339(now)}});
  CLAW_TRY(audit.append(fields));
  return audit.checkpoint();
}

Status check(const TokenWish& wish) {
  if (wish.name.size() > 64 || !is_plain_name(wish.name)) return make_error(Code::invalid, "token name", "expected letters, digits, '-', '_' and '.', at most 64");
  if (wish.scopes.empty()) return make_error(Code::invalid, "token scopes", "expected at least one of observe, plan, approve, apply, restore");
  if (wish.tenants && wish.tenants->empty()) return make_error(Code::invalid, "token tenants", "expected at least one tenant; without any it is for all");
  if (wish.tenants)
    for (const TenantId& tenant : *wish.tenants)
      if (!is_plain_name(tenant)) return make_error(Code::invalid, "token tenants", escape(tenant, 64) + " is no tenant's name");
  if (wish.life < Millis(60'000) || wish.life > kLongestTokenLife) return make_error(Code::invalid, "token life", "expected a minute to a year");
  return {};
}

}  // namespace

Result<NewToken> create_token(const TokenWish& wish, const std::string& actor, Store& store, AuditLog& audit, Random& random, Clock& clock) {
  CLAW_TRY(check(wish));
  CLAW_TRY_ASSIGN(const std::vector<Token> all, store.tokens());
  for (const Token& other : all)  // what somebody did is known by the name
    if (other.name == wish.name && is_good(other, clock.now())) return make_error(Code::conflict, "token " + wish.name, "there is one of that name; revoke it first: deployclaw tokens revoke " + other.id);
  NewToken made;
  made.secret = "dct_" + random.hex(32);
  made.token = {.id = "tok_" + random.hex(6), .name = wish.name, .scopes = wish.scopes, .tenants = wish.tenants, .creator = actor, .created = clock.now(), .expires = clock.now() + wish.life};
  made.token.scopes.insert(Scope::observe);
  CLAW_TRY(record(audit, words_of(made.token), "created", actor, clock.now()));
  CLAW_TRY(store.save_token(made.token, hash_of(made.secret)));
  return made;
}

Status revoke_token(const std::string& id, const std::string& actor, Store& store, AuditLog& audit, Clock& clock) {
  CLAW_TRY(store.revoke_token(id));  // first: what is recorded has happened
  return record(audit, json{{"token", id}}, "revoked", actor, clock.now());
}

Result<std::optional<Token>> token_of(std::string_view secret, Store& store, Clock& clock) {
  constexpr std::size_t kSecretLength = 4 + 64;
  if (secret.size() != kSecretLength || !secret.starts_with("dct_")) return std::optional<Token>();
  CLAW_TRY_ASSIGN(std::optional<Token> found, store.token_by_hash(hash_of(secret)));
  return found && is_good(*found, clock.now()) ? found : std::nullopt;
}

}  // namespace claw
