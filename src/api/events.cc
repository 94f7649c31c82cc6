#include "api/events.h"

#include <fmt/format.h>

#include <charconv>

namespace claw::api {

class Follower final : public http::Feed {
 public:
  Follower(Events& events, std::uint64_t next, std::string opening, Events::Filter filter) : events_(events), next_(next), opening_(std::move(opening)), filter_(std::move(filter)) {}

  void pull(std::string& out) override {
    out += std::exchange(opening_, {});
    events_.ring_.with([&](const Events::Ring& ring) {
      if (next_ < ring.begin()) {
        out += fmt::format("id: {}-{}\nevent: resync\ndata: {{}}\n\n", events_.epoch_, ring.end - 1);
        next_ = ring.end;
      }
      for (; next_ < ring.end; ++next_) {
        const Events::Event& event = ring.events[next_ - ring.begin()];
        const std::optional<std::string> json = filter_ ? filter_(event.type, event.json) : event.json;
        if (json) out += fmt::format("id: {}-{}\nevent: {}\ndata: {}\n\n", events_.epoch_, next_, event.type, *json);
      }
    });
  }

 private:
  Events& events_;
  std::uint64_t next_;
  std::string opening_;
  Events::Filter filter_;
};

void Events::publish(std::string type, std::string json) {
  ring_.with([&](Ring& ring) {
    ring.events.push_back({std::move(type), std::move(json)});
    ++ring.end;
    if (ring.events.size() > kRing) ring.events.pop_front();
  });
  published_();
}

std::unique_ptr<http::Feed> Events::follow(std::string_view last_id, std::string hello, Filter filter) {
  const std::uint64_t end = ring_.with([](const Ring& ring) { return ring.end; });
  std::string opening = "retry: 2000\n\nevent: hello\ndata: " + std::move(hello) + "\n\n";
  std::uint64_t last = 0;
  const bool same_epoch = last_id.size() > epoch_.size() && last_id.starts_with(epoch_) && last_id[epoch_.size()] == '-' &&
                          std::from_chars(last_id.data() + epoch_.size() + 1, last_id.data() + last_id.size(), last).ec == std::errc() && last < end;
  if (same_epoch) return std::make_unique<Follower>(*this, last + 1, std::move(opening), std::move(filter));
  if (!last_id.empty()) opening += fmt::format("id: {}-{}\nevent: resync\ndata: {{}}\n\n", epoch_, end - 1);
  return std::make_unique<Follower>(*this, end, std::move(opening), std::move(filter));
}

}  // namespace claw::api
