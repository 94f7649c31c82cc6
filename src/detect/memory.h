// What earlier looks at one queue taught: what passed, and what was there last time.
//
// Few brokers show what was acknowledged. But a message that one look saw and the next ones do not, while acknowledgements
// account for it, has passed, and what passes is what poison is told from. Nothing of a message can be read from a memory:
// names and identities are kept as salted hashes. Old passes weigh less: half after kHalfLife.
//
// What it could not have seen it says nothing of: values of a path that was not kept, a class that was the usual one then. And
// that others passed counts only where they did while it failed: an outage must not be judged by better days.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "detect/population.h"
#include "model/queue.h"

namespace claw::detect {

// Serialised with to_bytes(). Not for two threads at once.
class Memory {
 public:
  static constexpr Millis kHalfLife = std::chrono::days(7);
  static constexpr Millis kComparable = std::chrono::hours(1);  // between two looks, at most
  static constexpr Millis kSoon{2'000};                         // a look that follows sooner is not compared: the one before stands
  static constexpr Millis kStillFresh{30'000};                  // and so does what it told, for so long, when little left since
  static constexpr std::uint64_t kLeastPasses = 50;             // fewer prove nothing
  static constexpr std::uint64_t kLeastFresh = 20;              // gone since the last look: consumers are alive
  static constexpr std::size_t kMostNames = 1u << 14;

  explicit Memory(std::uint64_t salt) : salt_(salt) {}
  // Code::corrupt for bytes that to_bytes() did not make; Code::unsupported when another version of the detector did.
  static Result<Memory> from_bytes(std::string_view bytes);
  std::string to_bytes() const;

  // Compares with the look before, then keeps this one. `compares`: it can be, see Window.
  void learn(Population& population, std::uint32_t queue, const QueueView& view, bool compares, WallTime now);
  // Adds what passed, as much as it weighs at the time of the last learn(), to population.remembered.
  void tell(Population& population, std::uint32_t queue) const;
  // Something else than consumers is about to change the queue: the next look is not compared with this one. Of a memory's
  // bytes, which are not read for it.
  static void compare_no_more(std::string& bytes);

 private:
  using Name = std::uint64_t;
  struct Was {
    std::uint64_t identity;
    std::uint32_t row;   // into rows_
    bool gone = false;   // missing in the last look
  };
  struct Look;

  Name name_of(std::string_view kind, std::string_view path, std::string_view detail, std::uint64_t number = 0) const;
  Name name_of(const Atom& atom, const std::string& sub) const;
  Name name_of_form(const Population::Queue& of) const { return name_of("form", "", of.opened ? "opened" : "plain"); }
  // What must have been known for an atom to be seen at all.
  Name condition_of(const Atom& atom, const Population& population, const Population::Queue& of) const;
  Look see(Population& population, std::uint32_t queue) const;
  void age(WallTime now);
  // How many of the passes were counted while this name was known; 0: it is not.
  double counted_for(Name known) const;
  void count(const std::vector<Was>& passed);

  std::uint64_t salt_;
  WallTime aged_{};  // passed_ and total_ are as of then
  double total_ = 0;
  std::map<Name, double> passed_;
  // What was usual at each path, which paths' values were kept, under which contract: and total_ when that became known.
  std::map<Name, double> known_;
  // Of the last comparison: messages that were there the look before and are not now, and what was failing the look before.
  // Passes while it failed, that is what tells poison from an outage.
  std::uint64_t fresh_ = 0;
  std::set<Name> failed_before_;
  WallTime compared_{};
  // The last look.
  WallTime looked_{};
  std::uint64_t acknowledged_ = 0;
  std::vector<std::vector<Name>> rows_;
  std::vector<Was> messages_;
  std::set<Name> failing_;
};

}  // namespace claw::detect
