// Trouble that no threshold shows: consumers that are gone, that hold and do nothing, that hoard, or that slowly fall behind; and
// the opposite, a backlog that is on its way out by itself. Pure. The rules are Burrow's for consumer lag (progress over a
// window of samples, never one value), with what brokers tell beyond offsets: what is held, and who is there.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/queue.h"
#include "model/sample.h"

namespace claw {

enum class SymptomKind {
  no_consumers,    // work waits and nobody is there
  stalled,         // consumers are there and acknowledge nothing
  redelivering,    // more is delivered again than is acknowledged
  hoarding,        // consumers hold far more than they do
  falling_behind,  // consumers work, and the backlog grows all the same
};
std::string_view name(SymptomKind kind);

struct Symptom {
  QueueId queue;
  SymptomKind kind = SymptomKind::stalled;
  WallTime since;     // of the history that shows it
  std::string words;  // "3 consumers hold 200 messages and acknowledged none for 2m"
};

struct SymptomRule {
  Millis seen_for = std::chrono::seconds(60);     // a state shorter than this is no symptom
  Millis leak_window = std::chrono::minutes(10);  // over which a backlog must have grown to be a leak
  std::size_t leak_steps = 8;                     // equal parts of that window, each of which must have grown
  std::uint64_t hoard = 1'000;                    // messages held below which nobody hoards
  std::uint64_t storm = 100;                      // redeliveries in `seen_for` below which there is no storm
};

// Of one queue, gravest first. `history` is oldest first; its last sample is now.
std::vector<Symptom> symptoms_of(const QueueId& queue, std::span<const Sample> history, const SymptomRule& rule = {});

// The backlog falls steadily, and at that pace it is gone within `within`: how long that takes. Nothing when it does not.
std::optional<Millis> heals_within(std::span<const Sample> history, Millis within, const SymptomRule& rule = {});

// Consumers of a queue that have shown themselves lately; nullopt where the broker tells of none.
std::optional<std::uint64_t> live_consumers(const QueueView& queue);

// What history keeps of a view.
Sample sample_of(const QueueView& view, WallTime at);

}  // namespace claw
