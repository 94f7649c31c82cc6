#include "redis/list_walk.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <span>
#include <vector>

#include "redis/operations.h"

namespace claw::redis {
namespace {

constexpr std::int64_t kPage = 2'000;
constexpr std::int64_t kOverlap = 64;  // entries read again with the next page, to find where the last one ended
constexpr std::size_t kTrail = 4;

std::uint64_t digest_of(std::string_view body) {
  const Field field{"", body};
  return short_digest(std::span(&field, 1));
}

// Where in a page the entries go on after those that were read: entries pushed or popped at the head meanwhile moved them.
// Nothing when they cannot be found again.
std::optional<std::size_t> continuation(std::span<const std::uint64_t> page, std::span<const std::uint64_t> trail) {
  std::optional<std::size_t> best;
  const auto expected = static_cast<std::ptrdiff_t>(std::min<std::size_t>(kOverlap, page.size()));
  const auto far = [&](std::size_t at) { return std::abs(static_cast<std::ptrdiff_t>(at) - expected); };
  for (std::size_t at = trail.size(); at <= page.size(); ++at)
    if (std::equal(trail.begin(), trail.end(), page.begin() + static_cast<std::ptrdiff_t>(at - trail.size())) && (!best || far(at) < far(*best))) best = at;
  return best;
}

}  // namespace

Result<Extent> walk_list(Connection& connection, const std::string& key, const std::function<void(const WalkedEntry&)>& see, Deadline deadline) {
  Extent extent;
  std::vector<std::uint64_t> trail, page;
  for (;;) {
    const std::int64_t from = std::max<std::int64_t>(0, extent.length - kOverlap);
    CLAW_TRY_ASSIGN(const Reply reply, connection.call({"LRANGE", key, std::to_string(from), std::to_string(from + kPage - 1)}, call_deadline(connection, deadline)));
    page.clear();
    Reply::View value = reply.root().first();
    for (std::size_t i = 0; i < reply.root().size(); ++i, value = value.next()) page.push_back(digest_of(value.text()));
    auto fresh = static_cast<std::size_t>(extent.length - from);
    const std::optional<std::size_t> found = trail.empty() ? fresh : continuation(page, trail);
    extent.drift += static_cast<std::int64_t>(found.value_or(fresh)) - static_cast<std::int64_t>(fresh);
    fresh = std::min(found.value_or(fresh), page.size());
    value = reply.root().first();
    for (std::size_t i = 0; i < page.size(); ++i, value = value.next()) {
      if (i < fresh) continue;
      const std::int64_t place = from + static_cast<std::int64_t>(i);
      see({.place = place, .drift = extent.drift, .adjoins = found.has_value() || i > fresh, .body = value.text(), .digest = page[i]});
      extent.length = place + 1;
      extent.bytes += value.text().size();
    }
    if (page.size() < static_cast<std::size_t>(kPage)) return extent;
    trail.assign(page.end() - kTrail, page.end());
  }
}

}  // namespace claw::redis
