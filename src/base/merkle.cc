#include "base/merkle.h"

#include <bit>

namespace claw {

Digest leaf_hash(std::string_view data) {
  Sha256 hash;
  hash.update(std::string_view("\0", 1));
  hash.update(data);
  return hash.finish();
}

Digest node_hash(const Digest& left, const Digest& right) {
  Sha256 hash;
  hash.update("\x01");
  hash.update(view(left));
  hash.update(view(right));
  return hash.finish();
}

void MerkleTree::add(const Digest& leaf) {
  Digest hash = leaf;
  unsigned height = 0;
  while (!peaks_.empty() && peaks_.back().first == height) {
    hash = node_hash(peaks_.back().second, hash);
    peaks_.pop_back();
    ++height;
  }
  peaks_.emplace_back(height, hash);
  ++size_;
}

Digest MerkleTree::root() const {
  if (peaks_.empty()) return sha256("");
  Digest hash = peaks_.back().second;
  for (std::size_t i = peaks_.size() - 1; i-- > 0;) hash = node_hash(peaks_[i].second, hash);
  return hash;
}

namespace {

Digest root_of(std::span<const Digest> leaves) {
  MerkleTree tree;
  for (const Digest& leaf : leaves) tree.add(leaf);
  return tree.root();
}

}  // namespace

std::vector<Digest> inclusion_proof(std::span<const Digest> leaves, std::uint64_t index) {
  CLAW_CHECK(index < leaves.size());
  if (leaves.size() == 1) return {};
  const std::size_t split = std::bit_floor(leaves.size() - 1);  // largest power of two below the size
  const bool left = index < split;
  std::vector<Digest> proof = left ? inclusion_proof(leaves.first(split), index)
                                   : inclusion_proof(leaves.subspan(split), index - split);
  proof.push_back(root_of(left ? leaves.subspan(split) : leaves.first(split)));
  return proof;
}

// RFC 9162, section 2.1.3.2.
bool inclusion_holds(const Digest& leaf, std::uint64_t index, std::uint64_t size, std::span<const Digest> proof,
                     const Digest& root) {
  if (index >= size) return false;
  std::uint64_t position = index;
  std::uint64_t last = size - 1;
  Digest hash = leaf;
  for (const Digest& sibling : proof) {
    if (last == 0) return false;
    if ((position & 1) != 0 || position == last) {
      hash = node_hash(sibling, hash);
      while ((position & 1) == 0 && position != 0) {
        position >>= 1;
        last >>= 1;
      }
    } else {
      hash = node_hash(hash, sibling);
    }
    position >>= 1;
    last >>= 1;
  }
  return last == 0 && hash == root;
}

}  // namespace claw
