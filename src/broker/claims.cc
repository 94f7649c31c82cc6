#include "broker/claims.h"

#include "base/text.h"

namespace claw {

bool names_one_queue(const Claim& claim) { return !claim.tenant.empty() && claim.match.match.find_first_of("*?[") == std::string::npos; }

Claims::Claims(const BrokerName& broker, std::span<const Claim> claims) : broker_(broker) {
  for (const Claim& claim : claims) {
    if (names_one_queue(claim)) by_name_.emplace(claim.match.match, &claim);
    else patterns_.push_back(&claim);
  }
}

Result<std::optional<Owner>> Claims::owner_of(std::string_view queue) const {
  std::optional<Owner> owner;
  const auto take = [&](const Claim& claim, TenantId tenant) -> Status {
    if (owner && owner->tenant != tenant)
      return make_error(Code::conflict, "queue " + broker_ + "/" + escape(queue, 120), "is claimed by tenants " + owner->tenant + " and " + tenant);
    if (!owner) owner = Owner{std::move(tenant), &claim};
    return {};
  };
  const auto [first, last] = by_name_.equal_range(queue);
  for (auto named = first; named != last; ++named) CLAW_TRY(take(*named->second, named->second->tenant));
  for (const Claim* claim : patterns_) {
    if (!claim->tenant.empty()) {
      if (glob_match(claim->match.match, queue)) CLAW_TRY(take(*claim, claim->tenant));
    } else if (std::optional<TenantId> tenant = capture_tenant(claim->match.match, queue)) {
      CLAW_TRY(take(*claim, std::move(*tenant)));
    }
  }
  return owner;
}

}  // namespace claw
