// Server-sent events: a ring that everybody reads at his own pace.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/guarded.h"
#include "http/message.h"

namespace claw::api {

// Thread-safe. Ids are "<epoch>-<number>"; the epoch is of this process.
class Events {
 public:
  static constexpr std::size_t kRing = 4'096;

  // `published` is called after each event, on the thread that published it.
  Events(std::string epoch, std::function<void()> published) : epoch_(std::move(epoch)), published_(std::move(published)) {}

  void publish(std::string type, std::string json);
  // Everything after `last_id`; from now on when that is empty; one "resync" first when it is not in the ring any more.
  // A reader that falls out of the ring gets a "resync" too. Must not outlive this object.
  // `filter` says what the reader gets of an event, nothing for what is none of his; empty: all of it.
  using Filter = std::function<std::optional<std::string>(const std::string& type, const std::string& json)>;
  std::unique_ptr<http::Feed> follow(std::string_view last_id, std::string hello, Filter filter = {});

 private:
  friend class Follower;
  struct Event {
    std::string type;
    std::string json;
  };
  struct Ring {
    std::deque<Event> events;
    std::uint64_t end = 1;  // number of the next event
    std::uint64_t begin() const { return end - events.size(); }
  };

  const std::string epoch_;
  const std::function<void()> published_;
  Guarded<Ring> ring_;
};

}  // namespace claw::api
