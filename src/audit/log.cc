#include "audit/log.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "audit/format.h"
#include "base/merkle.h"
#include "base/secret.h"
#include "base/text.h"

namespace claw {
namespace {

using namespace audit;

constexpr std::uint64_t kMaxSmall = 64 * 1024;
constexpr std::size_t kSeedBytes = 32;
constexpr std::size_t kMaxPending = 32;  // full tiles in memory before they are written

struct PendingFile {
  std::string path;  // relative to the log
  std::string bytes;
};

Error corrupt(const std::string& dir, std::string detail) {
  return make_error(Code::corrupt, "open audit log " + dir, std::move(detail));
}

std::string joined(const std::vector<Digest>& hashes) {
  std::string bytes;
  for (const Digest& hash : hashes) bytes.append(view(hash));
  return bytes;
}

// The partial tiles that a head over `size` entries was published with.
std::vector<std::string> partial_names(std::uint64_t size) {
  std::vector<std::string> names;
  if (size % kTileWidth != 0) names.push_back(tile_path("entries", size / kTileWidth, size % kTileWidth));
  for (std::size_t level = 0; size > 0; ++level, size /= kTileWidth)
    if (size % kTileWidth != 0) names.push_back(tile_path(std::to_string(level), size / kTileWidth, size % kTileWidth));
  return names;
}

Digest root_of(const std::vector<Digest>& hashes) {
  MerkleTree tree;
  for (const Digest& hash : hashes) tree.add(hash);
  return tree.root();
}

}  // namespace

struct AuditLog::State {
  Disk& disk;
  std::string dir;
  std::string origin;
  Secret seed;
  std::string verifier;
  std::unique_ptr<FileLock> lock;
  std::unique_ptr<File> wal;

  mutable std::mutex mutex;
  bool dead = false;
  std::uint64_t signed_size = 0;
  MerkleTree tree;
  std::vector<std::vector<Digest>> edge;   // per level, the hashes of the tile that is not yet full
  std::vector<std::uint64_t> edge_number;  // and that tile's number
  std::string bundle;
  std::vector<PendingFile> pending;

  std::string path(const std::string& name) const { return dir + "/" + name; }
  Result<bool> prepare(Random& random);
  Status load_identity(Random& random, bool started);
  Status replay(const Checkpoint& head);
  void integrate(std::string_view entry);
  void push(std::size_t level, const Digest& hash);
  Status put(const std::string& name, std::string_view bytes, std::set<std::string>& dirs) const;
  Status publish_pending();
  Status publish_partials();
  Status sign();
  Status drop_partials(std::uint64_t old_size);
  template <class T, class F>
  Result<T> or_die(F&& work);
};

// Any failure here may have left bytes of unknown durability behind: nothing may be built on them.
template <class T, class F>
Result<T> AuditLog::State::or_die(F&& work) {
  if (dead)
    return make_error(Code::corrupt, "audit log " + dir, "an earlier write or sync failed: restart, and look at the disk");
  Result<T> done = work();
  dead = !done.ok();
  return done;
}

// True when the log was begun before: it has a signed head, so a missing or unreadable one is damage.
Result<bool> AuditLog::State::prepare(Random& random) {
  CLAW_TRY(disk.make_dirs(dir));
  CLAW_TRY_ASSIGN(lock, disk.lock(path("lock")));
  CLAW_TRY_ASSIGN(const bool head, disk.exists(path("checkpoint")));
  CLAW_TRY_ASSIGN(const bool log, disk.exists(path("wal.log")));
  if (head && !log) return corrupt(dir, "wal.log is missing under a signed checkpoint");
  if (!head && log) {
    CLAW_TRY_ASSIGN(auto file, disk.open_read(path("wal.log")));
    CLAW_TRY_ASSIGN(const std::uint64_t bytes, file->size());
    if (bytes > 0) return corrupt(dir, "checkpoint is missing beside a wal.log that is not empty");
  }
  CLAW_TRY(load_identity(random, head));
  return head;
}

Status AuditLog::State::load_identity(Random& random, bool started) {
  CLAW_TRY_ASSIGN(const bool has_seed, disk.exists(path("key.seed")));
  CLAW_TRY_ASSIGN(const bool has_origin, disk.exists(path("origin")));
  if (started && (!has_seed || !has_origin)) return corrupt(dir, "key.seed or origin is missing under a signed checkpoint");
  if (!has_seed) {
    std::string fresh(kSeedBytes, '\0');
    random.fill(std::as_writable_bytes(std::span(fresh)));
    const Secret kept(std::move(fresh));
    CLAW_TRY(disk.write_atomically(path("key.seed"), kept.reveal(), Mode::owner_only));
  }
  if (!has_origin) CLAW_TRY(disk.write_atomically(path("origin"), origin, Mode::shared));
  CLAW_TRY_ASSIGN(std::string bytes, disk.read_all(path("key.seed"), kMaxSmall));
  if (bytes.size() != kSeedBytes) return corrupt(dir, fmt::format("key.seed has {} bytes, expected {}", bytes.size(), kSeedBytes));
  seed = Secret(std::move(bytes));
  CLAW_TRY_ASSIGN(const std::string stored, disk.read_all(path("origin"), kMaxSmall));
  if (stored != origin) return make_error(Code::conflict, "open audit log " + dir, fmt::format("its origin is {}, expected {}", stored, origin));
  verifier = verifier_of_seed(origin, seed.reveal()).text();
  return disk.write_atomically(path("vkey"), verifier + "\n", Mode::shared);
}

void AuditLog::State::push(std::size_t level, const Digest& hash) {
  if (edge.size() <= level) {
    edge.resize(level + 1);
    edge_number.resize(level + 1, 0);
  }
  edge[level].push_back(hash);
  if (edge[level].size() < kTileWidth) return;
  pending.push_back({tile_path(std::to_string(level), edge_number[level], kTileWidth), joined(edge[level])});
  const Digest root = root_of(edge[level]);
  edge[level].clear();
  ++edge_number[level];
  push(level + 1, root);
}

void AuditLog::State::integrate(std::string_view entry) {
  bundle.push_back(static_cast<char>(entry.size() >> 8));
  bundle.push_back(static_cast<char>(entry.size() & 0xff));
  bundle.append(entry);
  const Digest hash = leaf_hash(entry);
  tree.add(hash);
  push(0, hash);
  if (tree.size() % kTileWidth != 0) return;
  pending.push_back({tile_path("entries", tree.size() / kTileWidth - 1, kTileWidth), std::move(bundle)});
  bundle.clear();
}

Status AuditLog::State::replay(const Checkpoint& head) {
  CLAW_TRY_ASSIGN(auto reader, WalReader::open(disk, path("wal.log")));
  bool reproduced = head.size == 0 && head.root == tree.root();
  for (;;) {
    CLAW_TRY_ASSIGN(const auto entry, reader.next());
    if (!entry) break;
    integrate(*entry);
    if (tree.size() == head.size) reproduced = tree.root() == head.root;
    if (tree.size() <= head.size) pending.clear();  // published before that head was signed
    else if (pending.size() > kMaxPending) CLAW_TRY(publish_pending());
  }
  if (tree.size() < head.size)
    return corrupt(dir, fmt::format("wal.log holds {} whole entries, but {} are signed", tree.size(), head.size));
  if (!reproduced) return corrupt(dir, fmt::format("wal.log does not reproduce the signed root of {} entries", head.size));
  signed_size = head.size;
  if (reader.torn_bytes() > 0) CLAW_TRY(wal->truncate(reader.offset()));
  return wal->sync();  // what was read may only have been in memory when the earlier process ended
}

Result<std::unique_ptr<AuditLog>> AuditLog::open(Disk& disk, Random& random, const std::string& dir, const std::string& origin) {
  if (origin.empty() || origin.size() > 255 || origin.find_first_of(" +\n\r\t") != origin.npos)
    return make_error(Code::invalid, "open audit log " + dir, "origin, expected 1 to 255 bytes without white space and '+'");
  auto state = std::unique_ptr<State>(new State{.disk = disk, .dir = dir, .origin = origin});
  CLAW_TRY_ASSIGN(const bool started, state->prepare(random));
  Checkpoint head{.origin = origin, .size = 0, .root = MerkleTree().root()};
  if (started) {
    CLAW_TRY_ASSIGN(const std::string note, disk.read_all(state->path("checkpoint"), kMaxSmall));
    CLAW_TRY_ASSIGN(const VerifierKey key, parse_verifier_key(state->verifier));
    CLAW_TRY_ASSIGN(head, open_checkpoint(note, key));
  }
  CLAW_TRY_ASSIGN(state->wal, disk.open_append(state->path("wal.log"), Mode::owner_only));
  CLAW_TRY(state->wal->sync());
  CLAW_TRY(disk.sync_dir(dir));
  if (!started) CLAW_TRY(state->sign());
  CLAW_TRY(state->replay(head));
  return std::unique_ptr<AuditLog>(new AuditLog(std::move(state)));
}

Result<std::uint64_t> AuditLog::append(const nlohmann::json& record) {
  CLAW_TRY_ASSIGN(const std::string entry, canonical(record));
  if (entry.size() > kMaxEntry)
    return make_error(Code::invalid, "append to audit log", fmt::format("{} bytes, expected at most {}", entry.size(), kMaxEntry));
  const std::lock_guard lock(state_->mutex);
  return state_->or_die<std::uint64_t>([&]() -> Result<std::uint64_t> {
    if (state_->pending.size() > kMaxPending) CLAW_TRY(state_->publish_pending());
    CLAW_TRY(state_->wal->append(frame(entry)));
    CLAW_TRY(state_->wal->sync());
    state_->integrate(entry);
    return state_->tree.size() - 1;
  });
}

// Temporary file → sync → rename; the caller syncs the directories it collects.
Status AuditLog::State::put(const std::string& name, std::string_view bytes, std::set<std::string>& dirs) const {
  const std::string to = path(name);
  const std::string parent = std::filesystem::path(to).parent_path().string();
  const std::string temp = to + ".tmp";
  CLAW_TRY(disk.make_dirs(parent));
  CLAW_TRY_ASSIGN(const bool leftover, disk.exists(temp));
  if (leftover) CLAW_TRY(disk.remove(temp));
  CLAW_TRY_ASSIGN(auto file, disk.open_append(temp, Mode::shared));
  CLAW_TRY(file->append(bytes));
  CLAW_TRY(file->sync());
  dirs.insert(parent);
  return disk.rename(temp, to);
}

Status AuditLog::State::publish_pending() {
  std::set<std::string> dirs;
  for (const PendingFile& file : pending) CLAW_TRY(put(file.path, file.bytes, dirs));
  for (const std::string& changed : dirs) CLAW_TRY(disk.sync_dir(changed));
  pending.clear();
  return {};
}

Status AuditLog::State::publish_partials() {
  std::set<std::string> dirs;
  for (std::size_t level = 0; level < edge.size(); ++level) {
    if (edge[level].empty()) continue;
    CLAW_TRY(put(tile_path(std::to_string(level), edge_number[level], edge[level].size()), joined(edge[level]), dirs));
  }
  if (!bundle.empty()) CLAW_TRY(put(tile_path("entries", tree.size() / kTileWidth, tree.size() % kTileWidth), bundle, dirs));
  for (const std::string& changed : dirs) CLAW_TRY(disk.sync_dir(changed));
  return {};
}

Status AuditLog::State::sign() {
  const std::string note = sign_checkpoint({.origin = origin, .size = tree.size(), .root = tree.root()}, seed.reveal());
  return disk.write_atomically(path("checkpoint"), note, Mode::shared);
}

Status AuditLog::State::drop_partials(std::uint64_t old_size) {
  const std::vector<std::string> kept = partial_names(tree.size());
  for (const std::string& old : partial_names(old_size)) {
    if (std::find(kept.begin(), kept.end(), old) != kept.end()) continue;
    if (const Status gone = disk.remove(path(old)); !gone.ok() && gone.error().code != Code::not_found) return gone;
  }
  return {};
}

// Entries are durable already; then tiles, then the head over them, and only then old partial tiles go.
Status AuditLog::checkpoint() {
  const std::lock_guard lock(state_->mutex);
  State& state = *state_;
  if (!state.dead && state.tree.size() == state.signed_size) return {};
  return state.or_die<void>([&]() -> Status {
    CLAW_TRY(state.publish_pending());
    CLAW_TRY(state.publish_partials());
    CLAW_TRY(state.sign());
    return state.drop_partials(std::exchange(state.signed_size, state.tree.size()));
  });
}

AuditLog::AuditLog(std::unique_ptr<State> state) : state_(std::move(state)) {}
AuditLog::~AuditLog() = default;

std::uint64_t AuditLog::size() const {
  const std::lock_guard lock(state_->mutex);
  return state_->tree.size();
}

const std::string& AuditLog::origin() const { return state_->origin; }
std::string AuditLog::verifier_key() const { return state_->verifier; }

}  // namespace claw
