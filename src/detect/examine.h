// The streaming half of detection: one pass over the pages of a queue, about 30 bytes kept of each message, see kept.h.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "content/agreed.h"
#include "content/features.h"
#include "detect/chunk_store.h"
#include "detect/kept.h"
#include "detect/opener.h"
#include "model/finding.h"
#include "model/message.h"

namespace claw::detect {

inline constexpr std::size_t kMostDefects = 1'000;     // different ones of a queue
inline constexpr std::size_t kMostRows = 1u << 17;     // different rows of an examiner
inline constexpr std::size_t kMostDeviations = 1u << 19;  // in all its rows; beyond either bound nothing is acted on

// How often a message was delivered and is still here, in steps; 0: not known to have failed.
inline constexpr std::array<std::uint32_t, 7> kLevels = {0, 1, 2, 3, 4, 6, 9};
inline constexpr std::uint8_t kFailedLevel = 2;  // two deliveries: below that a failure may be an accident
inline constexpr std::uint8_t kTopLevel = 6;

// Set in MessageKey::high by the adapter: from a processing or dead list, evidence but not in the queue.
inline constexpr std::uint64_t kEvidenceOnly = (1ull << 63) | (1ull << 62);

// One page of a queue.
struct Chunk {
  std::uint64_t number = 0;  // of the page in its queue
  std::uint32_t size = 0;    // messages
  std::uint32_t words = 0;   // of what kept.h packed
  const std::uint64_t* block = nullptr;  // in the store's memory; null when it lies in the store's file
  std::uint64_t offset = 0;              // there
  std::vector<std::uint8_t> explained;   // by which signature, from 1; 0: by none. Filled by mining
};

// A body that stands for itself in what is remembered of its queue, see memory.h.
struct SampledBody {
  std::uint64_t page;
  std::uint64_t index;  // in the page
  std::uint64_t identity;
  auto operator<=>(const SampledBody&) const = default;
};

// A queue's messages are remembered by sample: those whose identity has all bits of this mask zero, about kMostRemembered.
inline constexpr std::uint64_t kMostRemembered = 20'000;
inline constexpr std::uint64_t kNotSampled = UINT64_MAX;
std::uint64_t sample_mask(std::uint64_t messages);
// The same in every build, for they are compared with what is on disk.
std::uint64_t identity_of(std::string_view body);
std::uint64_t identity_of(MessageKey key);

struct DefectName {
  std::string kind, path, what;
  auto operator<=>(const DefectName&) const = default;
};

// Looked for without a copy.
struct DefectOrder {
  using is_transparent = void;
  template <class A, class B>
  bool operator()(const A& a, const B& b) const {
    return std::tie(a.kind, a.path, a.what) < std::tie(b.kind, b.path, b.what);
  }
};

struct ViolationName {
  std::string path, what;
  auto operator<=>(const ViolationName&) const = default;
};

inline constexpr std::uint32_t kNone = UINT32_MAX;

// What one row is made of. A row of a defect has nothing else.
struct Row {
  std::vector<content::Deviation> deviations;
  std::uint32_t defect = kNone;
  std::uint32_t violation = kNone;  // of the tenant's contract, the first in document order
  bool odd = false;
};

struct DefectSeen {
  std::string excerpt;               // redacted, of the first in queue order that this examiner saw
  std::uint64_t number = UINT64_MAX; // the page it is from
};

// What is usual in one queue, and how its messages are to be read. Made by a Learner.
struct Learnt {
  content::FeatureReader reader;                // frozen
  std::optional<Opener> opener = {};            // where messages are wrapped
  std::optional<content::Contract> contract = {};
  std::uint64_t sampled = kNotSampled;          // mask
};

// One a thread and queue, with its own copy of what was learnt.
class Examiner {
 public:
  Examiner(const Learnt& learnt, std::uint32_t queue, ChunkStore& store);

  // `number`: which page of the queue this is, from 0. Pages may come in any order and to any examiner. Fails when there is
  // no room for what is kept of it.
  Status examine(const Batch& page, std::uint64_t number);

  std::uint32_t queue() const { return queue_; }
  std::uint64_t bytes() const { return bytes_; }  // of values, in the queue

 private:
  friend class Population;
  friend class Tally;

  Status keep(std::uint64_t number);
  // `fields`: as they were read.
  std::uint32_t row_of(const content::Features& features, std::uint32_t violation, std::uint64_t number, std::span<const Field> fields);
  std::uint32_t defect_of(const content::Defect& defect, std::uint64_t number, std::span<const Field> fields);
  std::uint32_t violation_of(std::span<const Field> fields);
  void grow_table();
  void sample(std::string_view body, bool evidence_only, std::uint64_t page, std::size_t index);
  bool is_odd(std::uint32_t row, const content::Values& values) const;

  content::FeatureReader reader_;
  std::optional<Opener> opener_;
  std::optional<content::Contract> contract_;
  content::Features unreadable_;  // of a message that could not be opened
  content::Document document_;  // the body that the contract is checked against
  std::uint32_t queue_;
  std::vector<Row> rows_;                                    // 0: nothing unusual
  std::vector<std::pair<std::uint64_t, std::uint32_t>> by_hash_;  // open addressing: hash, row (0: free)
  std::map<DefectName, std::uint32_t, DefectOrder> defects_;
  std::vector<DefectSeen> defects_seen_;
  std::map<ViolationName, std::uint32_t> violations_;
  ChunkStore* store_;
  ChunkStore::Slab slab_;
  Packing packing_;                  // of the page under way
  std::vector<Digested> digests_;    // of it
  std::vector<std::uint64_t> packed_;  // where there is no room for it in memory
  std::vector<Chunk> chunks_;
  std::map<std::pair<std::uint64_t, MessageKey>, SeenContent> kept_;  // (page, key)
  std::uint64_t sampled_;  // mask
  std::vector<SampledBody> bodies_;
  std::vector<std::uint64_t> dead_;  // sampled bodies of a dead or processing list
  std::size_t deviations_ = 0;  // in rows_
  std::uint64_t bytes_ = 0;
  bool overflowed_ = false;
};

static_assert(std::is_nothrow_move_constructible_v<Examiner>);  // or a growing vector of them copies every message's row

// Shape without content: letters become x, digits 9; the offending place stands between « and ».
std::string redacted(std::string_view value, std::uint64_t offset);

}  // namespace claw::detect
