#include "redis/discovery.h"

#include <algorithm>
#include <map>
#include <optional>

#include "base/text.h"
#include "redis/operations.h"

namespace claw::redis {
namespace {

std::string for_queue(std::string pattern, std::string_view queue) {
  constexpr std::string_view kMark = "{queue}";
  if (const std::size_t at = pattern.find(kMark); at != std::string::npos) pattern.replace(at, kMark.size(), queue);
  return pattern;
}

// Adds the view of one key to `found` when exactly one tenant claims it.
Status match_key(const BrokerName& broker, std::string_view key, QueueType type, std::span<const Claim> claims, std::map<std::string, QueueView>& found) {
  if (is_quarantine_key(key)) return {};
  const Claim* owner = nullptr;
  for (const Claim& claim : claims) {
    if (!glob_match(claim.match.match, key)) continue;
    if (owner != nullptr && owner->tenant != claim.tenant)
      return make_error(Code::conflict, "queue " + broker + "/" + escape(key, 120), "is claimed by tenants " + owner->tenant + " and " + claim.tenant);
    if (owner == nullptr) owner = &claim;
  }
  if (owner == nullptr) return {};
  QueueView view;
  view.id = {broker, std::string(key)};
  view.tenant = owner->tenant;
  view.type = type;
  if (type == QueueType::list) {
    view.processing = for_queue(owner->match.processing, key);
    view.dead_letter = for_queue(owner->match.dead, key);
    view.takes_from = owner->match.takes_from;
  }
  found.emplace(std::string(key), std::move(view));  // SCAN may name a key twice
  return {};
}

Status scan_type(Connection& connection, const BrokerName& broker, QueueType type, std::span<const Claim> claims, std::map<std::string, QueueView>& found, Deadline deadline) {
  std::string cursor = "0";
  do {
    CLAW_TRY_ASSIGN(const Reply reply, connection.call({"SCAN", cursor, "COUNT", "1000", "TYPE", name(type)}, deadline));
    cursor = reply.root().first().text();
    const Reply::View keys = reply.root().first().next();
    Reply::View key = keys.first();
    for (std::size_t i = 0; i < keys.size(); ++i, key = key.next()) CLAW_TRY(match_key(broker, key.text(), type, claims, found));
    if (deadline.expired(connection.clock())) return make_error(Code::timed_out, "SCAN", "the keyspace was not walked before the deadline");
  } while (cursor != "0");
  return {};
}

// Calls `use(name, value)` for each pair of a flat array.
template <class F>
void each_pair(Reply::View pairs, F&& use) {
  Reply::View name = pairs.first();
  for (std::size_t i = 0; i + 1 < pairs.size(); i += 2) {
    const Reply::View value = name.next();
    use(name.text(), value);
    name = value.next();
  }
}

std::uint64_t count(Reply::View value) { return value.type() == Reply::Type::integer && value.integer() > 0 ? static_cast<std::uint64_t>(value.integer()) : 0; }

struct StreamFacts {
  std::uint64_t length = 0;
  std::uint64_t added = 0;
  std::optional<MessageKey> first;
  MessageKey last;
};

StreamFacts stream_facts(Reply::View info) {
  StreamFacts facts;
  each_pair(info, [&](std::string_view name, Reply::View value) {
    if (name == "length") facts.length = count(value);
    else if (name == "entries-added") facts.added = count(value);
    else if (name == "last-generated-id") facts.last = parse_stream_id(value.text()).ok() ? *parse_stream_id(value.text()) : MessageKey{};
    else if (name == "first-entry" && value.is_array() && parse_stream_id(value.first().text()).ok()) facts.first = *parse_stream_id(value.first().text());
  });
  return facts;
}

GroupView group_view(Reply::View info, const StreamFacts& stream) {
  GroupView group;
  bool lag_known = false, read_known = false;
  std::uint64_t read = 0;
  MessageKey delivered;
  each_pair(info, [&](std::string_view name, Reply::View value) {
    if (name == "name") group.name = value.text();
    else if (name == "consumers") group.consumers = count(value);
    else if (name == "pending") group.pending = count(value);
    else if (name == "entries-read") {
      read = count(value);
      read_known = !value.is_nil();
    }
    else if (name == "last-delivered-id") {
      group.last_delivered = value.text();
      delivered = parse_stream_id(value.text()).ok() ? *parse_stream_id(value.text()) : MessageKey{};
    } else if (name == "lag" && !value.is_nil()) {
      group.lag = count(value);
      lag_known = true;
    }
  });
  // After an XDEL the server no longer knows what was read either: estimated from where its last id lies in time.
  if (!read_known && stream.first && *stream.first < delivered) {
    const double span = static_cast<double>(stream.last.high - stream.first->high);
    const double done = static_cast<double>(std::min(delivered.high, stream.last.high) - stream.first->high);
    const auto removed = static_cast<double>(stream.added - std::min(stream.added, stream.length));
    read = static_cast<std::uint64_t>(removed + (span > 0 ? static_cast<double>(stream.length) * done / span : static_cast<double>(stream.length)));
  }
  group.acknowledged = read - std::min(read, group.pending);
  if (lag_known) return group;
  // Redis does not know after an XDEL. Nothing delivered: all of it; all delivered: none; else by what was read of what was added.
  if (!stream.first || delivered < *stream.first) group.lag = stream.length;
  else if (!(delivered < stream.last)) group.lag = 0;
  else {
    group.lag = std::min(stream.length, stream.added - std::min(stream.added, read));
    group.lag_exact = false;
  }
  return group;
}

void put_stream(QueueView& view, Reply::View info, Reply::View groups, std::uint64_t now_ms) {
  const StreamFacts facts = stream_facts(info);
  view.entries = facts.length;
  view.groups.clear();
  std::uint64_t worst = 0;
  Reply::View group = groups.first();
  for (std::size_t i = 0; i < groups.size(); ++i, group = group.next()) {
    view.groups.push_back(group_view(group, facts));
    worst = std::max(worst, view.groups.back().pending + view.groups.back().lag);
    view.held += view.groups.back().pending;
  }
  view.backlog = groups.size() == 0 ? facts.length : std::min(worst, facts.length);
  if (facts.first && facts.length > 0 && now_ms >= facts.first->high) view.oldest_age = Millis(static_cast<std::int64_t>(now_ms - facts.first->high));
}

Result<std::uint64_t> server_time_ms(Connection& connection, Deadline deadline) {
  CLAW_TRY_ASSIGN(const Reply time, connection.call({"TIME"}, deadline));
  const auto part = [](Reply::View v) { return std::strtoull(std::string(v.text()).c_str(), nullptr, 10); };
  return part(time.root().first()) * 1000 + part(time.root().first().next()) / 1000;
}

bool is_missing(Reply::View reply) { return reply.is_error() && (reply.text().find("no such key") != std::string_view::npos || reply.text().starts_with("WRONGTYPE")); }

Status measure_consumers(Connection& connection, std::span<QueueView> views, Deadline deadline) {
  for (const QueueView& view : views)
    for (const GroupView& group : view.groups) connection.send({"XINFO", "CONSUMERS", view.id.name, group.name});
  for (QueueView& view : views) {
    view.consumers.clear();
    for (const GroupView& group : view.groups) {
      CLAW_TRY_ASSIGN(const Reply reply, connection.receive(deadline));
      if (!reply.root().is_array()) continue;  // the group went away meanwhile
      Reply::View one = reply.root().first();
      for (std::size_t i = 0; i < reply.root().size(); ++i, one = one.next()) {
        ConsumerView consumer{.group = group.name};
        each_pair(one, [&](std::string_view name, Reply::View value) {
          if (name == "name") consumer.name = value.text();
          else if (name == "pending") consumer.pending = count(value);
          else if (name == "idle") consumer.idle_ms = count(value);
        });
        view.consumers.push_back(std::move(consumer));
      }
    }
  }
  return {};
}

}  // namespace

Result<std::vector<QueueView>> discover_queues(Connection& connection, const BrokerName& broker, std::span<const Claim> claims, Deadline deadline) {
  std::map<std::string, QueueView> found;
  CLAW_TRY(scan_type(connection, broker, QueueType::stream, claims, found, deadline));
  CLAW_TRY(scan_type(connection, broker, QueueType::list, claims, found, deadline));
  // A list that is another's processing or dead list is part of that queue, not a queue of its own.
  for (const auto& [key, view] : std::map(found)) {
    if (view.processing != key) found.erase(view.processing);
    if (view.dead_letter != key) found.erase(view.dead_letter);
  }
  std::vector<QueueView> views;
  for (auto& [key, view] : found) views.push_back(std::move(view));
  CLAW_TRY(measure_queues(connection, views, deadline));
  return views;
}

Status measure_queues(Connection& connection, std::span<QueueView> views, Deadline deadline) {
  CLAW_TRY_ASSIGN(const std::uint64_t now_ms, server_time_ms(connection, deadline));
  constexpr std::size_t kPipeline = 2'000;  // queues whose commands are in flight together
  for (std::size_t first = 0; first < views.size(); first += kPipeline) {
    const auto part = views.subspan(first, std::min(kPipeline, views.size() - first));
    for (const QueueView& view : part) {
      if (view.type == QueueType::stream) {
        connection.send({"XINFO", "STREAM", view.id.name});
        connection.send({"XINFO", "GROUPS", view.id.name});
      } else {
        connection.send({"LLEN", view.id.name});
        connection.send({"LLEN", view.processing.empty() ? view.id.name : view.processing});
      }
    }
    for (QueueView& view : part) {
      CLAW_TRY_ASSIGN(const Reply one, connection.receive(deadline));
      CLAW_TRY_ASSIGN(const Reply two, connection.receive(deadline));
      view.entries = view.backlog = view.held = 0;
      view.node = connection.where();
      if (is_missing(one.root()) || is_missing(two.root())) continue;
      for (const Reply* reply : {&one, &two})
        if (reply->root().is_error()) return to_error(reply->root().text(), "measure " + escape(view.id.name, 120));
      if (view.type == QueueType::stream) {
        put_stream(view, one.root(), two.root(), now_ms);
      } else {
        view.entries = view.backlog = count(one.root());
        view.held = view.processing.empty() ? 0 : count(two.root());
      }
    }
    CLAW_TRY(measure_consumers(connection, part, deadline));
  }
  return {};
}

}  // namespace claw::redis
