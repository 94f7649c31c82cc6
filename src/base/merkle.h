// RFC 6962 tree hashing: leaf SHA-256(0x00 ‖ d), node SHA-256(0x01 ‖ left ‖ right).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/digest.h"

namespace claw {

Digest leaf_hash(std::string_view data);
Digest node_hash(const Digest& left, const Digest& right);

// The root of a growing list in O(log n) memory.
class MerkleTree {
 public:
  void add(const Digest& leaf);
  std::uint64_t size() const { return size_; }
  Digest root() const;  // of nothing: SHA-256 of the empty string

 private:
  std::vector<std::pair<unsigned, Digest>> peaks_;  // perfect subtrees from the left: (height, root)
  std::uint64_t size_ = 0;
};

// The hashes that prove leaf `index` is in the tree of all `leaves`, from the leaf up; index < leaves.size().
std::vector<Digest> inclusion_proof(std::span<const Digest> leaves, std::uint64_t index);
// The root that `leaf` at `index` of `size` and `proof` add up to; false when the proof has the wrong length.
bool inclusion_holds(const Digest& leaf, std::uint64_t index, std::uint64_t size, std::span<const Digest> proof,
                     const Digest& root);

}  // namespace claw
