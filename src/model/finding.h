// What detection saw: groups of messages that fail for one reason, in words and numbers.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/message.h"
#include "model/queue.h"

namespace claw {

// One reason for failing. Ordered by (kind, path) for a stable text.
struct Signature {
  std::string kind;  // stable id: "malformed_json"
  std::string path;  // "transaction_id", "metadata.items[]", "" = the whole body
  std::string text;  // "malformed JSON in transaction_id field"
  bool operator==(const Signature& other) const { return kind == other.kind && path == other.path; }
  // 12 hex digits of SHA-256 over kind and path: the same finding keeps its name over scans.
  std::string id() const;
};

// Counts are (message, group) pairs unless said otherwise.
struct SignatureEvidence {
  std::uint64_t failures = 0;         // deliveries with the signature that failed (attempts summed up to a cap)
  std::uint64_t failing_messages = 0; // messages with it that failed at least twice
  std::uint64_t passes = 0;           // acknowledged although they had it
  std::uint64_t waiting = 0;          // messages with it that were never delivered
  std::uint64_t in_flight = 0;        // censored: being worked on now
  std::uint64_t other_failures = 0;   // failing messages without it (bystanders)
  std::uint64_t other_passes = 0;     // acknowledged without it
};

// One message of a finding: a look may name millions of them.
struct PoisonRef {
  MessageKey key;
  std::uint64_t digest = 0;  // short digest of its content; 0: not taken
  std::uint32_t queue = 0;   // index into Observation::queues
  std::uint32_t attempts = 0;
};

// Its native id. A list's or a RabbitMQ queue's message has none of its own: its place is a hint, the digest of its content the
// identity, as in "list:<index>@<digest>".
std::string message_id(QueueType type, const PoisonRef& ref);
// The inverse, as far as an id tells: everything but `queue` and `attempts`, and of a list or queue the distance from its end.
Result<PoisonRef> ref_of_id(QueueType type, std::string_view id);

struct Finding {
  Signature signature;
  TenantId tenant;
  std::vector<QueueId> queues;
  std::string explanation;           // one or two sentences with the counts, and what would change our mind
  std::uint64_t count = 0;           // messages, delivered or not
  double confidence = 0;             // posterior mean, 4 decimals
  double lower_bound = 0;            // 2% quantile, 4 decimals: what thresholds act on
  SignatureEvidence evidence;
  std::vector<std::string> sample;   // native ids, at most 5
  std::string excerpt;               // redacted text around the place, "" when none
};

// Content of candidates that the scan kept, so that a removal right after it need not read it again. Bounded.
using KeptContent = std::map<QueueId, ContentByKey>;

// What a person says of a finding: "poison", "not-poison", "none" takes it back.
enum class Said { poison, not_poison, none };
std::string_view name(Said said);
std::optional<Said> said(std::string_view name);

// What a person said of a signature. Remembered, and weighed with the evidence.
struct Label {
  bool poison = false;
  std::string actor;   // "user:root"
  std::string reason;
  WallTime at{};
};
using Labels = std::map<std::string, Label>;  // by signature id

// Everything one scan of a tenant (or of one queue) saw.
struct Observation {
  TenantId tenant;
  std::vector<QueueView> queues;
  std::uint64_t messages_seen = 0;
  std::uint64_t bytes_seen = 0;
  std::vector<Finding> findings;     // worst first: lower bound × count, then signature id
  std::vector<std::vector<PoisonRef>> members;  // parallel to findings, in queue order
  KeptContent kept;                  // of some members; no finding depends on it
  std::vector<std::string> notes;    // changes in content that harm nobody, in words
  std::string outage;                // non-empty: most arrivals fail alike; words, not poison
};

}  // namespace claw
