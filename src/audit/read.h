// Reading and proving the audit log with nothing but its directory and a verifier key.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/disk.h"
#include "base/result.h"

namespace claw {

struct AuditEntry {
  std::uint64_t index = 0;
  std::string bytes;  // canonical JSON
};

// At most `count` entries from `from` on, in order; those beyond the checkpoint too. A record cut off at the end
// (being written now, or torn by a crash) ends the list; any other damage is Code::corrupt.
Result<std::vector<AuditEntry>> read_entries(Disk& disk, const std::string& dir, std::uint64_t from,
                                             std::uint64_t count);

struct VerifyReport {
  bool ok = false;
  std::uint64_t size = 0;              // signed entries
  std::string root;                    // base64
  std::string origin;
  bool witnessed = false;              // no witness is supported yet: always false
  std::optional<std::uint64_t> first_bad;  // index of the first entry that cannot be trusted, when one can be named
  std::uint64_t unsigned_entries = 0;  // durable, but not yet under a checkpoint
  std::string problem;                 // in words; empty when ok
};

// Recomputes everything from the files: canonical entries, the write-ahead log against the entry bundles, every
// tile and partial tile, the root, the signature, and the legal order of records within each execution.
VerifyReport verify_log(Disk& disk, const std::string& dir, const std::string& verifier_key);

// A C2SP tlog-proof of inclusion of entry `index` under the current checkpoint; Code::not_found beyond it.
Result<std::string> prove(Disk& disk, const std::string& dir, std::uint64_t index);
// Ok exactly when `entry` is under the signed checkpoint within `proof`. Needs no file.
Status check_proof(std::string_view proof, std::string_view entry, std::string_view verifier_key);

}  // namespace claw
