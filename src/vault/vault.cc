#include "vault/vault.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/digest.h"
#include "base/merkle.h"
#include "vault/codec.h"
#include "vault/sealed.h"

namespace claw {
namespace {

constexpr std::string_view kObjectMagic = "CLAWSNP1";
constexpr std::string_view kKeyMagic = "CLAWKEY1";
constexpr std::string_view kObjectEnd = ".snap";
constexpr std::string_view kKeyEnd = ".key";
constexpr std::string_view kRestoreKey = "restore_key";
constexpr std::uint64_t kMaxObject = kMaxPlain + (64ull << 20);
constexpr std::uint64_t kMaxKeyFile = 1024;
constexpr std::size_t kMaxExecutionId = 128;
constexpr std::size_t kMaxQueueName = 60'000;
constexpr std::size_t kNonceBytes = 24;
constexpr std::size_t kReadBack = 256 * 1024;  // bytes at a time

// It becomes part of file names: no separator, no dot.
Status check_execution_id(const std::string& id) {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  if (!id.empty() && id.size() <= kMaxExecutionId && std::all_of(id.begin(), id.end(), good)) return {};
  return make_error(Code::invalid, "vault", "execution id, expected 1 to 128 of A-Z a-z 0-9 _ -");
}

std::string object_name(const std::string& execution_id, const std::string& queue) {
  return fmt::format("{}.{}{}", execution_id, hex(view(sha256(queue)).substr(0, 8)), kObjectEnd);
}

std::string random_bytes(Random& random, std::size_t size) {
  std::string out(size, '\0');
  random.fill(std::as_writable_bytes(std::span(out)));
  return out;
}

// What is in clear at the head of an object, and authenticated with every chunk.
std::string object_head(const std::string& execution_id, const std::string& queue) {
  std::string head(kObjectMagic);
  put_text(head, execution_id);
  put_text(head, queue);
  return head;
}

Error with_path(Error error, const std::string& path) {
  error.op += " of " + path;
  return error;
}

std::string key_id_of(std::string_view key) { return hex(hmac_sha256(key, "deployclaw key id")).substr(0, 16); }

std::string root_over(std::span<const Digest> digests) {
  MerkleTree tree;
  for (const Digest& digest : digests) tree.add(leaf_hash(view(digest)));
  return hex(tree.root());
}

Error other_head(const std::string& path) { return make_error(Code::corrupt, "read " + path, "the head names another execution or queue, or was changed"); }

// What an object's bytes tell of it.
SnapshotInfo info_of(const std::string& execution_id, const std::string& queue, std::string_view key, std::uint64_t plain_bytes, std::uint64_t stored_bytes, const Digest& stored) {
  return {.execution_id = execution_id, .queue = queue, .object = object_name(execution_id, queue), .plaintext_bytes = plain_bytes, .stored_bytes = stored_bytes,
          .ciphertext_sha256 = hex(stored), .merkle_root = {}, .key_id = key_id_of(key)};
}

SnapshotInfo with_messages(SnapshotInfo info, std::span<const Digest> digests) {
  info.messages = digests.size();
  info.merkle_root = root_over(digests);
  return info;
}

}  // namespace

Result<std::unique_ptr<Vault>> Vault::open(Disk& disk, Random& random, const std::string& dir) {
  CLAW_TRY(disk.make_dirs(dir));
  return std::unique_ptr<Vault>(new Vault(disk, random, dir));
}

// A restore key that vanished must not be replaced: everything in the vault hangs on it.
Result<Secret> Vault::restore_key(bool create) {
  const std::string path = path_of(std::string(kRestoreKey));
  CLAW_TRY_ASSIGN(const bool there, disk_.exists(path));
  if (there) {
    CLAW_TRY_ASSIGN(std::string key, disk_.read_all(path, kMaxKeyFile));
    if (key.size() == kKeyBytes) return Secret(std::move(key));
    return make_error(Code::corrupt, "read " + path, fmt::format("{} bytes, expected {}", key.size(), kKeyBytes));
  }
  CLAW_TRY_ASSIGN(const auto names, disk_.list(dir_));
  for (const std::string& name : names)
    if (name.ends_with(kKeyEnd) || name.ends_with(kObjectEnd))
      return make_error(Code::corrupt, "read " + path, fmt::format("the restore key is missing, yet there is {}", name));
  if (!create) return make_error(Code::not_found, "read " + path, "the vault is empty");
  std::string key = random_bytes(random_, kKeyBytes);
  CLAW_TRY(disk_.write_atomically(path, key, Mode::owner_only));
  return Secret(std::move(key));
}

// The 64 bytes of an execution: encryption key, then digest key.
Result<Secret> Vault::execution_key(const std::string& execution_id, bool create) {
  const std::string path = path_of(execution_id + std::string(kKeyEnd));
  CLAW_TRY_ASSIGN(const bool there, disk_.exists(path));
  if (!there && !create) return make_error(Code::not_found, "read " + path, "the execution has no key, or it was destroyed");
  CLAW_TRY_ASSIGN(const Secret restore, restore_key(create));
  if (there) {
    CLAW_TRY_ASSIGN(const std::string file, disk_.read_all(path, kMaxKeyFile));
    if (!file.starts_with(kKeyMagic)) return make_error(Code::corrupt, "read " + path, "not a key file of this version");
    auto plain = unwrap(std::string_view(file).substr(kKeyMagic.size()), restore.reveal());
    if (!plain.ok()) return with_path(plain.error(), path);
    if (plain->size() < 2 * kKeyBytes || plain->substr(2 * kKeyBytes) != execution_id)
      return make_error(Code::corrupt, "read " + path, "the key of another execution");
    plain->resize(2 * kKeyBytes);
    // A crash may have come between rename and sync of the directory.
    if (create) CLAW_TRY(disk_.sync_dir(dir_));
    return Secret(std::move(*plain));
  }
  CLAW_TRY_ASSIGN(const auto names, disk_.list(dir_));
  for (const std::string& name : names)
    if (name.starts_with(execution_id + ".") && name.ends_with(kObjectEnd))
      return make_error(Code::corrupt, "read " + path, fmt::format("the key is missing, yet there is {}", name));
  std::string keys = random_bytes(random_, 2 * kKeyBytes);
  const Secret plain(keys + execution_id);
  const std::string wrapped = wrap(plain.reveal(), restore.reveal(), random_bytes(random_, kNonceBytes));
  CLAW_TRY(disk_.write_atomically(path, std::string(kKeyMagic) + wrapped, Mode::owner_only));
  return Secret(std::move(keys));
}

// Reads and decrypts one object; the path may be that of a temporary file.
Result<Vault::Opened> Vault::open_object(const std::string& execution_id, const std::string& queue, const std::string& path) {
  CLAW_TRY_ASSIGN(const std::string file, disk_.read_all(path, kMaxObject));
  const std::string head = object_head(execution_id, queue);
  if (!file.starts_with(head)) return other_head(path);
  CLAW_TRY_ASSIGN(const Secret keys, execution_key(execution_id, false));
  const std::string_view key = keys.reveal().substr(0, kKeyBytes);
  auto plain = unseal(std::string_view(file).substr(head.size()), key, head);
  if (!plain.ok()) return with_path(plain.error(), path);
  return Opened{info_of(execution_id, queue, key, plain->size(), file.size(), sha256(file)), std::move(*plain)};
}

Result<Vault::Loaded> Vault::load(const std::string& execution_id, const std::string& queue, const std::string& path) {
  CLAW_TRY_ASSIGN(Opened opened, open_object(execution_id, queue, path));
  auto messages = decode_messages(opened.plain);
  if (!messages.ok()) return with_path(messages.error(), path);
  std::vector<Digest> digests;
  for (const Message& message : *messages) digests.push_back(message.digest());
  return Loaded{with_messages(std::move(opened.info), digests), std::move(*messages)};
}

// Seals into a synced file; the digest of the encoded messages.
Result<Digest> Vault::write_object(const std::string& temp, const std::string& head, std::string_view key, const PackedMessages& messages) {
  CLAW_TRY_ASSIGN(const bool leftover, disk_.exists(temp));
  if (leftover) CLAW_TRY(disk_.remove(temp));
  CLAW_TRY_ASSIGN(auto file, disk_.open_append(temp, Mode::owner_only));
  Sealer sealer(key, head, messages.encoded_size());
  Sha256 plain;
  CLAW_TRY(file->append(head));
  CLAW_TRY(messages.encoded([&](std::string_view piece) -> Status {
    plain.update(piece);
    CLAW_TRY_ASSIGN(const std::string sealed, sealer.push(piece));
    return sealed.empty() ? Status() : file->append(sealed);
  }));
  CLAW_TRY_ASSIGN(const std::string rest, sealer.finish());
  CLAW_TRY(file->append(rest));
  CLAW_TRY(file->sync());
  return plain.finish();
}

// Opens a whole object in bounded memory, and says what it is but for what the messages tell.
Result<Vault::Checked> Vault::check_object(const std::string& execution_id, const std::string& queue, const std::string& path, std::string_view key) {
  const std::string head = object_head(execution_id, queue);
  CLAW_TRY_ASSIGN(auto file, disk_.open_read(path));
  CLAW_TRY_ASSIGN(std::string bytes, file->read(0, head.size()));
  if (bytes != head) return other_head(path);
  Unsealer unsealer(key, head);
  Sha256 stored, plain;
  stored.update(bytes);
  std::uint64_t stored_bytes = bytes.size(), plain_bytes = 0;
  const auto take = [&](Result<std::string> piece) -> Status {
    if (!piece) return with_path(std::move(piece).error(), path);
    plain.update(*piece);
    plain_bytes += piece->size();
    return {};
  };
  for (;;) {
    CLAW_TRY_ASSIGN(bytes, file->read(stored_bytes, kReadBack));
    if (bytes.empty()) break;
    stored_bytes += bytes.size();
    stored.update(bytes);
    CLAW_TRY(take(unsealer.push(bytes)));
  }
  CLAW_TRY(take(unsealer.finish()));
  return Checked{info_of(execution_id, queue, key, plain_bytes, stored_bytes, stored.finish()), plain.finish()};
}

// Temporary file → sync → read back and compare → rename → sync of the directory. Equal bytes decode to equal messages: the
// codec is a function.
Result<SnapshotInfo> Vault::store(const std::string& execution_id, const QueueId& queue, const std::string& path, const PackedMessages& messages) {
  const std::string temp = path + ".tmp";
  CLAW_TRY_ASSIGN(const Secret keys, execution_key(execution_id, true));
  const std::string_view key = keys.reveal().substr(0, kKeyBytes);
  CLAW_TRY_ASSIGN(const Digest written, write_object(temp, object_head(execution_id, queue.text()), key, messages));
  CLAW_TRY_ASSIGN(Checked back, check_object(execution_id, queue.text(), temp, key));
  if (back.plain != written) return make_error(Code::corrupt, "read back " + temp, "differs from what was written");
  CLAW_TRY(disk_.rename(temp, path));
  CLAW_TRY(disk_.sync_dir(dir_));
  return with_messages(std::move(back.info), messages.digests());
}

Result<SnapshotInfo> Vault::write(const std::string& execution_id, const QueueId& queue, std::span<const Message> messages) {
  PackedMessages packed;
  CLAW_TRY(packed.add(messages));
  return write(execution_id, queue, packed);
}

Result<SnapshotInfo> Vault::write(const std::string& execution_id, const QueueId& queue, const PackedMessages& messages) {
  CLAW_TRY(check_execution_id(execution_id));
  if (queue.text().size() > kMaxQueueName)
    return make_error(Code::unsupported, "write snapshot", fmt::format("the queue's name is longer than {} bytes", kMaxQueueName));
  const std::lock_guard lock(mutex_);
  const std::string path = path_of(object_name(execution_id, queue.text()));
  CLAW_TRY_ASSIGN(const bool there, disk_.exists(path));
  if (!there) return store(execution_id, queue, path, messages);
  CLAW_TRY_ASSIGN(const Secret keys, execution_key(execution_id, false));
  CLAW_TRY_ASSIGN(Checked old, check_object(execution_id, queue.text(), path, keys.reveal().substr(0, kKeyBytes)));
  Sha256 wanted;
  CLAW_TRY(messages.encoded([&](std::string_view piece) {
    wanted.update(piece);
    return Status();
  }));
  if (old.plain != wanted.finish())
    return make_error(Code::conflict, "write " + path, "holds messages of other content; a snapshot is never replaced");
  CLAW_TRY(disk_.sync_dir(dir_));  // the earlier writer may have died before its own
  return with_messages(std::move(old.info), messages.digests());
}

Result<bool> Vault::has(const std::string& execution_id, const QueueId& queue) {
  CLAW_TRY(check_execution_id(execution_id));
  return disk_.exists(path_of(object_name(execution_id, queue.text())));
}

Result<std::vector<Message>> Vault::read(const std::string& execution_id, const QueueId& queue) {
  CLAW_TRY(check_execution_id(execution_id));
  const std::lock_guard lock(mutex_);
  CLAW_TRY_ASSIGN(Loaded loaded, load(execution_id, queue.text(), path_of(object_name(execution_id, queue.text()))));
  return std::move(loaded.messages);
}

namespace {

struct Label {
  std::string execution_id;
  std::string queue;
};

// The clear head of a file, not yet authenticated: load() does that.
Result<Label> read_label(Disk& disk, const std::string& path) {
  constexpr std::size_t kMaxHead = 64 * 1024;
  CLAW_TRY_ASSIGN(auto file, disk.open_read(path));
  CLAW_TRY_ASSIGN(const std::string bytes, file->read(0, kMaxHead));
  Cursor in(bytes);
  const bool ours = in.bytes(kObjectMagic.size()) == kObjectMagic;
  Label label;
  label.execution_id = in.text();
  label.queue = in.text();
  if (ours && in.ok() && check_execution_id(label.execution_id).ok()) return label;
  return make_error(Code::corrupt, "read " + path, "no snapshot of this version, or its head was changed");
}

}  // namespace

// An empty execution id stands for all.
Result<std::vector<SnapshotInfo>> Vault::load_all(const std::string& execution_id) {
  CLAW_TRY_ASSIGN(const auto names, disk_.list(dir_));
  std::vector<SnapshotInfo> infos;
  for (const std::string& name : names) {
    if (!name.ends_with(kObjectEnd)) continue;
    if (!execution_id.empty() && !name.starts_with(execution_id + ".")) continue;
    CLAW_TRY_ASSIGN(const Label label, read_label(disk_, path_of(name)));
    if (object_name(label.execution_id, label.queue) != name)
      return make_error(Code::corrupt, "read " + path_of(name), "the head names another object");
    CLAW_TRY_ASSIGN(Loaded loaded, load(label.execution_id, label.queue, path_of(name)));
    infos.push_back(std::move(loaded.info));
  }
  return infos;
}

Result<std::vector<SnapshotInfo>> Vault::list() {
  const std::lock_guard lock(mutex_);
  return load_all("");
}

Status Vault::verify(const std::string& execution_id) {
  CLAW_TRY(check_execution_id(execution_id));
  const std::lock_guard lock(mutex_);
  CLAW_TRY_ASSIGN(const auto infos, load_all(execution_id));
  if (infos.empty()) return make_error(Code::not_found, "verify snapshots of " + execution_id, "there is none");
  return {};
}

Result<std::string> Vault::digest_key(const std::string& execution_id) {
  CLAW_TRY(check_execution_id(execution_id));
  const std::lock_guard lock(mutex_);
  CLAW_TRY_ASSIGN(const Secret keys, execution_key(execution_id, true));
  return std::string(keys.reveal().substr(kKeyBytes));
}

}  // namespace claw
