#include "audit/read.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "audit/format.h"
#include "audit/order.h"
#include "base/merkle.h"

namespace claw {
namespace {

using namespace audit;

constexpr std::uint64_t kMaxSmall = 64 * 1024;
constexpr std::uint64_t kMaxBundle = kTileWidth * (kMaxEntry + 2);
constexpr int kRounds = 3;  // a writer may sign a new head while we read
constexpr std::string_view kProofHead = "c2sp.org/tlog-proof@v1\n";
constexpr std::size_t kMaxProof = 64;

// Everything that the write-ahead log says the tile files must be.
struct Expected {
  std::vector<std::vector<Digest>> levels;  // [0] leaves; each next one the roots of 256 of the one below
  std::uint64_t entries() const { return levels.empty() ? 0 : levels[0].size(); }
};

struct Problem {
  std::string text;
  std::optional<std::uint64_t> entry;
};

Digest root_of(std::span<const Digest> hashes) {
  MerkleTree tree;
  for (const Digest& hash : hashes) tree.add(hash);
  return tree.root();
}

void build_levels(Expected& expected) {
  for (std::size_t level = 0; level < expected.levels.size(); ++level) {
    const std::size_t full = expected.levels[level].size() / kTileWidth;
    if (full == 0) return;
    std::vector<Digest> above;
    for (std::size_t i = 0; i < full; ++i)
      above.push_back(root_of(std::span(expected.levels[level]).subspan(i * kTileWidth, kTileWidth)));
    expected.levels.push_back(std::move(above));
  }
}

std::string bytes_of(std::span<const Digest> hashes) {
  std::string bytes;
  for (const Digest& hash : hashes) bytes.append(view(hash));
  return bytes;
}

std::string bundled(std::string_view entry) {
  std::string out;
  out.push_back(static_cast<char>(entry.size() >> 8));
  out.push_back(static_cast<char>(entry.size() & 0xff));
  out.append(entry);
  return out;
}

// Compares one file with what it must hold; true when it was found equal.
std::optional<std::string> differs(Disk& disk, const std::string& dir, const std::string& name, std::string_view wanted) {
  const auto bytes = disk.read_all(dir + "/" + name, kMaxBundle);
  if (!bytes.ok()) return fmt::format("{}: {}", name, bytes.error().detail);
  if (*bytes == wanted) return std::nullopt;
  return fmt::format("{} differs from what wal.log adds up to", name);
}

// One pass over wal.log: order, canonical form, entry bundles; leaf hashes are collected.
class Scan {
 public:
  Scan(Disk& disk, const std::string& dir, std::uint64_t size) : disk_(disk), dir_(dir), size_(size) {}

  std::optional<Problem> run(Expected& expected) {
    expected.levels.resize(1);
    auto reader = WalReader::open(disk_, dir_ + "/wal.log");
    if (!reader.ok()) return Problem{reader.error().message(), 0};
    for (;;) {
      const std::uint64_t index = expected.entries();
      const auto entry = reader->next();
      if (!entry.ok()) return Problem{entry.error().message(), index};
      if (!*entry) break;
      if (const std::string why = order_.take(**entry); !why.empty()) return Problem{fmt::format("entry {}: {}", index, why), index};
      expected.levels[0].push_back(leaf_hash(**entry));
      if (const auto problem = bundle(index, **entry)) return problem;
    }
    if (expected.entries() < size_)
      return Problem{fmt::format("wal.log holds {} whole entries, but {} are signed", expected.entries(), size_), expected.entries()};
    if (reader->torn_bytes() > 0)
      return Problem{fmt::format("wal.log ends in {} bytes that are no whole entry", reader->torn_bytes()), expected.entries()};
    return std::nullopt;
  }

 private:
  std::optional<Problem> bundle(std::uint64_t index, std::string_view entry) {
    bundle_ += bundled(entry);
    const std::uint64_t count = index + 1;
    const bool full = count % kTileWidth == 0;
    std::optional<std::string> wrong;
    if (count <= size_ && (full || count == size_))
      wrong = differs(disk_, dir_, tile_path("entries", index / kTileWidth, full ? kTileWidth : count % kTileWidth), bundle_);
    if (full) bundle_.clear();
    if (!wrong) return std::nullopt;
    return Problem{*wrong, index / kTileWidth * kTileWidth};
  }

  Disk& disk_;
  const std::string& dir_;
  std::uint64_t size_;
  OrderCheck order_;
  std::string bundle_;
};

// Every tile that a log of `size` entries must have, level by level.
std::optional<Problem> check_tiles(Disk& disk, const std::string& dir, std::uint64_t size, const Expected& expected) {
  std::uint64_t width_entries = 1;
  std::uint64_t hashes = size;
  for (std::size_t level = 0; hashes > 0; ++level, hashes /= kTileWidth, width_entries *= kTileWidth)
    for (std::uint64_t first = 0; first < hashes; first += kTileWidth) {
      const std::size_t width = static_cast<std::size_t>(std::min<std::uint64_t>(kTileWidth, hashes - first));
      const auto wanted = std::span(expected.levels[level]).subspan(static_cast<std::size_t>(first), width);
      if (const auto wrong = differs(disk, dir, tile_path(std::to_string(level), first / kTileWidth, width), bytes_of(wanted)))
        return Problem{*wrong, first * width_entries};
    }
  return std::nullopt;
}

VerifyReport verify_once(Disk& disk, const std::string& dir, const VerifierKey& key, const std::string& note) {
  VerifyReport report{.origin = key.name};
  const auto head = open_checkpoint(note, key);
  if (!head.ok()) {
    report.problem = head.error().message();
    return report;
  }
  report.size = head->size;
  report.root = base64(view(head->root));
  Expected expected;
  auto problem = Scan(disk, dir, head->size).run(expected);
  if (!problem) {
    build_levels(expected);
    report.unsigned_entries = expected.entries() - head->size;
    const auto leaves = std::span(expected.levels[0]).first(static_cast<std::size_t>(head->size));
    if (root_of(leaves) != head->root) problem = Problem{"the entries do not add up to the signed root", std::nullopt};
  }
  if (!problem) problem = check_tiles(disk, dir, head->size, expected);
  if (!problem && report.unsigned_entries > 0)
    problem = Problem{fmt::format("{} entries are not yet under a signed checkpoint", report.unsigned_entries), std::nullopt};
  report.ok = !problem;
  if (problem) {
    report.problem = problem->text;
    report.first_bad = problem->entry;
  }
  return report;
}

// Leaf hashes of the signed entries, checked against the signed root.
Result<std::vector<Digest>> signed_leaves(Disk& disk, const std::string& dir, const Checkpoint& head) {
  CLAW_TRY_ASSIGN(auto reader, WalReader::open(disk, dir + "/wal.log"));
  std::vector<Digest> leaves;
  while (leaves.size() < head.size) {
    CLAW_TRY_ASSIGN(const auto entry, reader.next());
    if (!entry) break;
    leaves.push_back(leaf_hash(*entry));
  }
  if (leaves.size() < head.size || root_of(leaves) != head.root)
    return make_error(Code::corrupt, "prove from " + dir, "wal.log does not reproduce the signed root");
  return leaves;
}

struct Proof {
  std::uint64_t index = 0;
  std::vector<Digest> hashes;
  std::string_view note;
};

Result<Proof> parse_proof(std::string_view text) {
  const auto bad = [](std::string why) { return make_error(Code::invalid, "check proof", std::move(why)); };
  if (!text.starts_with(kProofHead)) return bad("expected a tlog-proof of version 1");
  text.remove_prefix(kProofHead.size());
  const std::size_t split = text.find("\n\n");
  if (split == text.npos || !text.starts_with("index ")) return bad("expected an index, hashes, an empty line and a checkpoint");
  Proof proof{.note = text.substr(split + 2)};
  std::string_view lines = text.substr(0, split + 1);
  const std::string_view number = lines.substr(6, lines.find('\n') - 6);
  std::from_chars(number.data(), number.data() + number.size(), proof.index);
  if (std::to_string(proof.index) != number) return bad("the index is not a plain number");
  for (lines.remove_prefix(lines.find('\n') + 1); !lines.empty(); lines.remove_prefix(lines.find('\n') + 1)) {
    const auto hash = unbase64(lines.substr(0, lines.find('\n')));
    if (!hash.ok() || hash->size() != 32 || proof.hashes.size() == kMaxProof) return bad("a line is not the base64 of a hash");
    std::copy(hash->begin(), hash->end(), proof.hashes.emplace_back().begin());
  }
  return proof;
}

}  // namespace

Result<std::vector<AuditEntry>> read_entries(Disk& disk, const std::string& dir, std::uint64_t from, std::uint64_t count) {
  CLAW_TRY_ASSIGN(auto reader, WalReader::open(disk, dir + "/wal.log"));
  std::vector<AuditEntry> entries;
  for (std::uint64_t index = 0; entries.size() < count; ++index) {
    CLAW_TRY_ASSIGN(auto entry, reader.next());
    if (!entry) break;
    if (index >= from) entries.push_back({.index = index, .bytes = std::move(*entry)});
  }
  return entries;
}

VerifyReport verify_log(Disk& disk, const std::string& dir, const std::string& verifier_key) {
  VerifyReport report;
  const auto key = parse_verifier_key(verifier_key);
  if (!key.ok()) {
    report.problem = key.error().message();
    return report;
  }
  for (int round = 0; round < kRounds; ++round) {
    const auto note = disk.read_all(dir + "/checkpoint", kMaxSmall);
    if (!note.ok()) {
      report = VerifyReport{.origin = key->name, .problem = note.error().message()};
      return report;
    }
    report = verify_once(disk, dir, *key, *note);
    const auto after = disk.read_all(dir + "/checkpoint", kMaxSmall);
    if (report.ok || (after.ok() && *after == *note)) return report;
  }
  return report;
}

Result<std::string> prove(Disk& disk, const std::string& dir, std::uint64_t index) {
  CLAW_TRY_ASSIGN(const std::string vkey, disk.read_all(dir + "/vkey", kMaxSmall));
  CLAW_TRY_ASSIGN(const VerifierKey key, parse_verifier_key(vkey));
  CLAW_TRY_ASSIGN(const std::string note, disk.read_all(dir + "/checkpoint", kMaxSmall));
  CLAW_TRY_ASSIGN(const Checkpoint head, open_checkpoint(note, key));
  if (index >= head.size)
    return make_error(Code::not_found, fmt::format("prove entry {}", index), fmt::format("{} entries are signed", head.size));
  CLAW_TRY_ASSIGN(const std::vector<Digest> leaves, signed_leaves(disk, dir, head));
  std::string proof = fmt::format("{}index {}\n", kProofHead, index);
  for (const Digest& hash : inclusion_proof(leaves, index)) proof += base64(view(hash)) + "\n";
  return proof + "\n" + note;
}

Status check_proof(std::string_view proof, std::string_view entry, std::string_view verifier_key) {
  CLAW_TRY_ASSIGN(const VerifierKey key, parse_verifier_key(verifier_key));
  CLAW_TRY_ASSIGN(const Proof parsed, parse_proof(proof));
  CLAW_TRY_ASSIGN(const Checkpoint head, open_checkpoint(parsed.note, key));
  if (inclusion_holds(leaf_hash(entry), parsed.index, head.size, parsed.hashes, head.root)) return {};
  return make_error(Code::corrupt, "check proof", fmt::format("it does not show this entry at {} of {}", parsed.index, head.size));
}

}  // namespace claw
