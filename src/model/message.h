// Messages as the brokers hand them over: views into one buffer a page, evidence beside the content.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/raw_bytes.h"
#include "base/result.h"

namespace claw {

// A message's native id packed into two words, ordered as the queue is. Redis stream: (ms, seq).
// Redis list: (index from the head at the time of the look, index from the tail). SQS: the id's UUID, see uuid_key.
// What it means is the adapter's business; Message::id below is its text.
struct MessageKey {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  auto operator<=>(const MessageKey&) const = default;
};

// A UUID of the standard variant (RFC 9562) as a key and back. Its two fixed bits come first and are dropped, so the two
// highest bits of a key made here are zero. Code::corrupt for any other text.
Result<MessageKey> uuid_key(std::string_view uuid);
std::string uuid_text(MessageKey key);

// What deliveries tell about one message. What is not known stays zero and the QueueView says so.
struct Evidence {
  std::uint16_t passed = 0;    // consumer groups that acknowledged it while it is still visible
  std::uint16_t pending = 0;   // groups that hold it unacknowledged now
  std::uint16_t waiting = 0;   // groups that were never given it
  std::uint32_t attempts = 0;  // most deliveries in one group so far
  std::uint64_t idle_ms = 0;   // since the last delivery in that group
  bool dead_lettered = false;  // found in a dead or processing list of this queue
  bool failed = false;         // a consumer said so: rejected, declared fatal, an error in its headers; not: expired, evicted

  bool delivered() const { return passed > 0 || pending > 0 || dead_lettered || failed; }
};

struct Field {
  std::string_view name;  // empty for a message that is one body
  std::string_view value;
};

// One page of messages. Movable, reusable: clear() keeps the capacity. Views point into `buffer`,
// which has at least kPadding readable bytes after the last value, so a SIMD parser may over-read.
class Batch {
 public:
  static constexpr std::size_t kPadding = 64;

  struct Entry {
    MessageKey key;
    std::uint32_t first_field = 0;
    std::uint32_t field_count = 0;
    Evidence evidence;
  };

  std::span<const Entry> entries() const { return entries_; }
  std::span<const Field> fields(const Entry& entry) const {
    return std::span(fields_).subspan(entry.first_field, entry.field_count);
  }
  std::uint64_t bytes() const;  // sum of the values

  void clear();
  // The adapter moves a whole reply in here, then adds entries whose views point into it. Moving a
  // vector keeps its storage in place, so views made before the move stay good.
  void adopt(RawBytes buffer) { buffers_.push_back(std::move(buffer)); }
  void add(MessageKey key, std::span<const Field> fields, const Evidence& evidence);
  // For the adapter that fills in evidence after the content.
  std::span<Entry> mutable_entries() { return entries_; }
  // Gives a buffer back for reuse; empty when there is none.
  RawBytes recycle();

 private:
  std::vector<Entry> entries_;
  std::vector<Field> fields_;
  std::vector<RawBytes> buffers_;
};

// A message that owns its bytes: samples, snapshots, quarantine.
struct OwnedField {
  std::string name;
  std::string value;
  bool operator==(const OwnedField&) const = default;
};

// Where one consumer group stood with a message when it was read.
struct GroupState {
  enum class Standing { waiting, pending, acknowledged };
  std::string group;
  Standing standing = Standing::waiting;
  std::string consumer;         // pending only
  std::uint32_t attempts = 0;   // pending only
  std::uint64_t idle_ms = 0;    // pending only
  bool operator==(const GroupState&) const = default;
};

// Views of fields that somebody owns.
std::vector<Field> views_of(std::span<const OwnedField> fields);

// SHA-256 over fields in order, each length-prefixed: equal exactly when the content is byte-equal. 32 raw bytes.
std::string content_digest(std::span<const Field> fields);
// Its first 8 bytes, big-endian: what names a neighbour or a message without an id of its own.
std::uint64_t short_digest(std::span<const Field> fields);

// What stood next to a message of a list when it was seen, as short digests; 0: nothing, or not known.
struct Neighbours {
  std::uint64_t before = 0;
  std::uint64_t after = 0;
  bool operator==(const Neighbours&) const = default;
};

// Content that a look already read, by key: what is not in here is read again.
struct SeenContent {
  std::vector<OwnedField> fields;
  Neighbours neighbours;
};
using ContentByKey = std::map<MessageKey, SeenContent>;

struct Message {
  std::string id;  // native id as the broker's users write it: "1700000000000-0", "list:1234"
  MessageKey key;
  std::vector<OwnedField> fields;
  std::vector<GroupState> groups;
  Neighbours neighbours = {};

  std::string content_digest() const;
  Digest digest() const;  // the same bytes
};

}  // namespace claw
