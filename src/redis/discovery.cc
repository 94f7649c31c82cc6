#include "redis/discovery.h"

#include <algorithm>
#include <map>
#include <optional>

#include "base/text.h"
#include "broker/claims.h"
#include "redis/operations.h"

namespace claw::redis {
namespace {

std::string for_queue(std::string pattern, std::string_view queue) {
  constexpr std::string_view kMark = "{queue}";
  if (const std::size_t at = pattern.find(kMark); at != std::string::npos) pattern.replace(at, kMark.size(), queue);
  return pattern;
}

// The view of one key, when exactly one tenant claims it; nullopt when none does.
Result<std::optional<QueueView>> view_of(const BrokerName& broker, const Claims& claims, std::string_view key, QueueType type) {
  if (is_quarantine_key(key)) return std::optional<QueueView>();
  CLAW_TRY_ASSIGN(const std::optional<Owner> owner, claims.owner_of(key));
  if (!owner) return std::optional<QueueView>();
  QueueView view{.id = {broker, std::string(key)}, .tenant = owner->tenant, .type = type};
  if (type == QueueType::list) {
    view.processing = for_queue(owner->claim->match.processing, key);
    view.dead_letter = for_queue(owner->claim->match.dead, key);
    view.takes_from = owner->claim->match.takes_from;
  }
  return std::optional(std::move(view));
}

struct Cursor {
  QueueType type;
  std::string at = "0";
  bool done = false;
};

// Both types side by side: one round trip brings a page of each.
Status scan_keys(Connection& connection, const BrokerName& broker, const Claims& claims, std::map<std::string, QueueView>& found, Deadline deadline) {
  Cursor cursors[] = {{.type = QueueType::stream}, {.type = QueueType::list}};
  for (bool more = true; more;) {
    for (const Cursor& cursor : cursors)
      if (!cursor.done) connection.send({"SCAN", cursor.at, "COUNT", "1000", "TYPE", name(cursor.type)});
    more = false;
    for (Cursor& cursor : cursors) {
      if (cursor.done) continue;
      CLAW_TRY_ASSIGN(const Reply reply, connection.receive(deadline));
      if (reply.root().is_error()) return to_error(reply.root().text(), "SCAN");
      cursor.at = reply.root().first().text();
      cursor.done = cursor.at == "0";
      more |= !cursor.done;
      const Reply::View keys = reply.root().first().next();
      Reply::View key = keys.first();
      for (std::size_t i = 0; i < keys.size(); ++i, key = key.next()) {
        CLAW_TRY_ASSIGN(std::optional<QueueView> view, view_of(broker, claims, key.text(), cursor.type));
        if (view) found.emplace(key.text(), std::move(*view));  // SCAN may name a key twice
      }
    }
    if (deadline.expired(connection.clock())) return make_error(Code::timed_out, "SCAN", "the keyspace was not walked before the deadline");
  }
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
  const bool never_read = !read_known && group.consumers == 0 && group.pending == 0;  // made at the stream's end, or moved there
  if (!read_known && !never_read && stream.first && *stream.first < delivered) {
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

Status measure_consumers(Connection& connection, std::span<QueueView* const> views, Deadline deadline) {
  for (const QueueView* view : views)
    for (const GroupView& group : view->groups) connection.send({"XINFO", "CONSUMERS", view->id.name, group.name});
  for (QueueView* view : views) {
    view->consumers.clear();
    for (const GroupView& group : view->groups) {
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
        view->consumers.push_back(std::move(consumer));
      }
    }
  }
  return {};
}

// Queues of one server, all commands in flight together.
Status measure_batch(Connection& connection, std::span<QueueView* const> views, std::uint64_t now_ms, Deadline deadline) {
  for (const QueueView* view : views) {
    if (view->type == QueueType::stream) {
      connection.send({"XINFO", "STREAM", view->id.name});
      connection.send({"XINFO", "GROUPS", view->id.name});
    } else {
      connection.send({"LLEN", view->id.name});
    }
  }
  for (QueueView* view : views) {
    CLAW_TRY_ASSIGN(const Reply one, connection.receive(deadline));
    view->entries = view->backlog = view->held = 0;
    view->node = connection.where();
    if (view->type == QueueType::list) {
      if (is_missing(one.root())) continue;
      if (one.root().is_error()) return to_error(one.root().text(), "measure " + escape(view->id.name, 120));
      view->entries = view->backlog = count(one.root());
      continue;
    }
    CLAW_TRY_ASSIGN(const Reply two, connection.receive(deadline));
    if (is_missing(one.root()) || is_missing(two.root())) continue;
    for (const Reply* reply : {&one, &two})
      if (reply->root().is_error()) return to_error(reply->root().text(), "measure " + escape(view->id.name, 120));
    put_stream(*view, one.root(), two.root(), now_ms);
  }
  return measure_consumers(connection, views, deadline);
}

// Processing lists, which may live on another server than their queue.
Status measure_held(Connection& connection, std::span<QueueView* const> views, Deadline deadline) {
  for (const QueueView* view : views) connection.send({"LLEN", view->processing});
  for (QueueView* view : views) {
    CLAW_TRY_ASSIGN(const Reply reply, connection.receive(deadline));
    if (is_missing(reply.root())) continue;
    if (reply.root().is_error()) return to_error(reply.root().text(), "measure " + escape(view->processing, 120));
    view->held = count(reply.root());
  }
  return {};
}

// Runs `use` once a server and batch, over the views whose key lives there. Read-only, so a batch is read again where a
// server moved or was lost meanwhile.
template <class KeyOf, class Use>
Status by_server(Servers& servers, std::vector<QueueView*> views, Deadline deadline, KeyOf&& key_of, Use&& use) {
  constexpr std::size_t kPipeline = 2'000;  // queues whose commands are in flight together
  for (int tries = 0; !views.empty();) {
    std::map<Connection*, std::vector<QueueView*>> batches;
    std::vector<QueueView*> later;
    for (QueueView* view : views) {
      CLAW_TRY_ASSIGN(Connection* home, servers.serving(key_of(*view), deadline));
      std::vector<QueueView*>& batch = batches[home];
      (batch.size() < kPipeline ? batch : later).push_back(view);
    }
    for (auto& [connection, batch] : batches) {
      Status done = use(*connection, std::span<QueueView* const>(batch));
      if (done.ok()) continue;
      CLAW_TRY(servers.recover(done.error(), key_of(*batch.front()), Repeat::reads, tries++, deadline));
      later = std::move(views);  // all anew: cheaper than to tell which were answered
      break;
    }
    views = std::move(later);
  }
  return {};
}

}  // namespace

Result<std::vector<QueueView>> discover_queues(Servers& servers, const BrokerName& broker, std::span<const Claim> claims, Deadline deadline) {
  const Claims index(broker, claims);
  std::map<std::string, QueueView> found;
  CLAW_TRY_ASSIGN(const std::vector<Connection*> masters, servers.masters(deadline));
  for (Connection* master : masters) CLAW_TRY(scan_keys(*master, broker, index, found, deadline));
  // A list that is another's processing or dead list is part of that queue, not a queue of its own.
  std::vector<std::string> parts;
  for (const auto& [key, view] : found)
    for (const std::string* part : {&view.processing, &view.dead_letter})
      if (!part->empty() && *part != key) parts.push_back(*part);
  for (const std::string& part : parts) found.erase(part);
  std::vector<QueueView> views;
  views.reserve(found.size());
  for (auto& [key, view] : found) views.push_back(std::move(view));
  CLAW_TRY(measure_queues(servers, views, deadline));
  return views;
}

Status measure_queues(Servers& servers, std::span<QueueView> views, Deadline deadline) {
  CLAW_TRY_ASSIGN(const std::vector<Connection*> masters, servers.masters(deadline));
  CLAW_TRY_ASSIGN(const std::uint64_t now_ms, server_time_ms(*masters.front(), deadline));
  std::vector<QueueView*> all, with_processing;
  for (QueueView& view : views) {
    all.push_back(&view);
    if (view.type == QueueType::list && !view.processing.empty()) with_processing.push_back(&view);
  }
  CLAW_TRY(by_server(servers, std::move(all), deadline, [](const QueueView& v) -> const std::string& { return v.id.name; },
                     [&](Connection& connection, std::span<QueueView* const> batch) { return measure_batch(connection, batch, now_ms, deadline); }));
  return by_server(servers, std::move(with_processing), deadline, [](const QueueView& v) -> const std::string& { return v.processing; },
                   [&](Connection& connection, std::span<QueueView* const> batch) { return measure_held(connection, batch, deadline); });
}

}  // namespace claw::redis
