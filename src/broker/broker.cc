#include "broker/broker.h"

#include <cstdlib>

namespace claw {

std::string_view name(Fate fate) {
  switch (fate) {
    case Fate::removed: return "removed";
    case Fate::gone: return "gone";
    case Fate::not_found: return "not_found";
    case Fate::too_deep: return "too_deep";
  }
  std::abort();
}

std::string_view name(RestoreOrder order) {
  switch (order) {
    case RestoreOrder::exact: return "original";
    case RestoreOrder::tail: return "tail";
  }
  std::abort();
}

std::vector<const Quarantined*> genuine(std::span<const Quarantined> held, std::span<const Message> messages) {
  std::vector<const Quarantined*> ours;
  std::vector<bool> seen(messages.size(), false);
  for (const Quarantined& one : held) {
    if (one.number >= messages.size() || seen[one.number] || messages[one.number].fields != one.message.fields) continue;
    seen[one.number] = true;
    ours.push_back(&one);
  }
  return ours;
}

Result<std::vector<QuarantinedDigest>> Broker::quarantined_digests(const QueueId& queue, const std::string& quarantine, const std::string& execution_id, Deadline deadline) {
  CLAW_TRY_ASSIGN(const auto held, quarantined(queue, quarantine, execution_id, deadline));
  std::vector<QuarantinedDigest> out;
  for (const Quarantined& one : held) out.push_back({.number = one.number, .quarantine_id = one.quarantine_id, .digest = one.message.digest()});
  return out;
}

Status Broker::quarantine_again(const RestoreRequest& request, std::span<const std::size_t>, Deadline) {
  return make_error(Code::unsupported, "quarantine " + request.queue.text(), "this broker's quarantine cannot be filled from the vault");
}

std::uint64_t Broker::out_of_reach(const PlannedQueue&, Millis) const { return 0; }

}  // namespace claw
