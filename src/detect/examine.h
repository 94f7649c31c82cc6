// The streaming half of detection: one pass over the pages of a queue, 48 bytes kept of each message.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <memory_resource>
#include <string>
#include <type_traits>
#include <vector>

#include "content/features.h"
#include "model/finding.h"
#include "model/message.h"

namespace claw::detect {

inline constexpr std::size_t kMostDefects = 1'000;     // different ones of a queue
inline constexpr std::size_t kMostRows = 1u << 17;     // different rows of an examiner
inline constexpr std::size_t kMostDeviations = 1u << 19;  // in all its rows; beyond either bound nothing is acted on
inline constexpr std::size_t kMostKeptBytes = 16u << 20;

// How often a message was delivered and is still here, in steps; 0: not known to have failed.
inline constexpr std::array<std::uint32_t, 7> kLevels = {0, 1, 2, 3, 4, 6, 9};
inline constexpr std::uint8_t kFailedLevel = 2;  // two deliveries: below that a failure may be an accident
inline constexpr std::uint8_t kTopLevel = 6;

// Set in MessageKey::high by the adapter: from a processing or dead list, evidence but not in the queue.
inline constexpr std::uint64_t kEvidenceOnly = (1ull << 63) | (1ull << 62);

struct Seen {
  MessageKey key;
  std::uint32_t row = 0;
  std::uint16_t attempts = 0;
  std::uint8_t passes = 0;      // groups that acknowledged it
  std::uint8_t level : 4 = 0;
  std::uint8_t waiting : 1 = 0;
  std::uint8_t in_flight : 1 = 0;
  std::uint8_t evidence_only : 1 = 0;
  std::uint8_t by_digest : 1 = 0;  // has no id of its own: its digest is its identity
};
static_assert(sizeof(Seen) == 24);

// One page of a queue.
struct Chunk {
  std::uint64_t number = 0;  // of the page in its queue
  std::pmr::vector<Seen> seen;                                    // in the examiner's memory, like values
  std::size_t columns = 0;
  std::pmr::vector<std::uint8_t> values;                          // of each of seen, `columns` of them
  std::vector<std::pair<std::uint32_t, std::uint64_t>> digests;   // index in seen, short digest: of what is odd
  std::vector<std::uint8_t> explained;                            // by which signature, from 1; 0: by none. Filled by mining

  const std::uint8_t* values_of(std::size_t i) const { return values.data() + i * columns; }
};

struct DefectName {
  std::string kind, path, what;
  auto operator<=>(const DefectName&) const = default;
};

// What one row is made of. A row of a defect has nothing else.
struct Row {
  std::vector<content::Deviation> deviations;
  std::uint32_t defect = UINT32_MAX;
  bool odd = false;
};

struct DefectSeen {
  std::string excerpt;               // redacted, of the first in queue order that this examiner saw
  std::uint64_t number = UINT64_MAX; // the page it is from
};

// Large blocks on huge pages where the kernel has them: a scan writes tens of megabytes once, and a page fault for every
// 4 KiB of it costs as much as looking at the messages.
class LargePages final : public std::pmr::memory_resource {
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* at, std::size_t bytes, std::size_t alignment) override;
  bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }
};

// One a thread and queue; copies of one frozen reader.
class Examiner {
 public:
  Examiner(const content::FeatureReader& frozen, std::uint32_t queue);

  // `number`: which page of the queue this is, from 0. Pages may come in any order and to any examiner.
  void examine(const Batch& page, std::uint64_t number);

  std::uint32_t queue() const { return queue_; }
  std::uint64_t bytes() const { return bytes_; }  // of values, in the queue

 private:
  friend class Population;
  friend class Tally;

  std::uint32_t row_of(const content::Features& features, std::uint64_t number, std::span<const Field> fields);
  std::uint32_t defect_of(const content::Defect& defect, std::uint64_t number, std::span<const Field> fields);
  void grow_table();
  bool is_odd(std::uint32_t row, const content::Values& values) const;

  content::FeatureReader reader_;
  std::uint32_t queue_;
  std::vector<Row> rows_;                                    // 0: nothing unusual
  std::vector<std::pair<std::uint64_t, std::uint32_t>> by_hash_;  // open addressing: hash, row (0: free)
  std::map<DefectName, std::uint32_t> defects_;
  std::vector<DefectSeen> defects_seen_;
  std::unique_ptr<std::pmr::monotonic_buffer_resource> memory_;  // of chunks_
  std::vector<Chunk> chunks_;
  std::map<std::pair<std::uint64_t, MessageKey>, SeenContent> kept_;  // (page, key)
  std::size_t kept_bytes_ = 0;
  std::size_t deviations_ = 0;  // in rows_
  std::uint64_t bytes_ = 0;
  bool overflowed_ = false;
};

static_assert(std::is_nothrow_move_constructible_v<Examiner>);  // or a growing vector of them copies every message's row

// Shape without content: letters become x, digits 9; the offending place stands between « and ».
std::string redacted(std::string_view value, std::uint64_t offset);

}  // namespace claw::detect
