// Which content explains the failures: cooperative bug isolation over what messages have, with bounds instead of ranks.
//
// A signature is an atom (or two together) whose messages fail far more often than others do: the Beta posterior of "a
// message with it fails", net of the rate at which messages without it fail at the same level, over all and among its
// neighbours in time. The best one is taken, what it explains is set aside, and again. Pure and deterministic.
// Sources: Liblit et al., PLDI 2005; Arumuga Nainar et al., ISSTA 2007; docs/design/detection.md.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "detect/population.h"

namespace claw::detect {

inline constexpr double kLower = 0.02;  // quantile that thresholds act on
inline constexpr double kCapWithoutPasses = 0.90;
inline constexpr double kCapContentOnly = 0.60;
inline constexpr std::size_t kMostSignatures = 40;

struct Mined {
  AtomId atom = kNoAtom;
  AtomId with = kNoAtom;                 // both at once
  std::vector<std::uint32_t> subs;       // of a general atom: what it means here; others are left alone
  std::vector<std::uint32_t> harmless;   // subs that pass
  bool generalises = false;              // so many different subs fail that a new one is held to fail too
  std::uint8_t level = 0;                // the failures counted are messages at this level of attempts or above
  Counts counts;
  std::uint64_t passed_before = 0, all_before = 0;  // as remembered: with it, and all
  double confidence = 0, lower_bound = 0;
  std::uint64_t near_failures = 0, near_passes = 0;  // of others, in the time in which it failed
  bool nothing_passed_then = false;      // its failures fall into a time in which nearly nothing passed
};

struct Mining {
  std::vector<Mined> signatures;  // in the order in which they were taken; Chunk::explained refers to it
  Counts total, rest;             // of all; of what no signature explains
  std::vector<Counts> left;       // by atom: of what no signature explains
  bool passes_visible = false;  // in this look
  std::optional<AtomId> universal; // what more than half of all have, and what fails
};

// Fills in what earlier looks know of what is meant: of two at once at most what they know of either.
void recall(const Population& population, Mined& mined);
// Whether there is anything that passed to compare with.
bool comparable(const Mining& mining, const Mined& mined);

Mining mine(Population& population);

}  // namespace claw::detect
