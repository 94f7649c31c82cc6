// What the RabbitMQ live tests share: one server a program, messages whose number and kind stand in their body, an oracle that takes
// everything out, and a look and a removal as the agent makes them.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rabbitmq/adapter.h"
#include "rabbitmq/connection.h"
#include "rabbitmq/message.h"
#include "rabbitmq/properties.h"
#include "testing/rabbit_server.h"

namespace claw::live {

using rabbitmq::Connection;
using rabbitmq::Properties;
using rabbitmq::Property;

inline testing::RabbitServer& server() {
  static testing::RabbitServer one("rabbitmq_shovel,rabbitmq_shovel_management");
  return one;
}

// Where client() and adapter() go, when not to server().
struct Place {
  std::string url, management_url;
};
inline std::optional<Place>& elsewhere() {
  static std::optional<Place> one;
  return one;
}
inline Place place() { return elsewhere() ? *elsewhere() : Place{server().url(), server().management_url()}; }

inline Deadline soon() { return Deadline::in(system_clock(), Millis(30'000)); }

inline std::unique_ptr<Connection> client() {
  Result<rabbitmq::Endpoint> endpoint = rabbitmq::parse_url(place().url);
  EXPECT_TRUE(endpoint.ok());
  Result<std::unique_ptr<Connection>> connection = Connection::open(*endpoint, "test", system_clock(), soon());
  EXPECT_TRUE(connection.ok()) << connection.error().message();
  return std::move(*connection);
}

inline std::unique_ptr<Broker> adapter(std::function<void(std::string_view)> after = {}, std::uint16_t prefetch = 65'535) {
  Result<std::unique_ptr<Broker>> broker =
      rabbitmq::open_rabbitmq({.name = "rabbit", .url = place().url, .management_url = place().management_url, .prefetch = prefetch, .after = std::move(after)}, system_clock(), soon());
  EXPECT_TRUE(broker.ok()) << broker.error().message();
  return std::move(*broker);
}

inline std::string body(int i, bool poison) { return (poison ? R"({"v":1,"transaction_id": broken_)" : R"({"v":1,"transaction_id":"ok_)") + std::to_string(i) + "\"}"; }
inline bool is_poison(std::string_view text) { return text.find("broken_") != std::string_view::npos; }
inline int number_of(std::string_view text) { return std::stoi(std::string(text.substr(is_poison(text) ? text.find("broken_") + 7 : text.find("ok_") + 3))); }

inline std::string properties(int i, int priorities, const std::string& headers = "") {
  Properties out;
  const std::string id = rabbitmq::wire_short("m-" + std::to_string(i)), priority(1, static_cast<char>(priorities > 0 ? i % priorities : 0)), table = rabbitmq::wire_table(headers);
  out.set(Property::delivery_mode, "\x02");
  out.set(Property::message_id, id);
  if (!headers.empty()) out.set(Property::headers, table);
  if (priorities > 0) out.set(Property::priority, priority);
  return out.encode();
}

inline void publish(const std::string& queue, int first, int count, int poison_every, int priorities = 0) {
  const auto connection = client();
  for (int i = first; i < first + count; ++i)
    ASSERT_TRUE(connection->publish(queue, properties(i, priorities), body(i, poison_every > 0 && i % poison_every == 7), soon()).ok());
  ASSERT_TRUE(connection->confirmed(soon()).ok());
}

struct Got {
  int number = 0;
  bool poison = false, redelivered = false;
  std::uint32_t delivery_count = 0;
};

// Takes everything out: the oracle.
inline std::vector<Got> drain(const std::string& queue) {
  const auto connection = client();
  std::vector<Got> out;
  std::vector<std::uint64_t> tags;
  const Result<rabbitmq::Depth> depth = connection->depth(queue, soon());
  if (!depth || depth->ready == 0) return out;
  EXPECT_TRUE(connection->consume(queue, 65'535, std::nullopt, soon()).ok());
  for (std::uint64_t i = 0; i < depth->ready; ++i) {
    const auto event = connection->next(soon(), soon());
    if (!event || event->kind != rabbitmq::Event::Kind::delivery) break;
    const auto seen = rabbitmq::see(event->delivery, queue);
    EXPECT_TRUE(seen.ok());
    out.push_back({number_of(event->delivery.body), is_poison(event->delivery.body), event->delivery.redelivered, seen->delivery_count});
    tags.push_back(event->delivery.tag);
  }
  EXPECT_TRUE(connection->stop().ok());
  while (connection->next(soon(), soon())->kind == rabbitmq::Event::Kind::delivery) {
  }
  EXPECT_TRUE(connection->acknowledge(tags, soon()).ok());
  return out;
}

inline std::uint64_t ready(const std::string& queue) {
  const Result<rabbitmq::Depth> depth = client()->depth(queue, soon());
  return depth ? depth->ready : 0;
}

inline Result<QueueView> try_view(Broker& broker, const std::string& queue) {
  const Claim claim{"t", {.broker = "rabbit", .match = queue}};
  CLAW_TRY_ASSIGN(const std::vector<QueueView> views, broker.discover(std::span(&claim, 1), soon()));
  if (views.size() != 1) return make_error(Code::not_found, "test", "no queue " + queue);
  return views.front();
}
inline QueueView view(Broker& broker, const std::string& queue) {
  const Result<QueueView> out = try_view(broker, queue);
  EXPECT_TRUE(out.ok()) << out.error().message();
  return out ? *out : QueueView{};
}

struct Looked {
  std::vector<int> order;
  PlannedQueue plan;
  ContentByKey content;
  std::vector<Evidence> evidence;
  std::vector<Evidence> dead;
  std::string remark;
};

inline Result<Looked> look(Broker& broker, const std::string& queue) {
  CLAW_TRY_ASSIGN(const QueueView seen, try_view(broker, queue));
  CLAW_TRY_ASSIGN(const auto window, broker.look(seen, soon()));
  Looked out;
  out.plan = {.queue = seen.id, .type = seen.type, .entries = seen.entries, .quarantine = broker.quarantine_name(seen.id), .messages = {}};
  for (Batch page;;) {
    CLAW_TRY_ASSIGN(const bool more, window->next(page, soon()));
    if (!more) break;
    for (const Batch::Entry& entry : page.entries()) {
      const auto fields = page.fields(entry);
      if (entry.evidence.dead_lettered) {
        out.dead.push_back(entry.evidence);
        continue;
      }
      out.order.push_back(number_of(fields[0].value));
      out.evidence.push_back(entry.evidence);
      if (!is_poison(fields[0].value)) continue;
      out.plan.messages.push_back({.id = "m" + std::to_string(entry.key.high), .key = entry.key});
      SeenContent& content = out.content[entry.key];
      for (const Field& f : fields) content.fields.push_back({std::string(f.name), std::string(f.value)});
    }
  }
  out.remark = window->remark();
  return out;
}

// Snapshot, removal in three waves, and what the quarantine holds afterwards.
struct Removed {
  std::vector<Message> snapshot;
  std::uint64_t removed = 0, gone = 0, not_found = 0;
  std::vector<Quarantined> quarantined;
};

inline Result<Removed> remove(Broker& broker, const Looked& looked, const std::string& execution, bool from_look = true, bool again = false) {
  Removed out;
  const ContentByKey nothing;
  CLAW_TRY_ASSIGN(out.snapshot, broker.read(looked.plan, looked.plan.messages, from_look ? looked.content : nothing, soon()));
  const std::size_t all = out.snapshot.size(), ends[] = {std::min<std::size_t>(1, all), all / 10, all};
  for (std::size_t first = 0, w = 0; w < 3; ++w) {
    if (ends[w] <= first) continue;
    const RemoveRequest request{.queue = looked.plan, .messages = std::span(out.snapshot).subspan(first, ends[w] - first), .execution_id = execution, .first_number = first, .again = again};
    CLAW_TRY_ASSIGN(const auto removals, broker.remove(request, soon()));
    EXPECT_EQ(removals.size(), ends[w] - first);
    for (const Removal& r : removals) ++(r.fate == Fate::removed ? out.removed : r.fate == Fate::gone ? out.gone : out.not_found);
    first = ends[w];
  }
  CLAW_TRY_ASSIGN(out.quarantined, broker.quarantined(looked.plan.queue, looked.plan.quarantine, execution, soon()));
  return out;
}

inline std::vector<int> numbers(const std::vector<Got>& got) {
  std::vector<int> out;
  for (const Got& g : got) out.push_back(g.number);
  return out;
}

inline std::vector<int> range(int first, int count, int poison_every, bool poison) {
  std::vector<int> out;
  for (int i = first; i < first + count; ++i)
    if (poison_every == 0 || (i % poison_every == 7) == poison) out.push_back(i);
  return out;
}

// After a connection was cut off the broker needs a moment to return what it held.
inline void await_ready(const std::string& queue, std::uint64_t least) {
  for (int i = 0; i < 400 && ready(queue) < least; ++i) ::usleep(25'000);
}

// Until the management API knows how long the queue is.
inline void await_told(const std::string& queue, int count) {
  for (int i = 0; i < 200 && server().api("GET", "/queues/%2F/" + queue + "?columns=messages_ready").find(fmt::format(":{}}}", count)) == std::string::npos; ++i) ::usleep(50'000);
}

// What an earlier try left unfinished is finished by the next one: everything is in one place, in order.
inline void expect_finished(const std::string& queue, const Looked& seen, const std::string& execution, int messages, int poison_every) {
  const auto broker = adapter();
  const auto removed = remove(*broker, seen, execution);
  ASSERT_TRUE(removed.ok()) << removed.error().message();
  EXPECT_EQ(removed->removed, seen.plan.messages.size());
  EXPECT_EQ(removed->quarantined.size(), seen.plan.messages.size());
  EXPECT_EQ(numbers(drain(queue)), range(0, messages, poison_every, false));
}

// Removes the one of so many messages that is marked as poison, and puts it back, or into `target`.
inline void remove_and_restore(const std::string& queue, std::uint64_t messages, const std::function<void()>& meanwhile = [] {}, const std::string& target = "") {
  const auto broker = adapter();
  const auto seen = look(*broker, queue);
  ASSERT_TRUE(seen.ok()) << seen.error().message();
  ASSERT_EQ(seen->order.size(), messages);
  const auto removed = remove(*broker, *seen, "exec-" + queue);
  ASSERT_TRUE(removed.ok()) << removed.error().message();
  ASSERT_EQ(removed->removed, 1u);
  EXPECT_EQ(ready(queue), messages - 1);
  meanwhile();
  const QueueId back_to{seen->plan.queue.broker, target.empty() ? queue : target};
  const auto restored = broker->restore({.queue = back_to, .type = seen->plan.type, .execution_id = "exec-" + queue, .quarantine = seen->plan.quarantine, .messages = removed->snapshot}, soon());
  ASSERT_TRUE(restored.ok()) << restored.error().message();
  ASSERT_EQ(restored->restored, 1u);
}

}  // namespace claw::live
