// What is unusual in one message, as few bytes as mining needs: per path the class of its value where that is not the
// usual one, the value itself where a path has few, and the first defect of the syntax.
//
// A reader first learns from messages that are known to be good (or not known to be bad), then is frozen, then reads. A
// copy of a frozen reader goes on alone: copies in several threads say the same of the same message, whatever each has
// seen before.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "content/dictionary.h"
#include "content/gaps.h"
#include "content/paths.h"
#include "content/value_class.h"
#include "model/message.h"

namespace claw::content {

// One way to read for each kind of machine, see walk.inc.
namespace portable { class Walk; }
namespace avx2 { class Walk; }
namespace avx512 { class Walk; }

struct Defect {
  std::string kind;  // as in strict_json.h
  std::string path;  // "transaction_id", "metadata#json.id" for JSON inside a string, "" = the whole body
  std::string what;  // "string not closed"
  std::uint64_t offset = 0;  // into `inner`, or into the field's value when `inner` is empty
  std::string inner;         // JSON inside a string: that string's text, unescaped
  std::size_t field = 0;
};

// In one word: there are many of them, and they are sorted and compared.
struct Deviation {
  std::uint32_t bits = 0;

  static constexpr Deviation of(Slot slot, Code code) { return {slot << 8 | code}; }
  Slot slot() const { return bits >> 8; }
  Code code() const { return static_cast<Code>(bits); }
  auto operator<=>(const Deviation&) const = default;
};
static_assert(Paths::kMostSlots <= 1u << 24);

inline constexpr std::size_t kColumns = 24;       // paths of one queue whose values are kept
inline constexpr std::uint8_t kFirstNovel = 128;  // value ids below are of the dictionary, from 1; these are hashed

using Values = std::array<std::uint8_t, kColumns>;  // by column; 0: no value there

struct Features {
  std::vector<Deviation> deviations;  // sorted, each once
  Values values{};
  std::optional<Defect> defect;       // the deviations and values of its field are not told
};

// A value that the dictionary did not have, by the hash that stands for it; ambiguous when two share it.
struct Novel {
  std::string text;
  bool number = false;
  bool seen = false;
  bool ambiguous = false;
};

// Not for two threads at once. Any bytes: bounded memory (kMostSlots paths, 16 MiB bodies; beyond that the syntax only).
// A field that begins with { or [ is held to be JSON; anything else is a value of its own.
class FeatureReader {
 public:
  static constexpr std::size_t kMostLearnt = 2'048;      // messages
  static constexpr std::size_t kLargestBody = 16u << 20;

  FeatureReader();
  ~FeatureReader();
  FeatureReader(const FeatureReader& frozen);
  FeatureReader(FeatureReader&&) noexcept;
  FeatureReader& operator=(const FeatureReader&) = delete;

  // `passed`: a consumer accepted it. Messages that failed teach nothing and are not given.
  void learn(std::span<const Field> fields, bool passed);
  bool learnt_enough() const { return learnt_.size() >= kMostLearnt; }
  void freeze();

  // Valid until the next call.
  const Features& read(std::span<const Field> fields);

  // The ways there are on this machine, the best one first, for a test that they agree.
  struct Way {
    const char* name;
    const Features& (*read)(FeatureReader& reader, std::span<const Field> fields);
  };
  static std::span<const Way> ways();

  // False when a field of the last message was sound JSON that was not taken apart: it is larger than kLargestBody.
  bool understood() const { return understood_; }

  // "customer.address.zip", "items[].sku", "metadata#json.id"; a field's name and a colon in front unless it is the only
  // field with JSON.
  std::string path(Slot slot) const;
  std::string usual_of(Slot slot) const;  // in words, "" when nothing is known
  // Less than a tenth of what was learnt there.
  bool is_rare(Slot slot, Code code) const { return slot >= common_.size() || (common_[slot][code >> 6] >> (code & 63) & 1) == 0; }
  bool is_rare_value(std::size_t column, std::uint8_t id) const {
    return id >= kFirstNovel || (id != 0 && (column >= columns_.size() || !columns_[column].values[id].common));
  }
  // Slots below this are the same in every copy. When a copy is full, which of the later paths have a slot is chance.
  std::size_t learnt_slots() const { return learnt_slots_; }
  std::size_t slots() const { return paths_.size(); }
  Paths::Step step(Slot slot) const { return paths_[slot].step; }
  std::size_t columns() const { return columns_.size(); }  // how many are used: the first ones
  // The path whose values a column holds; kNone when the column is not used.
  Slot slot_of(std::size_t column) const { return column < columns_.size() ? columns_[column].slot : Paths::kNone; }
  const std::string* dictionary_value(std::size_t column, std::uint8_t id) const;
  const Novel* novel_value(std::size_t column, std::uint8_t id) const;

 private:
  friend class portable::Walk;
  friend class avx2::Walk;
  friend class avx512::Walk;
  static constexpr std::size_t kMaxNesting = 4;  // of JSON in JSON
  // Messages of a queue that is so short that it is not worth remembering what stood between values. A fuzzer's are shorter.
#if defined(FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION)
  static constexpr std::size_t kShortQueue = 0;
#else
  static constexpr std::size_t kShortQueue = 256;
#endif
  struct Learnt {
    std::vector<Deviation> all;
    bool passed;
  };
  struct Column {
    Slot slot = Paths::kNone;
    Slot field = Paths::kNone;  // the field it belongs to
    Dictionary values;
    std::vector<Novel> novel{kFirstNovel};  // by id less kFirstNovel
  };
  struct Candidate {
    std::array<std::map<std::string, std::uint32_t, std::less<>>, 2> counts;  // of texts, of numbers
    std::size_t size() const { return counts[0].size() + counts[1].size(); }
    auto& of(ValueKind kind) { return counts[kind == ValueKind::number]; }
    const auto& of(ValueKind kind) const { return counts[kind == ValueKind::number]; }
    std::uint32_t seen = 0;
    bool many = false;
  };

  // In reading.cc.
  void put(Slot slot, Code code);
  void put_odd(bool odd, Deviation deviation);
  bool known_value(int column, Slot slot, std::string_view text, ValueKind kind);
  void settle();

  void new_value(Slot slot, std::string_view text, ValueKind kind);
  void learn_value(Slot slot, std::string_view text, ValueKind kind);
  Slot field_slot(std::size_t index, std::string_view name);
  void refuse_inner(Slot slot, std::string_view inner);
  void refuse(std::size_t index, const Field& field, Slot slot);
  void tell_absent(Slot object, std::uint64_t stamp);
  void choose_usual();
  void choose_columns();
  Slot field_of(Slot slot) const;

  Paths paths_;
  Gaps gaps_;
  Outlines outlines_;
  std::vector<std::vector<Slot>> watched_;  // by object: children whose absence is told
  struct FieldSeen {
    std::string name;
    Slot slot = Paths::kNone;
  };
  std::vector<FieldSeen> fields_;           // by index of the field last time
  std::uint64_t stamp_ = 0;
  bool frozen_ = false;
  std::size_t read_ = 0;                    // messages since
  bool understood_ = true;
  std::size_t learnt_slots_ = 0;
  Slot only_json_ = Paths::kNone;           // the one field that holds JSON
  std::vector<Column> columns_;
  Features features_;
  static constexpr std::size_t kMostOdd = 4'096;  // of one message, before equal ones are merged
  Deviation* odd_ = nullptr;                      // room for kMostOdd of its deviations, during read()
  std::size_t odd_count_ = 0;
  bool crowded_ = false;                          // there were more than that

  std::vector<Learnt> learnt_;
  std::vector<Candidate> candidates_;       // by slot, while learning
  std::vector<std::string> usual_words_;    // by slot
  std::vector<std::array<std::uint64_t, 4>> common_;  // by slot, codes that are not rare
  std::array<std::vector<std::uint64_t>, kMaxNesting> stops_;  // of long texts, by nesting
  std::array<std::string, kMaxNesting> inner_;        // JSON in a string, unescaped and padded, by nesting
};

}  // namespace claw::content
