// From pages of messages to findings: what fails alike, why in words, and how sure we are.
//
// Examiners look at pages, in any number of threads; a Tally gathers them; conclude() mines what they saw. Confidence is
// the Beta posterior of "a delivered message with this signature fails", net of how often others fail; thresholds act on
// its 2% quantile. Content alone never condemns. The result does not depend on threads, page sizes, compiler or locale.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "detect/examine.h"
#include "model/finding.h"
#include "model/message.h"

namespace claw::detect {

inline constexpr const char* kDetectorVersion = "2";
inline constexpr std::size_t kMostMembers = 2'000'000;  // explicit ids kept; beyond it a signature is counted, never acted on

struct Member {
  MessageKey key;
  std::uint64_t digest = 0;  // first 8 bytes of Message::content_digest(), big-endian; 0: not taken
  std::uint32_t queue = 0;
  std::uint32_t attempts = 0;
};

// Learns what is usual in one queue from its first pages, given in order. One thread.
class Learner {
 public:
  // False when it has learnt enough, or seen enough without learning.
  bool wants_more() const { return !reader_.learnt_enough() && looked_ < kMostLookedAt && bytes_ < kMostBytes; }
  void learn(const Batch& page);
  // Call once; then copies of it go to the examiners.
  const content::FeatureReader& freeze();

 private:
  static constexpr std::size_t kMostLookedAt = 16'384;  // messages
  static constexpr std::uint64_t kMostBytes = 32u << 20;
  content::FeatureReader reader_;
  std::size_t looked_ = 0;
  std::uint64_t bytes_ = 0;
};

class Tally {
 public:
  void add(Examiner&& examiner) { examiners_.push_back(std::move(examiner)); }
  std::vector<Examiner>& examiners() { return examiners_; }
  // Moves out what was kept of the content of messages with a defect, at most kMostKeptBytes.
  KeptContent take_kept(const std::vector<QueueView>& queues);

 private:
  std::vector<Examiner> examiners_;
};

struct ConcludeOptions {
  // The text of a message's native id.
  std::function<std::string(const QueueView&, const Member&)> id_text;
  bool critical = false;  // the tenant's tier: one pass with a signature and nothing is removed for it
};

Observation conclude(Tally& tally, const TenantId& tenant, const std::vector<QueueView>& queues, const ConcludeOptions& options);

}  // namespace claw::detect
