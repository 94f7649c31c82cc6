// Encrypted copies of what is removed, made and proven readable before the first removal.
// docs/formats/snapshot.md describes the bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/disk.h"
#include "base/random.h"
#include "base/result.h"
#include "base/secret.h"
#include "model/message.h"
#include "model/queue.h"
#include "vault/packed.h"

namespace claw {

struct SnapshotInfo {
  std::string execution_id;
  std::string queue;   // broker/name
  std::string object;  // file name within the vault
  std::uint64_t messages = 0;
  std::uint64_t plaintext_bytes = 0;  // serialised, before compression
  std::uint64_t stored_bytes = 0;     // the object's file
  std::string ciphertext_sha256;      // hex, of the whole object file
  std::string merkle_root;            // hex, RFC 6962 root over the messages' content digests in order
  std::string key_id;                 // hex; names the execution's key, tells nothing about it
};

// Thread-safe. One object per execution and queue, one key per execution, one restore key per vault.
class Vault {
 public:
  // Makes the directory when absent; reads no object.
  static Result<std::unique_ptr<Vault>> open(Disk& disk, Random& random, const std::string& dir);

  // On success the snapshot is compressed, encrypted, durable, and was read back, decrypted and compared by its digest.
  // The same content again is a success that changes nothing; other content is Code::conflict.
  Result<SnapshotInfo> write(const std::string& execution_id, const QueueId& queue, const PackedMessages& messages);
  Result<SnapshotInfo> write(const std::string& execution_id, const QueueId& queue, std::span<const Message> messages);
  Result<bool> has(const std::string& execution_id, const QueueId& queue);
  // The messages in the order they were written; one that was gone at snapshot time has no fields.
  Result<std::vector<Message>> read(const std::string& execution_id, const QueueId& queue);
  // Every snapshot, sorted by object name. Decrypts each: a damaged one is an error that names it.
  Result<std::vector<SnapshotInfo>> list();
  // Decrypts and checks every snapshot of the execution; Code::not_found when there is none.
  Status verify(const std::string& execution_id);
  // 32 raw bytes that name messages in the audit log by HMAC; made and durable with the execution's key.
  Result<std::string> digest_key(const std::string& execution_id);

 private:
  struct Opened {
    SnapshotInfo info;  // without what the messages tell
    std::string plain;
  };
  struct Checked {
    SnapshotInfo info;  // without what the messages tell
    Digest plain;       // of the encoded messages
  };
  struct Loaded {
    SnapshotInfo info;
    std::vector<Message> messages;
  };
  Vault(Disk& disk, Random& random, std::string dir) : disk_(disk), random_(random), dir_(std::move(dir)) {}

  Result<SnapshotInfo> store(const std::string& execution_id, const QueueId& queue, const std::string& path,
                             const PackedMessages& messages);
  Result<Digest> write_object(const std::string& temp, const std::string& head, std::string_view key, const PackedMessages& messages);
  Result<Checked> check_object(const std::string& execution_id, const std::string& queue_text, const std::string& path, std::string_view key);
  Result<Opened> open_object(const std::string& execution_id, const std::string& queue_text, const std::string& path);
  Result<Loaded> load(const std::string& execution_id, const std::string& queue_text, const std::string& path);
  Result<Secret> restore_key(bool create);
  Result<Secret> execution_key(const std::string& execution_id, bool create);
  Result<std::vector<SnapshotInfo>> load_all(const std::string& execution_id);
  std::string path_of(const std::string& name) const { return dir_ + "/" + name; }

  Disk& disk_;
  Random& random_;
  const std::string dir_;
  std::mutex mutex_;
};

}  // namespace claw
