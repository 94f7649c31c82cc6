#include "api/board.h"

namespace claw::api {

void Board::publish(const Topology& topology, const Health& health) {
  const auto before = latest();
  auto seen = std::make_shared<const Seen>(Seen{.number = before ? before->number + 1 : 1, .at = clock_.now(), .topology = topology, .health = health});
  latest_.with([&](auto& latest) { latest = std::move(seen); });
}

std::shared_ptr<const Seen> Board::latest() const {
  return latest_.with([](const auto& latest) { return latest; });
}

}  // namespace claw::api
