#include "redis/adapter.h"

#include <fmt/format.h>

#include <algorithm>
#include <type_traits>

#include "base/text.h"
#include "redis/discovery.h"
#include "redis/operations.h"
#include "redis/servers.h"
#include "redis/url.h"

namespace claw::redis {
namespace {

class Redis final : public Broker {
 public:
  Redis(Options options, std::unique_ptr<Servers> servers) : name_(std::move(options.name)), servers_(std::move(servers)) {}

  Result<Pong> check(Deadline deadline) override {
    CLAW_TRY_ASSIGN(const std::vector<Connection*> masters, servers_->masters(deadline));
    Pong pong{.server = servers_->text()};
    for (Connection* master : masters) {
      const MonoTime start = servers_->clock().mono();
      CLAW_TRY(master->call({"PING"}, deadline));
      pong.round_trip = std::max(pong.round_trip, elapsed(start, servers_->clock().mono()));
      CLAW_TRY_ASSIGN(const Reply info, master->call({"INFO"}, deadline));
      warn(info.root().text(), masters.size() > 1 ? master->where() + ": " : "", pong.warnings);
    }
    return pong;
  }

  Result<std::vector<QueueView>> discover(std::span<const Claim> claims, Deadline deadline) override {
    return discover_queues(*servers_, name_, claims, deadline);
  }

  Result<std::vector<QueueView>> measure(std::span<const QueueView> queues, Deadline deadline) override {
    std::vector<QueueView> views(queues.begin(), queues.end());
    CLAW_TRY(measure_queues(*servers_, views, deadline));
    return views;
  }

  Result<std::unique_ptr<Window>> look(const QueueView& queue, Deadline deadline) override {
    if (queue.type == QueueType::list) return look_list(*servers_, queue);
    return at(queue.id.name, Repeat::reads, deadline, [&](Connection& c, int) { return look_stream(*servers_, c, queue, deadline); });
  }

  Result<std::vector<Message>> read(const PlannedQueue& queue, std::span<const PlannedMessage> messages, const ContentByKey& known, Deadline deadline) override {
    return at(queue.queue.name, Repeat::reads, deadline, [&](Connection& c, int) { return read_messages(c, queue, messages, known, deadline); });
  }

  Result<std::vector<Removal>> remove(const RemoveRequest& request, Deadline deadline) override {
    return at(request.queue.queue.name, Repeat::moves, deadline, [&](Connection& c, int tries) {
      RemoveRequest one = request;
      one.again |= tries > 0;
      return remove_messages(c, one, deadline);
    });
  }

  Result<std::vector<Quarantined>> quarantined(const QueueId& queue, const std::string& quarantine, const std::string& execution_id, Deadline deadline) override {
    return at(quarantine, Repeat::reads, deadline, [&](Connection& c, int) { return read_quarantine(c, queue, quarantine, execution_id, deadline); });
  }

  Result<std::vector<QuarantinedDigest>> quarantined_digests(const QueueId&, const std::string& quarantine, const std::string& execution_id, Deadline deadline) override {
    return at(quarantine, Repeat::reads, deadline, [&](Connection& c, int) { return read_quarantine_digests(c, quarantine, execution_id, deadline); });
  }

  Result<RestoreOutcome> restore(const RestoreRequest& request, Deadline deadline) override {
    return at(request.queue.name, Repeat::moves, deadline, [&](Connection& c, int) { return restore_messages(c, request, deadline); });
  }

  Status quarantine_again(const RestoreRequest& request, std::span<const std::size_t> numbers, Deadline deadline) override {
    return at(request.queue.name, Repeat::moves, deadline, [&](Connection& c, int tries) { return redis::quarantine_again(c, request, numbers, tries > 0, deadline); });
  }

  std::uint64_t out_of_reach(const PlannedQueue& queue, Millis block_budget) const override { return redis::out_of_reach(queue, block_budget); }

  std::string quarantine_name(const QueueId& queue) const override { return quarantine_key(queue.name); }

 private:
  static void warn(std::string_view info, const std::string& where, std::vector<std::string>& out) {
    if (info_value(info, "maxmemory_policy") != "noeviction" && info_value(info, "maxmemory") != "0")
      out.push_back(where + "maxmemory_policy is " + escape(info_value(info, "maxmemory_policy"), 40) + ": the server itself may drop queues; expected noeviction");
    if (info_value(info, "aof_enabled") == "0") out.push_back(where + "no append-only file: a restart of the server loses what it did since its last dump");
    if (info_value(info, "role") == "slave") out.push_back(where + "is a replica: nothing can be removed through it");
  }

  // Runs `use` on the connection that serves `key`, again where a repeat is harmless and may help.
  template <class F>
  auto at(std::string_view key, Repeat repeat, Deadline deadline, F&& use) -> std::invoke_result_t<F, Connection&, int> {
    Result<Connection*> connection = servers_->serving(key, deadline);
    if (!connection) return std::move(connection).error();  // its caller decides whether to try again
    for (int tries = 0;; ++tries) {
      auto answer = use(**connection, tries);
      if (answer.ok()) return answer;
      connection = servers_->recover(answer.error(), key, repeat, tries, deadline);
      if (!connection) return std::move(connection).error();
    }
  }

  BrokerName name_;
  std::unique_ptr<Servers> servers_;
};

}  // namespace

Result<std::unique_ptr<Broker>> open_redis(Options options, Clock& clock, Deadline deadline) {
  CLAW_TRY_ASSIGN(Entry entry, parse_url(options.url));
  for (Endpoint& seed : entry.seeds) {
    if (!options.user.empty()) seed.user = options.user;
    seed.password = options.password.clone();
    seed.sentinel_password = options.sentinel_password.clone();
    if (seed.tls) *seed.tls = {.ca_file = options.tls_ca, .cert_file = options.tls_cert, .key_file = options.tls_key, .server_name = options.tls_server_name};
  }
  CLAW_TRY_ASSIGN(auto servers, Servers::open(std::move(entry), clock, deadline));
  return std::unique_ptr<Broker>(std::make_unique<Redis>(std::move(options), std::move(servers)));
}

}  // namespace claw::redis
