// Queues, tenants and what a broker promises about looking at a queue.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"

namespace claw {

using TenantId = std::string;
using BrokerName = std::string;

struct QueueId {
  BrokerName broker;
  std::string name;
  auto operator<=>(const QueueId&) const = default;
  std::string text() const { return broker + "/" + name; }
};

// stream: Redis or RabbitMQ, read by id or offset. list: Redis. classic, quorum: RabbitMQ, whose messages have no id.
// standard, fifo: SQS.
enum class QueueType { stream, list, classic, quorum, standard, fifo };
std::string_view name(QueueType type);
std::optional<QueueType> queue_type(std::string_view name);

// The end of a Redis list that consumers take from (RPOP, BRPOP, LMOVE … RIGHT: the tail; LPOP, BLPOP: the head).
enum class ListEnd { tail, head };
std::string_view name(ListEnd end);  // "tail", "head"

enum class LookKind { peek, take };  // nothing changes / hidden while we look

// What a look at this queue costs and promises, by queue and broker version.
struct LookPromise {
  LookKind kind = LookKind::peek;
  bool sees_all = true;
  bool keeps_order = true;
  std::optional<std::uint32_t> looks_left;  // before the broker itself drops; nullopt = no limit
  std::string caveat;                       // in words, empty when there is none
  std::string refusal;                      // why it must not be looked at now; empty when it may
  std::string no_removal;                   // why no message can be removed from it, and what can be done instead; empty when one can
};

struct GroupView {
  std::string name;
  std::uint64_t consumers = 0;
  std::uint64_t pending = 0;
  std::uint64_t lag = 0;       // computed by us, never the broker's nil
  bool lag_exact = true;
  std::uint64_t acknowledged = 0;  // entries read minus pending: rises as the group makes progress
  std::string last_delivered;
};

struct ConsumerView {
  std::string group;
  std::string name;
  std::uint64_t pending = 0;
  std::uint64_t idle_ms = 0;
  std::string stuck;  // why it is taken to be stuck; empty when it is not, or when that cannot be told
};

struct QueueView {
  QueueId id;
  TenantId tenant;
  QueueType type = QueueType::stream;
  std::uint64_t backlog = 0;      // ready and not yet done by every group
  std::uint64_t held = 0;         // delivered and not acknowledged
  std::uint64_t entries = 0;      // what a whole look would read
  std::uint64_t bytes = 0;        // estimate of the broker, 0 = unknown
  std::optional<Millis> oldest_age;
  std::vector<GroupView> groups;
  std::vector<ConsumerView> consumers;
  std::string dead_letter;        // name of the dead list or queue, empty when none
  std::string processing;         // Redis list only: the reliable-queue pattern's second list
  ListEnd takes_from = ListEnd::tail;
  LookPromise look;
  std::uint64_t redelivered = 0;  // deliveries of what was delivered before, since the broker counts; 0 where it does not
  bool tells_progress = true;     // groups' `acknowledged` rises as they work; false where consumers need not acknowledge, or nobody counts
  std::string node;               // "127.0.0.1:6379": where it lives in a cluster

  // Those that have a name; where the broker names none, all who are connected are one.
  std::size_t consumer_groups() const { return type == QueueType::stream || (!groups.empty() && groups[0].consumers > 0) ? groups.size() : 0; }
};

enum class Tier { critical, standard, batch };
enum class Autonomy { observe, propose, act };
std::string_view name(Tier tier);
std::string_view name(Autonomy autonomy);

struct Sla {
  std::optional<std::uint64_t> max_backlog;  // messages
  std::optional<Millis> max_age;
  std::optional<Millis> drain_within;
  std::optional<double> min_throughput;      // messages a second
};

// Which queues are a tenant's. `match` is a glob over names (* ? [..], no escapes).
struct QueueMatch {
  BrokerName broker;
  std::string match;
  std::string processing;  // Redis lists: glob-free names; "{queue}" stands for the queue's name
  std::string dead;
  ListEnd takes_from = ListEnd::tail;  // Redis lists
};

struct Tenant {
  TenantId id;
  Tier tier = Tier::standard;
  std::vector<QueueMatch> queues;
  Sla sla;
  std::string skill = "quarantine-poison";
  Autonomy autonomy = Autonomy::propose;
  std::int64_t confidence_bps = 9500;
  std::string contract;  // path of a JSON Schema, empty when none
  std::optional<std::vector<std::string>> notify = {};  // routes its alerts are told by; nullopt: all
};

bool glob_match(std::string_view pattern, std::string_view name);

// 1 to 64 letters, digits, '_', '.' or '-'.
bool is_plain_name(std::string_view text);
inline constexpr std::string_view kTenantMark = "{tenant}";
// The tenant that a pattern like "queue:{tenant}" finds in a queue's name; nullopt when it does not match or gives no name.
std::optional<TenantId> capture_tenant(std::string_view pattern, std::string_view queue);

}  // namespace claw
