#include "sqs/adapter.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "sqs/credentials.h"
#include "sqs/operations.h"
#include "sqs/queue.h"

namespace claw::sqs {
namespace {

using nlohmann::json;

// Asks for one queue: true when we may list, false when we are known but may not.
Result<bool> reached(Client& client, Deadline deadline) {
  const Result<json> answer = client.call("ListQueues", {{"MaxResults", 1}}, deadline);
  if (!answer && answer.error().detail.starts_with("AccessDenied")) return false;
  CLAW_TRY(answer);
  return true;
}

class Sqs final : public Broker {
 public:
  explicit Sqs(std::shared_ptr<State> state) : state_(std::move(state)) {}

  Result<Pong> check(Deadline deadline) override {
    Client& client = state_->client;
    const MonoTime start = client.clock().mono();
    CLAW_TRY_ASSIGN(const bool may_list, reached(client, deadline));
    const Endpoint& endpoint = client.endpoint();
    Pong pong{.server = "sqs " + endpoint.region + " at " + escape(endpoint.host, 90), .round_trip = elapsed(start, client.clock().mono()), .warnings = {}};
    if (!may_list) pong.warnings.push_back("sqs:ListQueues is denied: only queues claimed by their plain names are found");
    const bool near = endpoint.host.starts_with("127.0.0.1") || endpoint.host.starts_with("localhost") || endpoint.host.starts_with("[::1]");
    if (endpoint.url.starts_with("http://") && !near) pong.warnings.push_back("plain http: messages go over the network unencrypted; expected https");
    if (client.skew() != Millis(0)) pong.warnings.push_back(fmt::format("our clock is off by {}; signatures are corrected for it, times in the audit log are not", human(client.skew() < Millis(0) ? -client.skew() : client.skew())));
    if (state_->ages)
      if (const Status may = state_->ages->check(deadline); !may) pong.warnings.push_back("CloudWatch does not answer, the age of the oldest message is unknown: " + may.error().detail);
    if (client.throttled() > 0) pong.warnings.push_back(fmt::format("answered \"slow down\" {} times since we connected", client.throttled()));
    return pong;
  }

  Result<std::vector<QueueView>> discover(std::span<const Claim> claims, Deadline deadline) override { return discover_queues(*state_, claims, deadline); }
  Result<std::vector<QueueView>> measure(std::span<const QueueView> queues, Deadline deadline) override { return measure_queues(*state_, queues, deadline); }
  Result<std::unique_ptr<Window>> look(const QueueView& queue, Deadline deadline) override { return look_at(state_, queue, deadline); }
  Result<std::vector<Message>> read(const PlannedQueue& queue, std::span<const PlannedMessage> messages, const ContentByKey& known, Deadline deadline) override {
    return read_messages(*state_, queue, messages, known, deadline);
  }
  Result<std::vector<Removal>> remove(const RemoveRequest& request, Deadline deadline) override { return remove_messages(*state_, request, deadline); }
  Result<std::vector<Quarantined>> quarantined(const QueueId&, const std::string& quarantine, const std::string& execution_id, Deadline deadline) override {
    return read_quarantine(*state_, quarantine, execution_id, deadline);
  }
  Result<RestoreOutcome> restore(const RestoreRequest& request, Deadline deadline) override { return restore_messages(*state_, request, deadline); }
  std::string quarantine_name(const QueueId& queue) const override { return quarantine_of(queue.name); }

 private:
  std::shared_ptr<State> state_;  // shared with open windows
};

}  // namespace

State::~State() {
  for (auto& [queue, holds] : kept) holds->release_all(client, Deadline::in(client.clock(), Millis(10'000)));
}

Result<std::unique_ptr<Broker>> open_sqs(Options options, Disk& disk, Clock& clock, Random& random, Deadline deadline) {
  CLAW_TRY_ASSIGN(const Endpoint endpoint, endpoint_of(kSqs, options.region, options.endpoint_url, options.environment));
  const std::string tls_ca = options.tls_ca.empty() ? options.environment("AWS_CA_BUNDLE") : options.tls_ca;
  CLAW_TRY_ASSIGN(auto http, Http::open(tls_ca));
  CLAW_TRY_ASSIGN(Looks looks, Looks::open(disk, options.state_dir.empty() ? "" : options.state_dir + "/sqs-looks-" + options.name + ".json"));
  CredentialSource credentials = credential_chain({.environment = options.environment, .disk = disk, .clock = clock, .region = options.region});
  CLAW_TRY(credentials(false));
  std::optional<Ages> ages;
  if (options.cloudwatch) {
    CLAW_TRY_ASSIGN(const Endpoint metrics, endpoint_of(kCloudWatch, options.region, *options.cloudwatch, options.environment));
    CLAW_TRY_ASSIGN(auto connections, Http::open(tls_ca));
    ages.emplace(Client(metrics, credentials, std::move(connections), clock, random));
  }
  auto state = std::shared_ptr<State>(new State{.options = std::move(options), .client = Client(endpoint, std::move(credentials), std::move(http), clock, random), .looks = std::move(looks), .ages = std::move(ages), .kept = {}, .moved = {}});
  CLAW_TRY(reached(state->client, deadline));
  return std::unique_ptr<Broker>(std::make_unique<Sqs>(std::move(state)));
}

}  // namespace claw::sqs
