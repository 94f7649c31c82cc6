// What all examiners saw, put together: the same whatever thread saw what, to the byte.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_set>
#include <vector>

#include "detect/examine.h"

namespace claw::detect {

// What a message may have. Ordered: first by kind, the general before the special.
struct Atom {
  enum class Kind : std::uint8_t {
    defect,      // path, detail = name of the defect's kind: any defect of that kind there
    contract,    // path, detail = what the tenant's contract wants there, and the class of what is there; before what says it less well
    odd,         // path: a value of another class than usual, whichever
    novel,       // path: a value that was not known
    absent,      // path
    code,        // path, detail = class of the value
    value,       // path, detail = the value
    queue,       // detail = index of the queue
    any_defect,  // detail = name of the defect's kind, anywhere
  };
  Kind kind;
  std::string path;
  std::string detail;
  std::uint32_t number = 0;  // code, queue
  auto operator<=>(const Atom&) const = default;
  // It stands for several things that may differ in how they end.
  bool general() const { return kind == Kind::defect || kind == Kind::odd || kind == Kind::novel || kind == Kind::any_defect; }
};

using AtomId = std::uint32_t;
inline constexpr AtomId kNoAtom = UINT32_MAX;

// An atom that a row or a value has, and which of the things that the atom stands for it is.
struct Has {
  AtomId atom;
  std::uint32_t sub;
};

struct Counts {
  std::uint64_t messages = 0;  // in the queues
  std::uint64_t passes = 0;    // some consumer group acknowledged it
  std::uint64_t waiting = 0;
  std::uint64_t in_flight = 0;
  std::uint64_t attempts = 0;  // of those that failed, each capped at 1,000
  std::array<std::uint64_t, kLevels.size()> stuck{};  // at that level or above
  void add(const Seen& seen);
  void add(const Counts& other);
  void subtract(const Counts& other);
  std::uint64_t failing() const { return stuck[kFailedLevel]; }
};

// What earlier looks know of an atom, see memory.h.
struct Remembered {
  std::uint64_t all = 0;               // messages that passed while the atom could be seen and others still pass
  std::vector<std::uint64_t> by_sub;   // of them those that had it
};

class Population {
 public:
  struct Queue {
    std::vector<Chunk*> chunks;  // in queue order
    // By column and value id; empty where the id stands for nothing.
    std::array<std::array<std::vector<Has>, 256>, content::kColumns> values;
    std::array<std::bitset<256>, content::kColumns> known;  // ids with at least one atom
    std::size_t columns = 0;
    std::map<std::string, std::string> usual;    // path → what is usual there, in words
    bool opened = false;                         // its messages are wrapped
    std::uint64_t sampled = kNotSampled;         // mask
    std::vector<SampledBody> bodies;             // sorted
    std::unordered_set<std::uint64_t> dead;      // sampled bodies of its dead list
  };

  explicit Population(std::vector<Examiner>& examiners, std::size_t queues);

  std::vector<Queue> queues;
  std::vector<std::vector<Has>> rows;       // merged; Seen::row refers to it
  std::vector<Atom> atoms;                  // sorted
  std::vector<std::vector<std::string>> subs;  // by atom, for general ones: names, sorted
  std::vector<Remembered> remembered;          // by atom; empty where nothing is
  std::string contract;                        // names the tenant's, empty when there is none
  std::map<std::string, std::string> usual;    // path → what is usual there, in words, in the first queue that has it
  std::map<DefectName, std::string> excerpts;
  bool overflowed = false;

  // What was kept of a page, good until the next call.
  Kept kept(const Chunk& chunk);
  // Every page in queue order: f(queue, chunk, what was kept).
  template <class F>
  void each_page(F&& f) {
    for (std::uint32_t q = 0; q < queues.size(); ++q)
      for (Chunk* chunk : queues[q].chunks) f(q, *chunk, kept(*chunk));
  }
  // Every message in queue order: f(queue, Seen, page, chunk, index).
  template <class F>
  void each(F&& f) {
    each_page([&](std::uint32_t q, Chunk& chunk, const Kept& all) {
      for (std::size_t i = 0; i < all.size(); ++i) f(q, all.seen(i), all, chunk, i);
    });
  }
  // Not ok: something that was kept could not be read again, and nothing of what was counted since holds.
  const Status& trouble() const { return trouble_; }

 private:
  struct Builder;
  struct Place {  // of a chunk
    ChunkStore* store;
    const std::vector<std::uint32_t>* renumbered;
  };
  std::map<const Chunk*, Place> places_;
  std::vector<std::vector<std::uint32_t>> renumbered_;  // by examiner: its rows in the merged numbering
  std::vector<std::uint64_t> page_;  // the one that was read last
  Status trouble_;
};

}  // namespace claw::detect
