#include "redis/adapter.h"

#include <fmt/format.h>

#include <charconv>

#include "base/text.h"
#include "redis/discovery.h"
#include "redis/operations.h"
#include "redis/url.h"

namespace claw::redis {
namespace {

// The value of "name:value\r\n" in the text of INFO or CONFIG.
std::string info_value(std::string_view info, std::string_view name) {
  const std::string key = "\n" + std::string(name) + ":";
  const std::size_t at = info.find(key);
  if (at == std::string_view::npos) return {};
  const std::size_t from = at + key.size();
  return std::string(info.substr(from, info.find('\r', from) - from));
}

class Redis final : public Broker {
 public:
  Redis(Options options, Endpoint endpoint, Clock& clock) : options_(std::move(options)), endpoint_(std::move(endpoint)), clock_(clock) {}

  Status connect(Deadline deadline) {
    CLAW_TRY_ASSIGN(connection_, Connection::open(endpoint_, clock_, deadline));
    CLAW_TRY_ASSIGN(const Reply info, connection_->call({"INFO", "server"}, deadline));
    version_ = info_value(info.root().text(), "redis_version");
    int major = 0, minor = 0;
    const auto [dot, problem] = std::from_chars(version_.data(), version_.data() + version_.size(), major);
    if (problem == std::errc() && dot != version_.data() + version_.size()) std::from_chars(dot + 1, version_.data() + version_.size(), minor);
    if (major < 6 || (major == 6 && minor < 2))
      return make_error(Code::unsupported, "redis at " + endpoint_.text(), "version " + escape(version_, 40) + ", expected 6.2 or newer");
    if (info_value(info.root().text(), "redis_mode") == "cluster")
      return make_error(Code::unsupported, "redis at " + endpoint_.text(), "is a cluster node; this version speaks to single servers only");
    return {};
  }

  Result<Pong> check(Deadline deadline) override {
    CLAW_TRY(alive(deadline));
    const MonoTime start = clock_.mono();
    CLAW_TRY(connection_->call({"PING"}, deadline));
    Pong pong{.server = "redis " + version_ + " at " + endpoint_.text(), .round_trip = elapsed(start, clock_.mono()), .warnings = {}};
    CLAW_TRY_ASSIGN(const Reply info, connection_->call({"INFO"}, deadline));
    const std::string_view text = info.root().text();
    if (info_value(text, "maxmemory_policy") != "noeviction" && info_value(text, "maxmemory") != "0")
      pong.warnings.push_back("maxmemory_policy is " + escape(info_value(text, "maxmemory_policy"), 40) + ": the server itself may drop queues; expected noeviction");
    if (info_value(text, "aof_enabled") == "0") pong.warnings.push_back("no append-only file: a restart of the server loses what it did since its last dump");
    if (info_value(text, "role") == "slave") pong.warnings.push_back("is a replica: nothing can be removed through it");
    return pong;
  }

  Result<std::vector<QueueView>> discover(std::span<const Claim> claims, Deadline deadline) override {
    CLAW_TRY(alive(deadline));
    return discover_queues(*connection_, options_.name, claims, deadline);
  }

  Result<std::vector<QueueView>> measure(std::span<const QueueView> queues, Deadline deadline) override {
    CLAW_TRY(alive(deadline));
    std::vector<QueueView> views(queues.begin(), queues.end());
    CLAW_TRY(measure_queues(*connection_, views, deadline));
    return views;
  }

  Result<std::unique_ptr<Window>> look(const QueueView& queue, Deadline deadline) override {
    CLAW_TRY(alive(deadline));
    return queue.type == QueueType::stream ? look_stream(*connection_, queue, deadline) : look_list(*connection_, queue, deadline);
  }

  Result<std::vector<Message>> read(const PlannedQueue& queue, std::span<const PlannedMessage> messages, const ContentByKey& known, Deadline deadline) override {
    CLAW_TRY(alive(deadline));
    return read_messages(*connection_, queue, messages, known, deadline);
  }

  Result<std::vector<Removal>> remove(const RemoveRequest& request, Deadline deadline) override {
    CLAW_TRY(alive(deadline));
    return remove_messages(*connection_, request, deadline);
  }

  Result<std::vector<Quarantined>> quarantined(const QueueId& queue, const std::string& quarantine, const std::string& execution_id, Deadline deadline) override {
    CLAW_TRY(alive(deadline));
    return read_quarantine(*connection_, queue, quarantine, execution_id, deadline);
  }

  Result<RestoreOutcome> restore(const RestoreRequest& request, Deadline deadline) override {
    CLAW_TRY(alive(deadline));
    return restore_messages(*connection_, request, deadline);
  }

  Status quarantine_again(const RestoreRequest& request, std::span<const std::size_t> numbers, Deadline deadline) override {
    CLAW_TRY(alive(deadline));
    return redis::quarantine_again(*connection_, request, numbers, deadline);
  }

  std::uint64_t out_of_reach(const PlannedQueue& queue, Millis block_budget) const override { return redis::out_of_reach(queue, block_budget); }

  std::string quarantine_name(const QueueId& queue) const override { return quarantine_key(queue.name); }

 private:
  // Before a call nothing of it was sent yet, so a fresh connection is harmless.
  Status alive(Deadline deadline) { return connection_->broken() ? connect(deadline) : Status{}; }

  Options options_;
  Endpoint endpoint_;
  Clock& clock_;
  std::unique_ptr<Connection> connection_;
  std::string version_;
};

}  // namespace

Result<std::unique_ptr<Broker>> open_redis(Options options, Clock& clock, Deadline deadline) {
  CLAW_TRY_ASSIGN(Endpoint endpoint, parse_url(options.url));
  if (!options.user.empty()) endpoint.user = options.user;
  endpoint.password = options.password.clone();
  if (endpoint.tls) *endpoint.tls = {.ca_file = options.tls_ca, .cert_file = options.tls_cert, .key_file = options.tls_key, .server_name = options.tls_server_name};
  auto redis = std::make_unique<Redis>(std::move(options), std::move(endpoint), clock);
  CLAW_TRY(redis->connect(deadline));
  return std::unique_ptr<Broker>(std::move(redis));
}

}  // namespace claw::redis
