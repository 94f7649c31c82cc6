// deployclaw.yaml, exactly as the contract has it: strict, typed by the schema, every error with file and line.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/disk.h"
#include "base/result.h"
#include "base/secret.h"
#include "model/queue.h"

namespace claw {

// Where a secret is; never the secret.
struct SecretRef {
  enum class Kind { none, env, file, credential };
  Kind kind = Kind::none;
  std::string name;
};

// Reads the secret now. A file must be readable by its owner alone; one trailing line end is dropped.
Result<Secret> resolve(const SecretRef& ref, Disk& disk);

struct BrokerConfig {
  enum class Kind { redis, rabbitmq, sqs };
  BrokerName name;
  Kind kind = Kind::redis;
  std::string url;
  std::string management_url;  // rabbitmq
  std::string user;
  std::string region;          // sqs
  std::string endpoint_url;    // sqs
  std::optional<std::string> cloudwatch;  // sqs: ask it for ages, at this URL; empty text: the region's own
  std::string look = "hold-all";  // sqs: hold-all, sample or stream
  SecretRef password;
  SecretRef sentinel_password;  // redis
  std::string tls_ca;
  std::string tls_cert;
  std::string tls_key;
  std::string tls_server_name;
  std::string state_dir;       // not from the file: where the adapter keeps what it must remember; the agent fills it in
};

// {broker: b, match: "queue:{tenant}", like: profile}: {tenant} is a name of [A-Za-z0-9_.-]. A name that is also one of `tenants`
// is that tenant; its own settings hold.
struct TenantPattern {
  BrokerName broker;
  std::string match;
  std::string like;
};

// Where alerts are told: notifications.NAME.
struct NotifyRoute {
  enum class Kind { webhook, slack, pagerduty, alertmanager };
  std::string name;
  Kind kind = Kind::webhook;
  std::string url;        // empty: the secret one, or PagerDuty's own
  SecretRef secret_url;   // slack: whoever has it may write
  SecretRef secret;       // webhook: the key that signs; pagerduty: the routing key
  std::string tls_ca;     // empty: the system's trust store
};

// What may be restarted, in the operator's own words: restarts.NAME. "{tenant}" in a word stands for the tenant's id.
struct RestartEntry {
  std::string name;
  std::vector<std::string> command;  // the first is an absolute path, without "{tenant}"
  std::string user;                  // empty: the agent's own
  Millis timeout{30'000};
};

struct Config {
  std::string file;
  std::string agent_id = "agent-1";
  std::string data_dir = "./deployclaw-data";
  std::string listen = "127.0.0.1:7433";
  std::vector<BrokerConfig> brokers;
  std::vector<Tenant> tenants;              // by id
  std::vector<TenantPattern> patterns;
  std::map<std::string, Tenant> profiles;
  std::vector<NotifyRoute> routes;
  std::vector<RestartEntry> restarts;

  const BrokerConfig* broker(std::string_view name) const;
  const Tenant* tenant(std::string_view id) const;
  // The tenant that the first matching pattern makes of a queue that it found under this id.
  std::optional<Tenant> tenant_of_pattern(const TenantId& id, const QueueId& queue) const;
};

// Pure. The detail of an error has a line a problem (at most 20): "deployclaw.yaml:14: tenants.t.sla.max_age: …".
Result<Config> parse_config(std::string_view text, const std::string& file);

// `explicit_path` (--config), $DEPLOYCLAW_CONFIG, ./deployclaw.yaml, ~/.config/deployclaw/deployclaw.yaml,
// /etc/deployclaw/deployclaw.yaml: the first that is given or there.
Result<Config> load_config(Disk& disk, const std::optional<std::string>& explicit_path);

// What `init` writes: commented, and valid as it stands.
std::string default_config_text();

}  // namespace claw
