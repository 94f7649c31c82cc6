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

enum class QueueType { stream, list, standard, fifo };  // Redis, Redis, SQS, SQS
std::string_view name(QueueType type);  // "stream", "list", "standard", "fifo"
std::optional<QueueType> queue_type(std::string_view name);

enum class LookKind { peek, take };  // nothing changes / hidden while we look

// What a look at this queue costs and promises, by queue and broker version.
struct LookPromise {
  LookKind kind = LookKind::peek;
  bool sees_all = true;
  bool keeps_order = true;
  std::optional<std::uint32_t> looks_left;  // before the broker itself drops; nullopt = no limit
  std::string caveat;                       // in words, empty when there is none
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
  LookPromise look;
  std::string node;               // "127.0.0.1:6379": where it lives in a cluster
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
};

bool glob_match(std::string_view pattern, std::string_view name);

}  // namespace claw
