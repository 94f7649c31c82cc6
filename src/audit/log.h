// The append-only audit log: an entry that append() acknowledged is durable and, once signed, cannot change unseen.
// docs/formats/audit-log.md describes the files; read.h verifies them without any private key.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/disk.h"
#include "base/random.h"
#include "base/result.h"

namespace claw {

// Thread-safe. One writer per directory: open() holds a lock for the log's lifetime.
class AuditLog {
 public:
  // Makes the log when the directory holds none: `origin` then names it and its key (no space, '+' or newline).
  // An existing log must bear the same origin (Code::conflict). Code::corrupt when the write-ahead log does not
  // reproduce the signed root, is shorter than the signed size, or the checkpoint cannot be read; only an
  // unsigned torn tail is cut.
  static Result<std::unique_ptr<AuditLog>> open(Disk& disk, Random& random, const std::string& dir,
                                                const std::string& origin);
  ~AuditLog();
  AuditLog(const AuditLog&) = delete;
  AuditLog& operator=(const AuditLog&) = delete;

  // Writes canonical(record), 65,535 bytes at most, and returns its index once it is durable. After a failed
  // write or sync the log is dead: every later call is Code::corrupt until it is opened again.
  Result<std::uint64_t> append(const nlohmann::json& record);
  // Publishes tiles and entry bundles, then the signed head over all entries. Nothing new: no change.
  Status checkpoint();

  std::uint64_t size() const;
  const std::string& origin() const;
  // "<origin>+<key hash>+<base64 key>", the signed-note form.
  std::string verifier_key() const;

 private:
  struct State;
  explicit AuditLog(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace claw
