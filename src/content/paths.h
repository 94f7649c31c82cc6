// The paths of one queue's messages, as a tree that grows with what is seen, up to a bound.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "content/value_class.h"

namespace claw::content {

using Slot = std::uint32_t;  // index of a path

// Copyable: every thread goes on from the paths that were learnt. Keys that follow one another are guessed from the last
// time, so that most are recognised by one comparison of 16 bytes.
class Paths {
 public:
  static constexpr Slot kNone = UINT32_MAX;
  static constexpr Slot kRoot = 0;      // the message; its children are its fields
  static constexpr Slot kElsewhere = 1; // every path beyond the bound
  static constexpr std::size_t kMostSlots = 4'096;
  static constexpr std::size_t kLongestKey = 256;  // longer keys are told apart by their first bytes only

  enum class Step : std::uint8_t { root, field, member, element, inside };

  // A key that came here last time, and the one before that: several kinds of message take turns.
  struct Guess {
    std::uint32_t last = kNone, other = kNone;
    void take(std::uint32_t key) {
      other = last;
      last = key;
    }
  };

  struct alignas(64) Node {
    std::array<std::uint64_t, 4> usual{};  // codes that say nothing here
    std::uint64_t stamp = 0;               // the object in which it was seen last
    Guess first_key;                       // what the object's first key was
    Slot element = kNone, inside = kNone;
    std::int16_t column = -1;              // of the value dictionary
    std::uint16_t watched = 0;             // children whose absence is told
    bool tells_absence = false;
    Step step = Step::root;

    bool is_usual(Code code) const { return (usual[code >> 6] >> (code & 63) & 1) != 0; }
    void make_usual(Code code) { usual[code >> 6] |= 1ull << (code & 63); }
  };
  static_assert(sizeof(Node) == 64);  // one cache line

  // A key of one object: its first bytes with the closing quote for the guess, whole text for the proof.
  struct Key {
    std::uint64_t low = 0, low_mask = 0, high = 0, high_mask = 0;
    std::uint32_t length = 0;
    Slot object = kNone;
    Slot child = kNone;
    Guess next;  // the key that came after it

    // `at`: the first byte after the opening quote; 16 bytes are readable. Never true for keys longer than 15 bytes.
    bool is_at(const char* at) const {
      std::uint64_t a, b;
      std::memcpy(&a, at, 8);
      std::memcpy(&b, at + 8, 8);
      return (((a ^ low) & low_mask) | ((b ^ high) & high_mask)) == 0 && low_mask != 0;
    }
  };

  struct Front {
    std::uint64_t low, high;
  };

  Paths();
  Node& operator[](Slot slot) { return nodes_[slot]; }
  const Node& operator[](Slot slot) const { return nodes_[slot]; }
  Key& key(std::uint32_t index) { return keys_[index]; }
  std::size_t size() const { return nodes_.size(); }
  const std::string& name(Slot slot) const { return names_[slot]; }
  Slot parent(Slot slot) const { return parents_[slot]; }

  // The key `text` (without escapes, 16 bytes readable) of an object; kNone when there is no room for one more.
  std::uint32_t find_key(Slot object, std::string_view text, Step step = Step::member);
  Slot element_of(Slot array);
  Slot inside_of(Slot text);

 private:
  Slot add(Slot parent, Step step, std::string name);
  std::uint32_t add_key(Slot object, std::string_view text, Step step, std::size_t at);
  void grow_table();

  std::vector<Node> nodes_;
  std::vector<std::string> names_;
  std::vector<Slot> parents_;
  std::vector<Key> keys_;
  std::vector<Front> fronts_;         // of keys_, the first 16 bytes
  std::vector<std::uint32_t> table_;  // open addressing over keys_ by their first 16 bytes, index + 1
};

}  // namespace claw::content
