// Consumers watched after a removal: do they work again, do the skill's guards hold, when is the backlog gone.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "base/clock.h"
#include "base/result.h"
#include "model/sample.h"
#include "policy/guard.h"
#include "remedy/drain.h"
#include "skill/protocol.h"

namespace claw {

// How a plan's queues stood before anything was removed from them.
struct Before {
  Sample sample;
  std::optional<double> redeliveries_per_s;
};

using Befores = std::map<QueueId, std::optional<Before>>;  // nullopt: not known

struct Watched {
  Recovery recovery;                   // of all the tenant's queues
  std::map<QueueId, Looked> planned;   // each of the plan's
  std::uint64_t backlog = 0;           // of the tenant, at the end
  bool unseen() const;                 // consumers are known, and not one of them has asked for work yet
};

struct Watch {
  Clock& clock;
  std::function<Result<std::vector<QueueView>>()> measure;                                       // the tenant's queues now
  std::function<Result<std::optional<double>>(const std::vector<QueueView>&)> baseline = {};     // acknowledgements a second when all is well; empty: unknown
  std::function<Status()> go_on = {};                                                            // asked before each look: the brake, a time limit
  Befores planned = {};
  Progress& progress;
};

// Looks every 100 ms until `enough` says so or the time is up; at least twice.
Result<Watched> watch_consumers(const Watch& watch, Millis time, const std::function<bool(const Watched&)>& enough);

// The guards of a skill's verify stage but conservation, which the drain checks by itself.
std::vector<GuardAnswer> ask_guards(const skill::Stage& verify, const Watched& seen);
// Passed when none fails.
remedy::Check check_of(const std::vector<GuardAnswer>& answers);

// The verify stage after wave `w` of `waves`: a plan too small for all waves of its skill ends with the last one's.
const skill::Stage& verify_after(const skill::Protocol& protocol, std::size_t w, std::size_t waves);

std::string recovery_words(const Recovery& recovery);

// When the backlog was expected to be gone, and when it was.
struct Expectation {
  std::string execution_id;
  WallTime since;
  Millis expected{0};
  std::uint64_t backlog = 0;  // then
  WallTime looked;            // last; a gap in the looks means that the end may have been missed
};
std::string expectation_text(const Expectation& expectation);
Result<Expectation> expectation_from_text(std::string_view text, const std::string& execution_id);
// Of the backlog that there was, a hundredth is left: with live producers it is never nothing.
bool is_gone(const Expectation& expectation, std::uint64_t backlog);
std::string expectation_words(const Expectation& expectation, Millis took);  // "Backlog gone after 31s; 24s were expected (29% more)."

}  // namespace claw
