#include "config/config.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "base/text.h"
#include "base/yaml.h"

namespace claw {
namespace {

using yaml::Node;

constexpr std::size_t kMostErrors = 20;
constexpr std::string_view kSkills[] = {"observe-only", "quarantine-poison", "aggressive-drain", "release-stuck-consumers", "dlq-redrive", "restart-consumers"};

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({change, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

// Walks a tree by the schema and collects what is wrong with it.
class Schema {
 public:
  explicit Schema(const std::string& file) : file_(file) {}

  Config read(const Node& root) {
    Config out;
    out.file = file_;
    keys(root, "", {"agent", "brokers", "tenants", "tenant_patterns", "profiles", "notifications", "restarts"});
    if (const Node* agent = get(root, "agent")) read_agent(*agent, out);
    each(root, "brokers", [&](const std::string& name, const Node& node, const std::string& path) { out.brokers.push_back(broker(name, node, path)); });
    each(root, "notifications", [&](const std::string& name, const Node& node, const std::string& path) { out.routes.push_back(route(name, node, path)); });
    each(root, "restarts", [&](const std::string& name, const Node& node, const std::string& path) { out.restarts.push_back(restart(name, node, path)); });
    each(root, "profiles", [&](const std::string& name, const Node& node, const std::string& path) { out.profiles[name] = tenant(name, node, path, out, false); });
    each(root, "tenants", [&](const std::string& name, const Node& node, const std::string& path) { out.tenants.push_back(tenant(name, node, path, out, true)); });
    if (const Node* patterns = get(root, "tenant_patterns")) read_patterns(*patterns, out);
    if (out.brokers.empty()) error(root, "brokers", "expected at least one broker");
    std::sort(out.tenants.begin(), out.tenants.end(), [](const Tenant& a, const Tenant& b) { return a.id < b.id; });
    return out;
  }
  const std::vector<std::string>& errors() const { return errors_; }

 private:
  void error(const Node& at, const std::string& path, const std::string& what) {
    if (errors_.size() < kMostErrors) errors_.push_back(fmt::format("{}:{}: {}{}{}", file_, at.line, path, path.empty() ? "" : ": ", what));
  }
  void wrong(const Node& at, const std::string& path, const std::string& expected) {
    error(at, path, at.kind == Node::Kind::scalar ? fmt::format("expected {}, got '{}'", expected, escape(at.text, 60))
                                                  : fmt::format("expected {}, got a {}", expected, at.kind == Node::Kind::map ? "map" : "list"));
  }
  static std::string join(const std::string& path, const std::string& key) { return path.empty() ? key : path + "." + key; }

  static const Node* get(const Node& map, std::string_view key) {
    for (const auto& [name, value] : map.entries)
      if (name == key) return &value;
    return nullptr;
  }

  bool keys(const Node& node, const std::string& path, std::initializer_list<std::string_view> known) {
    if (node.kind != Node::Kind::map) {
      wrong(node, path.empty() ? "the file" : path, "a map of keys");
      return false;
    }
    for (const auto& [name, value] : node.entries) {
      if (std::find(known.begin(), known.end(), name) != known.end()) continue;
      const auto nearest = std::min_element(known.begin(), known.end(), [&n = name](auto a, auto b) { return edit_distance(n, a) < edit_distance(n, b); });
      const bool near = edit_distance(name, *nearest) <= 3;
      error(value, join(path, escape(name, 60)), near ? fmt::format("unknown key; did you mean '{}'?", *nearest) : fmt::format("unknown key; expected one of: {}", fmt::join(known, ", ")));
    }
    return true;
  }

  template <class F>
  void each(const Node& root, const std::string& key, F&& use) {
    const Node* map = get(root, key);
    if (map == nullptr) return;
    if (map->kind != Node::Kind::map) return wrong(*map, key, "a map of names");
    for (const auto& [name, node] : map->entries) {
      if (!is_plain_name(name)) error(node, join(key, escape(name, 70)), "expected a name of 1 to 64 letters, digits, '_', '.' or '-'");
      else use(name, node, join(key, name));
    }
  }

  std::string text(const Node& map, const std::string& path, std::string_view key, std::string fallback = "") {
    const Node* node = get(map, key);
    if (node == nullptr) return fallback;
    if (node->kind == Node::Kind::scalar && !node->text.empty()) return node->text;
    wrong(*node, join(path, std::string(key)), "text");
    return fallback;
  }

  template <class T, class F>
  void typed(const Node& map, const std::string& path, std::string_view key, const char* expected, T& out, F&& parse) {
    const Node* node = get(map, key);
    if (node == nullptr) return;
    const auto value = node->kind == Node::Kind::scalar ? parse(std::string_view(node->text)) : std::nullopt;
    if (value) out = *value;
    else wrong(*node, join(path, std::string(key)), expected);
  }

  static std::optional<std::uint64_t> count(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
    return value;
  }
  static std::optional<double> decimal(std::string_view text) {
    double value = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
    if (problem != std::errc() || end != text.data() + text.size() || text.empty() || !std::isfinite(value) || value < 0) return std::nullopt;
    return value;
  }
  static std::optional<Millis> duration(std::string_view text) {
    const Result<Millis> value = parse_duration(text);
    if (!value || value->count() == 0) return std::nullopt;
    return *value;
  }
  static std::optional<double> rate(std::string_view text) {
    if (text.size() < 3 || text[text.size() - 2] != '/') return std::nullopt;
    const std::optional<double> number = decimal(text.substr(0, text.size() - 2));
    switch (text.back()) {
      case 's': return number;
      case 'm': return number ? std::optional(*number / 60) : number;
      case 'h': return number ? std::optional(*number / 3600) : number;
      default: return std::nullopt;
    }
  }

  void read_agent(const Node& node, Config& out) {
    if (!keys(node, "agent", {"id", "data_dir", "listen"})) return;
    out.agent_id = text(node, "agent", "id", out.agent_id);
    if (!is_plain_name(out.agent_id)) error(node, "agent.id", "expected a name of 1 to 64 letters, digits, '_', '.' or '-'");
    out.data_dir = text(node, "agent", "data_dir", out.data_dir);
    out.listen = text(node, "agent", "listen", out.listen);
    const std::size_t colon = out.listen.rfind(':');
    const auto port = colon == std::string::npos ? std::nullopt : count(std::string_view(out.listen).substr(colon + 1));
    if (!port || *port > 65535) error(*get(node, "listen"), "agent.listen", fmt::format("expected host:port like 127.0.0.1:7433, got '{}'", escape(out.listen, 60)));
  }

  SecretRef secret(const Node& node, const std::string& path) {
    if (node.kind != Node::Kind::map) {
      error(node, path, "a secret is not written in clear; write {env: NAME}, {file: PATH} or {credential: NAME}");
      return {};
    }
    keys(node, path, {"env", "file", "credential"});
    if (node.entries.size() != 1 || node.entries[0].second.kind != Node::Kind::scalar || node.entries[0].second.text.empty()) {
      error(node, path, "expected exactly one of {env: NAME}, {file: PATH}, {credential: NAME}");
      return {};
    }
    const auto& [key, value] = node.entries[0];
    return {key == "env" ? SecretRef::Kind::env : key == "file" ? SecretRef::Kind::file : SecretRef::Kind::credential, value.text};
  }

  BrokerConfig broker(const std::string& name, const Node& node, const std::string& path) {
    BrokerConfig out;
    out.name = name;
    if (!keys(node, path, {"kind", "url", "management_url", "user", "password", "sentinel_password", "region", "endpoint_url", "cloudwatch", "look", "tls"})) return out;
    const std::string kind = text(node, path, "kind");
    if (kind == "redis") out.kind = BrokerConfig::Kind::redis;
    else if (kind == "rabbitmq") out.kind = BrokerConfig::Kind::rabbitmq;
    else if (kind == "sqs") out.kind = BrokerConfig::Kind::sqs;
    else error(node, join(path, "kind"), fmt::format("expected redis, rabbitmq or sqs, got '{}'", escape(kind, 60)));
    out.url = text(node, path, "url");
    out.management_url = text(node, path, "management_url");
    out.user = text(node, path, "user");
    out.region = text(node, path, "region");
    out.endpoint_url = text(node, path, "endpoint_url");
    typed(node, path, "look", "hold-all, sample or stream", out.look, [](std::string_view t) {
      return t == "hold-all" || t == "sample" || t == "stream" ? std::optional<std::string>(t) : std::nullopt;
    });
    typed(node, path, "cloudwatch", "true or the URL of its endpoint", out.cloudwatch, [](std::string_view t) -> std::optional<std::string> {
      if (t == "true") return "";
      return t.starts_with("http://") || t.starts_with("https://") ? std::optional(std::string(t)) : std::nullopt;
    });
    if (out.kind != BrokerConfig::Kind::sqs && get(node, "cloudwatch") != nullptr) error(node, join(path, "cloudwatch"), "is for sqs only");
    if (out.kind != BrokerConfig::Kind::sqs && get(node, "look") != nullptr) error(node, join(path, "look"), "is for sqs only");
    if (out.kind == BrokerConfig::Kind::sqs ? out.region.empty() : out.url.empty())
      error(node, path, out.kind == BrokerConfig::Kind::sqs ? "expected a region" : "expected a url");
    if (const Node* password = get(node, "password")) out.password = secret(*password, join(path, "password"));
    if (const Node* password = get(node, "sentinel_password")) out.sentinel_password = secret(*password, join(path, "sentinel_password"));
    if (const Node* tls = get(node, "tls"); tls != nullptr && keys(*tls, join(path, "tls"), {"ca", "cert", "key", "server_name"})) {
      out.tls_ca = text(*tls, path, "ca");
      out.tls_cert = text(*tls, path, "cert");
      out.tls_key = text(*tls, path, "key");
      out.tls_server_name = text(*tls, path, "server_name");
      if (out.tls_cert.empty() != out.tls_key.empty()) error(*tls, join(path, "tls"), "cert and key belong together");
    }
    return out;
  }

  NotifyRoute route(const std::string& name, const Node& node, const std::string& path) {
    using Kind = NotifyRoute::Kind;
    NotifyRoute out;
    out.name = name;
    if (!keys(node, path, {"kind", "url", "secret", "routing_key", "tls_ca"})) return out;
    const std::string kind = text(node, path, "kind");
    if (kind == "webhook") out.kind = Kind::webhook;
    else if (kind == "slack") out.kind = Kind::slack;
    else if (kind == "pagerduty") out.kind = Kind::pagerduty;
    else if (kind == "alertmanager") out.kind = Kind::alertmanager;
    else error(node, join(path, "kind"), fmt::format("expected webhook, slack, pagerduty or alertmanager, got '{}'", escape(kind, 60)));
    const Node* url = get(node, "url");
    if (url != nullptr && url->kind == Node::Kind::map) out.secret_url = secret(*url, join(path, "url"));
    else out.url = text(node, path, "url");
    if (!out.url.empty() && !out.url.starts_with("http://") && !out.url.starts_with("https://")) error(*url, join(path, "url"), "expected a URL of http:// or https://");
    if (url == nullptr && out.kind != Kind::pagerduty) error(node, path, "expected a url");
    const char* key = out.kind == Kind::pagerduty ? "routing_key" : "secret";
    for (const char* other : {"routing_key", "secret"})
      if (get(node, other) != nullptr && (std::string_view(other) != key || (out.kind != Kind::pagerduty && out.kind != Kind::webhook)))
        error(node, join(path, other), fmt::format("is not for {}", kind));
    if (const Node* value = get(node, key)) out.secret = secret(*value, join(path, key));
    else if (out.kind == Kind::pagerduty) error(node, path, "expected a routing_key");
    out.tls_ca = text(node, path, "tls_ca");
    return out;
  }

  std::vector<std::string> routes(const Node& node, const std::string& path, const Config& known) {
    std::vector<std::string> out;
    if (node.kind != Node::Kind::list) {
      wrong(node, path, "a list of names under notifications");
      return out;
    }
    for (const Node& item : node.items) {
      const bool there = std::any_of(known.routes.begin(), known.routes.end(), [&](const NotifyRoute& r) { return r.name == item.text; });
      if (there) out.push_back(item.text);
      else error(item, path, fmt::format("unknown notification '{}'", escape(item.text, 60)));
    }
    return out;
  }

  RestartEntry restart(const std::string& name, const Node& node, const std::string& path) {
    RestartEntry out;
    out.name = name;
    if (!keys(node, path, {"command", "user", "timeout"})) return out;
    const Node* command = get(node, "command");
    if (command == nullptr || command->kind != Node::Kind::list || command->items.empty()) {
      error(command == nullptr ? node : *command, join(path, "command"), "expected a list of words, the first an absolute path");
      return out;
    }
    for (const Node& word : command->items) {
      if (word.kind != Node::Kind::scalar || word.text.find('\0') != std::string::npos) wrong(word, join(path, "command"), "a word");
      out.command.push_back(word.text);
    }
    if (!out.command[0].starts_with('/') || out.command[0].find('{') != std::string::npos) wrong(command->items[0], join(path, "command"), "an absolute path without {tenant}");
    out.user = text(node, path, "user");
    if (const Node* timeout = get(node, "timeout")) {
      const Result<Millis> parsed = parse_duration(timeout->text);
      if (!parsed || *parsed < Millis(1'000) || *parsed > Millis(120'000)) wrong(*timeout, join(path, "timeout"), "a duration from 1s to 2m");
      else out.timeout = *parsed;
    }
    return out;
  }

  QueueMatch queue(const Node& node, const std::string& path, const Config& known) {
    QueueMatch out;
    if (!keys(node, path, {"broker", "match", "processing", "dead", "takes_from"})) return out;
    out.broker = text(node, path, "broker");
    out.match = text(node, path, "match");
    out.processing = text(node, path, "processing");
    out.dead = text(node, path, "dead");
    typed(node, path, "takes_from", "tail or head", out.takes_from, [](std::string_view t) -> std::optional<ListEnd> {
      if (t == "tail") return ListEnd::tail;
      return t == "head" ? std::optional(ListEnd::head) : std::nullopt;
    });
    if (known.broker(out.broker) == nullptr) error(node, join(path, "broker"), fmt::format("unknown broker '{}'", escape(out.broker, 60)));
    if (out.match.empty()) error(node, join(path, "match"), "expected a queue's name or a glob");
    return out;
  }

  Tenant tenant(const std::string& id, const Node& node, const std::string& path, const Config& known, bool needs_queues) {
    Tenant out;
    if (!keys(node, path, {"tier", "queues", "sla", "skill", "autonomy", "confidence", "contract", "notify", "like"})) return out;
    if (const Node* like = get(node, "like")) {
      const auto profile = known.profiles.find(like->text);
      if (profile == known.profiles.end()) error(*like, join(path, "like"), fmt::format("unknown profile '{}'", escape(like->text, 60)));
      else out = profile->second;
    }
    out.id = id;
    typed(node, path, "tier", "critical, standard or batch", out.tier, [](std::string_view t) -> std::optional<Tier> {
      for (const Tier tier : {Tier::critical, Tier::standard, Tier::batch})
        if (claw::name(tier) == t) return tier;
      return std::nullopt;
    });
    typed(node, path, "autonomy", "observe, propose or act", out.autonomy, [](std::string_view t) -> std::optional<Autonomy> {
      for (const Autonomy a : {Autonomy::observe, Autonomy::propose, Autonomy::act})
        if (claw::name(a) == t) return a;
      return std::nullopt;
    });
    typed(node, path, "skill", "a built-in skill", out.skill, [](std::string_view t) {
      return std::find(std::begin(kSkills), std::end(kSkills), t) != std::end(kSkills) ? std::optional<std::string>(t) : std::nullopt;
    });
    typed(node, path, "confidence", "a number from 0.5 to 1 like 0.95", out.confidence_bps, [](std::string_view t) -> std::optional<std::int64_t> {
      const auto value = decimal(t);
      if (!value || *value < 0.5 || *value > 1) return std::nullopt;
      return static_cast<std::int64_t>(std::llround(*value * 10'000));
    });
    out.contract = text(node, path, "contract", out.contract);
    if (const Node* notify = get(node, "notify")) out.notify = routes(*notify, join(path, "notify"), known);
    if (const Node* sla = get(node, "sla")) read_sla(*sla, join(path, "sla"), out.sla);
    const Node* queues = get(node, "queues");
    if (queues == nullptr && needs_queues) error(node, path, "expected queues");
    if (queues != nullptr && queues->kind != Node::Kind::list) wrong(*queues, join(path, "queues"), "a list of {broker, match}");
    for (std::size_t i = 0; queues != nullptr && i < queues->items.size(); ++i) {
      out.queues.push_back(queue(queues->items[i], fmt::format("{}.queues[{}]", path, i), known));
      claim_once(queues->items[i], fmt::format("{}.queues[{}]", path, i), out.queues.back(), id);
    }
    return out;
  }

  void claim_once(const Node& at, const std::string& path, const QueueMatch& match, const TenantId& id) {
    const auto [owner, fresh] = owners_.emplace(std::pair(match.broker, match.match), id);
    if (!fresh && owner->second != id) error(at, path, fmt::format("'{}' is claimed by tenants '{}' and '{}'", escape(match.match, 60), owner->second, id));
  }

  void read_sla(const Node& node, const std::string& path, Sla& out) {
    if (!keys(node, path, {"max_backlog", "max_age", "drain_within", "min_throughput"})) return;
    typed(node, path, "max_backlog", "a whole number of messages", out.max_backlog, count);
    typed(node, path, "max_age", "a duration like 5m", out.max_age, duration);
    typed(node, path, "drain_within", "a duration like 15m", out.drain_within, duration);
    typed(node, path, "min_throughput", "a rate like 200/s", out.min_throughput, rate);
  }

  void read_patterns(const Node& node, Config& out) {
    if (node.kind != Node::Kind::list) return wrong(node, "tenant_patterns", "a list of {broker, match, like}");
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const Node& item = node.items[i];
      const std::string path = fmt::format("tenant_patterns[{}]", i);
      if (!keys(item, path, {"broker", "match", "like"})) continue;
      const TenantPattern pattern{text(item, path, "broker"), text(item, path, "match"), text(item, path, "like")};
      if (out.broker(pattern.broker) == nullptr) error(item, join(path, "broker"), fmt::format("unknown broker '{}'", escape(pattern.broker, 60)));
      if (!out.profiles.contains(pattern.like)) error(item, join(path, "like"), fmt::format("unknown profile '{}'", escape(pattern.like, 60)));
      if (pattern.match.find(kTenantMark) == std::string::npos || pattern.match.find_first_of("*?[") != std::string::npos)
        error(item, join(path, "match"), "expected {tenant} in the pattern and no other wildcard");
      out.patterns.push_back(pattern);
    }
  }

  const std::string& file_;
  std::vector<std::string> errors_;
  std::map<std::pair<std::string, std::string>, TenantId> owners_;
};

}  // namespace

const BrokerConfig* Config::broker(std::string_view name) const {
  const auto found = std::find_if(brokers.begin(), brokers.end(), [&](const BrokerConfig& b) { return b.name == name; });
  return found == brokers.end() ? nullptr : &*found;
}

const Tenant* Config::tenant(std::string_view id) const {
  const auto found = std::lower_bound(tenants.begin(), tenants.end(), id, [](const Tenant& t, std::string_view wanted) { return t.id < wanted; });
  return found == tenants.end() || found->id != id ? nullptr : &*found;
}

std::optional<Tenant> Config::tenant_of_pattern(const TenantId& id, const QueueId& queue) const {
  for (const TenantPattern& pattern : patterns) {
    if (pattern.broker != queue.broker || capture_tenant(pattern.match, queue.name) != id) continue;
    Tenant out = profiles.at(pattern.like);
    out.id = id;
    return out;
  }
  return std::nullopt;
}

Result<Config> parse_config(std::string_view text, const std::string& file) {
  CLAW_TRY_ASSIGN(const Node root, yaml::parse(text, {.file = file}));
  Schema schema(file);
  Config out = schema.read(root);
  if (!schema.errors().empty()) return make_error(Code::invalid, "config", fmt::format("{}", fmt::join(schema.errors(), "\n")));
  return out;
}

namespace {

// Our own files are never symbolic links; the user's config and secrets may be: Kubernetes mounts them so.
std::string followed(const std::string& path) {
  std::error_code none;
  const std::filesystem::path real = std::filesystem::canonical(path, none);
  return none ? path : real.string();
}

}  // namespace

Result<Config> load_config(Disk& disk, const std::optional<std::string>& explicit_path) {
  std::vector<std::string> places;
  const char* from_environment = std::getenv("DEPLOYCLAW_CONFIG");
  const char* home = std::getenv("HOME");
  if (explicit_path) places = {*explicit_path};
  else if (from_environment != nullptr && *from_environment != '\0') places = {from_environment};
  else places = {"deployclaw.yaml", (home == nullptr ? std::string() : std::string(home)) + "/.config/deployclaw/deployclaw.yaml", "/etc/deployclaw/deployclaw.yaml"};
  for (const std::string& place : places) {
    const Result<std::string> text = disk.read_all(followed(place), 4u << 20);
    if (text) return parse_config(*text, place);
    if (text.error().code != Code::not_found) return make_error(Code::invalid, "config", text.error().message());
  }
  return make_error(Code::invalid, "config", fmt::format("no config file; looked for {}; write one with: deployclaw init", fmt::join(places, ", ")));
}

Result<Secret> resolve(const SecretRef& ref, Disk& disk) {
  std::string path = ref.name;
  switch (ref.kind) {
    case SecretRef::Kind::none: return Secret();
    case SecretRef::Kind::env: {
      const char* value = std::getenv(ref.name.c_str());
      if (value == nullptr) return make_error(Code::invalid, "secret", "environment variable " + ref.name + " is not set");
      return Secret(value);
    }
    case SecretRef::Kind::credential: {
      const char* dir = std::getenv("CREDENTIALS_DIRECTORY");
      if (dir == nullptr || ref.name.find('/') != std::string::npos) return make_error(Code::invalid, "secret", "credential " + ref.name + ": $CREDENTIALS_DIRECTORY is not set (systemd sets it)");
      path = std::string(dir) + "/" + ref.name;
      break;
    }
    case SecretRef::Kind::file: {
      struct stat info {};
      if (::stat(path.c_str(), &info) == 0 && (info.st_mode & 077) != 0) return make_error(Code::invalid, "secret", path + ": others may read it; chmod 600 it");
      break;
    }
  }
  CLAW_TRY_ASSIGN(std::string value, disk.read_all(followed(path), 64 * 1024));
  if (value.ends_with('\n')) value.pop_back();
  return Secret(std::move(value));
}

std::string default_config_text() {
  return R"(# deployclaw.yaml: which brokers there are, whose queues are whose, and what the agent may do.
agent:
  id: agent-1
  data_dir: ./deployclaw-data        # state, snapshots and audit log; only the owner may read it
  listen: 127.0.0.1:7433

brokers:
  redis-local:
    kind: redis
    url: redis://127.0.0.1:6379/0    # rediss:// for TLS, redis+unix:///path for a socket
    # user: deployclaw
    # password: {env: REDIS_PASSWORD}   # or {file: /run/secrets/redis} or {credential: redis}; never in clear
  # rabbit-local:
  #   kind: rabbitmq
  #   url: amqp://deployclaw@127.0.0.1:5672/%2f    # amqps:// for TLS; host:port,host:port for a cluster
  #   management_url: http://127.0.0.1:15672       # without it no queue is looked at: delivery limits would be unknown;
  #                                                # http://a:15672,http://b:15672 for a cluster

tenants:
  tenant_42:
    tier: standard                   # critical | standard | batch
    queues:
      - {broker: redis-local, match: "orders:tenant_42"}   # a name or a glob; the type is discovered
    sla: {max_backlog: 10000, max_age: 10m, drain_within: 30m, min_throughput: 50/s}
    skill: quarantine-poison
    autonomy: propose                # observe | propose | act
    confidence: 0.95                 # lower bound that a finding needs before anything is removed
    # notify: [ops]                  # which of the routes below; without it: all

# Who is told when a tenant is in trouble for half a minute, and when that is over. Nothing is sent anywhere else.
# notifications:
#   ops:   {kind: webhook, url: "https://ops.example/hook", secret: {env: HOOK_SECRET}}   # signed with HMAC-SHA-256
#   chat:  {kind: slack, url: {env: SLACK_URL}}
#   pager: {kind: pagerduty, routing_key: {env: PAGERDUTY_KEY}}
#   am:    {kind: alertmanager, url: "http://127.0.0.1:9093"}

# What "deployclaw restart NAME --tenant T" may run: these words, no shell. {tenant} is the tenant's id.
# restarts:
#   billing: {command: [/usr/bin/systemctl, restart, "billing-worker@{tenant}"], user: root, timeout: 30s}
)";
}

}  // namespace claw
