// From pages of messages to findings: what fails alike, why in words, and how sure we are.
//
// Examiners look at pages, in any number of threads; a Tally gathers them; conclude() mines what they saw. Confidence is
// the Beta posterior of "a delivered message with this signature fails", net of how often others fail; thresholds act on
// its 2% quantile. Content alone never condemns. The result does not depend on threads, page sizes, compiler or locale.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "detect/examine.h"
#include "detect/memory.h"
#include "model/finding.h"
#include "model/message.h"

namespace claw::detect {

inline constexpr const char* kDetectorVersion = "2";
inline constexpr std::size_t kMostMembers = 2'000'000;  // explicit ids kept; beyond it a signature is counted, never acted on

// Learns what is usual in one queue from its first pages, given in order. One thread.
class Learner {
 public:
  Learner() = default;
  // `sampled`: mask of the messages that are to be remembered, see sample_mask().
  explicit Learner(const content::Agreed& agreed, std::uint64_t sampled = kNotSampled) : opener_(agreed.avro), contract_(agreed.schema), sampled_(sampled) {}

  // False when it has learnt enough, or seen enough without learning.
  bool wants_more() const { return !(opens_ ? inside_ : plain_).learnt_enough() && looked_ < kMostLookedAt && bytes_ < kMostBytes; }
  void learn(const Batch& page);
  // Call once; then copies of it go to the examiners.
  const Learnt& freeze();

 private:
  static constexpr std::size_t kMostLookedAt = 16'384;  // messages
  static constexpr std::uint64_t kMostBytes = 32u << 20;
  static constexpr std::size_t kTried = 256;  // messages after which it is known whether the queue's must be opened

  void decide();

  // Until that is known, what is usual is learnt both ways.
  content::FeatureReader plain_, inside_;
  Opener opener_;
  bool decided_ = false, opens_ = false;
  std::size_t looked_ = 0;
  std::uint64_t bytes_ = 0;
  std::optional<content::Contract> contract_;
  std::uint64_t sampled_ = kNotSampled;
  std::optional<Learnt> learnt_;
};

class Tally {
 public:
  Tally() = default;  // whatever the look keeps stays in memory
  // Of what the look keeps of its messages at most `most_in_memory` bytes do; the others go to a file in `dir`.
  Tally(Disk& disk, std::string dir, std::size_t most_in_memory) : store_(disk, std::move(dir), most_in_memory) {}

  ChunkStore& store() { return store_; }  // for the examiners
  // By any thread.
  void add(Examiner&& examiner) {
    const std::lock_guard lock(mutex_);
    examiners_.push_back(std::move(examiner));
  }
  std::vector<Examiner>& examiners() { return examiners_; }
  // Of a queue, by its index, whose look ended so that it can be compared with the one before, see Window. By any thread.
  void tells_what_left(std::uint32_t queue) {
    const std::lock_guard lock(mutex_);
    tells_.insert(queue);
  }
  bool compares(std::uint32_t queue) const { return tells_.contains(queue); }
  // Moves out what was kept of the content of messages with a defect, at most kMostContent.
  KeptContent take_kept(const std::vector<QueueView>& queues);

 private:
  ChunkStore store_;
  std::mutex mutex_;
  std::vector<Examiner> examiners_;
  std::set<std::uint32_t> tells_;
};

struct ConcludeOptions {
  bool critical = false;  // the tenant's tier: one pass with a signature and nothing is removed for it
  std::string contract = {};  // names the tenant's, so that another one is not taken for it; empty: there is none
  Labels labels = {};
  std::span<Memory> memories = {};  // by queue; what they hold is told, and they learn from this look. Empty: nothing is remembered
  WallTime now{};
};

// Fails when what the look kept cannot be read again.
Result<Observation> conclude(Tally& tally, const TenantId& tenant, const std::vector<QueueView>& queues, const ConcludeOptions& options);

}  // namespace claw::detect
