// From pages of messages to findings: what fails alike, why in words, and how sure we are.
//
// A message is a run, a defect of its content a predicate, a message that was delivered again and again a failing run.
// Confidence is the Beta posterior of "a delivered message with this signature fails", net of the rate at which messages
// without any signature fail; thresholds act on its 2% quantile. Content alone never condemns.
// Source: cooperative bug isolation (Liblit et al., PLDI 2005); docs/design/detection.md.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "content/inspect.h"
#include "model/finding.h"
#include "model/message.h"

namespace claw::detect {

inline constexpr const char* kDetectorVersion = "1";
inline constexpr std::size_t kMostSignatures = 1'000;
inline constexpr std::size_t kMostMembers = 2'000'000;  // explicit ids kept; beyond it a signature is counted, never acted on

inline constexpr std::size_t kMostKeptBytes = 16u << 20;

struct Member {
  MessageKey key;
  std::uint64_t digest = 0;  // first 8 bytes of Message::content_digest(), big-endian
  std::uint32_t queue = 0;
  std::uint32_t attempts = 0;
};

// Messages with one signature, or (in Tally::unsigned_) with none.
struct Counts {
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  std::uint64_t failing = 0;
  std::uint64_t attempts = 0;  // summed over failing messages, each capped at 1,000
  std::uint64_t passes = 0;
  std::uint64_t waiting = 0;
  std::uint64_t in_flight = 0;
  void add(const Counts& other);
};

struct SignatureTally {
  Counts counts;
  std::set<std::string> whats;
  std::vector<Member> members;
  std::string excerpt;
};

// The result of one page; independent of every other page.
struct PageTally {
  Counts without;
  std::map<std::pair<std::string, std::string>, SignatureTally> with;  // (kind, path)
  std::map<std::pair<std::uint32_t, MessageKey>, SeenContent> kept;  // content of members, by (queue, key)
};

// Pure; thread-safe as long as each thread has its own inspector. `queue` is the index of the page's queue.
PageTally examine(const Batch& page, std::uint32_t queue, content::Inspector& inspector);

// Sums pages; the result does not depend on how messages were split into pages. Bounded by kMostMembers.
class Tally {
 public:
  void add(PageTally&& page);
  const PageTally& total() const { return total_; }
  bool overflowed() const { return overflowed_; }
  // Moves out what was kept of the members' content, at most kMostKeptBytes.
  KeptContent take_kept(const std::vector<QueueView>& queues);

 private:
  PageTally total_;
  std::size_t members_ = 0;
  std::size_t kept_bytes_ = 0;
  bool overflowed_ = false;
};

struct ConcludeOptions {
  // The text of a message's native id.
  std::function<std::string(const QueueView&, const Member&)> id_text;
};

Observation conclude(const Tally& tally, const TenantId& tenant, const std::vector<QueueView>& queues, const ConcludeOptions& options);

}  // namespace claw::detect
