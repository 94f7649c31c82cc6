#include "rabbitmq/adapter.h"

#include <fmt/format.h>

#include "base/text.h"
#include "rabbitmq/gather.h"
#include "rabbitmq/operations.h"

namespace claw::rabbitmq {
namespace {

class RabbitMq final : public Broker {
 public:
  RabbitMq(Options& options, Endpoint endpoint, std::unique_ptr<Management> management, Clock& clock)
      : session_(std::move(options.name), std::move(endpoint), std::move(management), clock, options.prefetch, std::move(options.after)) {}

  const BrokerName& name() const { return session_.name; }
  void remember(HoldCounts counts) { session_.holds = std::move(counts); }

  Status connect(Deadline deadline) {
    CLAW_TRY(session_.control(deadline));
    if (session_.management == nullptr) return {};
    const Result<BrokerFacts> facts = session_.broker(deadline);
    if (facts && (facts->major < 3 || (facts->major == 3 && facts->minor < 8)))
      return make_error(Code::unsupported, "rabbitmq at " + session_.endpoint.text(), "version " + escape(facts->version, 40) + ", expected 3.8 or newer");
    return {};
  }

  Result<Pong> check(Deadline deadline) override {
    let_go_all(session_);
    CLAW_TRY_ASSIGN(Connection * control, session_.control(deadline));
    const MonoTime start = session_.clock.mono();
    CLAW_TRY(control->ping(deadline));
    Pong pong{.server = "rabbitmq at " + session_.endpoint.text(), .round_trip = elapsed(start, session_.clock.mono()), .warnings = {}};
    const Result<BrokerFacts> facts = session_.broker(deadline);
    if (!facts) {
      pong.warnings.push_back("the management API does not answer (" + facts.error().message() + "): queues are not listed and none is looked at");
      return pong;
    }
    pong.server = "rabbitmq " + escape(facts->version, 40) + " at " + session_.endpoint.text();
    for (const std::string& alarm : facts->alarms) pong.warnings.push_back(alarm + ": publishers are blocked, nothing can be set aside");
    pong.warnings.insert(pong.warnings.end(), facts->warnings.begin(), facts->warnings.end());
    return pong;
  }

  Result<std::vector<QueueView>> discover(std::span<const Claim> claims, Deadline deadline) override {
    let_go_all(session_);
    return discover_queues(session_, claims, deadline);
  }

  Result<std::vector<QueueView>> measure(std::span<const QueueView> queues, Deadline deadline) override {
    let_go_all(session_);
    std::vector<QueueView> views(queues.begin(), queues.end());
    CLAW_TRY(measure_queues(session_, views, deadline));
    return views;
  }

  Result<std::unique_ptr<Window>> look(const QueueView& queue, Deadline deadline) override {
    let_go_all(session_);
    return look_at(session_, queue, deadline);
  }

  Result<std::vector<Message>> read(const PlannedQueue& queue, std::span<const PlannedMessage> messages, const ContentByKey& known, Deadline deadline) override {
    return read_messages(session_, queue, messages, known, deadline);
  }

  Result<std::vector<Removal>> remove(const RemoveRequest& request, Deadline deadline) override { return remove_messages(session_, request, deadline); }

  Result<std::vector<Quarantined>> quarantined(const QueueId&, const std::string& quarantine, const std::string& execution_id, Deadline deadline) override {
    let_go_all(session_);
    return read_quarantine(session_, quarantine, execution_id, deadline);
  }

  Result<RestoreOutcome> restore(const RestoreRequest& request, Deadline deadline) override {
    let_go_all(session_);
    return restore_messages(session_, request, deadline);
  }

  std::string quarantine_name(const QueueId& queue) const override { return quarantine_of(queue.name); }

 private:
  Session session_;
};

}  // namespace

Result<std::unique_ptr<Broker>> open_rabbitmq(Options options, Clock& clock, Deadline deadline) {
  CLAW_TRY_ASSIGN(Endpoint endpoint, parse_url(options.url));
  if (!options.user.empty()) endpoint.user = options.user;
  endpoint.password = options.password.clone();
  if (!options.tls_server_name.empty())
    return make_error(Code::unsupported, "broker " + options.name, "tls.server_name: the certificate of a RabbitMQ server is checked against the host of its url; expected no server_name");
  if (endpoint.tls) *endpoint.tls = {.ca_file = options.tls_ca, .cert_file = options.tls_cert, .key_file = options.tls_key};
  std::unique_ptr<Management> management;
  if (!options.management_url.empty()) {
    CLAW_TRY_ASSIGN(management, Management::open(options.management_url, endpoint, clock));
  }
  auto rabbit = std::make_unique<RabbitMq>(options, std::move(endpoint), std::move(management), clock);
  if (options.disk != nullptr && !options.state_dir.empty()) {
    CLAW_TRY_ASSIGN(HoldCounts counts, HoldCounts::open(*options.disk, options.state_dir + "/rabbitmq-holds-" + rabbit->name() + ".json"));
    rabbit->remember(std::move(counts));
  }
  CLAW_TRY(rabbit->connect(deadline));
  return std::unique_ptr<Broker>(std::move(rabbit));
}

}  // namespace claw::rabbitmq
