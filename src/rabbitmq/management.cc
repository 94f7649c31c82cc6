#include "rabbitmq/management.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/text.h"

namespace claw::rabbitmq {
namespace {

using nlohmann::json;

constexpr std::size_t kMostAnswer = 64u << 20;
constexpr int kMostPages = 200;  // of 500 queues
constexpr const char* kQueueColumns =
    "name,type,state,node,durable,auto_delete,exclusive,arguments,effective_policy_definition,messages_ready,messages_unacknowledged,message_bytes,consumers,"
    "head_message_timestamp,message_stats.ack,message_stats.ack_details.rate,message_stats.publish_details.rate,message_stats.redeliver";

// The value when it is there and of the type; else the fallback. The API leaves out what it does not know yet.
std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}
bool flag_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}
std::optional<std::int64_t> integer_of(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_integer()) return std::nullopt;
  return found->get<std::int64_t>();
}
std::uint64_t count_of(const json& object, const char* key) { return static_cast<std::uint64_t>(std::max<std::int64_t>(0, integer_of(object, key).value_or(0))); }
const json& object_of(const json& object, const char* key) {
  static const json nothing = json::object();
  const auto found = object.find(key);
  return found != object.end() && found->is_object() ? *found : nothing;
}
double rate_of(const json& stats, const char* key) {
  const json& details = object_of(stats, key);
  const auto rate = details.find("rate");
  return rate != details.end() && rate->is_number() ? rate->get<double>() : 0;
}

// An argument and a policy may both set a number: the broker takes the smaller one.
std::optional<std::int64_t> stricter(const json& arguments, const char* argument, const json& policy, const char* key) {
  const auto a = integer_of(arguments, argument), b = integer_of(policy, key);
  if (a && b) return std::min(*a, *b);
  return a ? a : b;
}

QueueFacts queue_facts(const json& item) {
  QueueFacts out;
  out.name = text_of(item, "name");
  const std::string type = text_of(item, "type");
  const json& arguments = object_of(item, "arguments");
  const json& policy = object_of(item, "effective_policy_definition");
  const json& stats = object_of(item, "message_stats");
  // A queue that was made within the last seconds has no policy in the answer yet, which is not the same as having none.
  const bool complete = item.contains("effective_policy_definition");
  out.kind = !complete ? QueueKind::unknown : type == "classic" ? QueueKind::classic : type == "quorum" ? QueueKind::quorum : type == "stream" ? QueueKind::stream : QueueKind::unknown;
  out.state = text_of(item, "state");
  out.node = text_of(item, "node");
  out.durable = flag_of(item, "durable");
  out.auto_delete = flag_of(item, "auto_delete");
  out.exclusive = flag_of(item, "exclusive");
  out.single_active = flag_of(arguments, "x-single-active-consumer");
  out.ready = count_of(item, "messages_ready");
  out.unacked = count_of(item, "messages_unacknowledged");
  out.bytes = count_of(item, "message_bytes");
  out.consumers = count_of(item, "consumers");
  out.acked = count_of(stats, "ack");
  out.sent_without_ack = count_of(stats, "deliver_no_ack");
  out.redelivered = count_of(stats, "redeliver");
  out.ack_rate = rate_of(stats, "ack_details");
  out.publish_rate = rate_of(stats, "publish_details");
  out.delivery_limit = stricter(arguments, "x-delivery-limit", policy, "delivery-limit");
  out.message_ttl_ms = stricter(arguments, "x-message-ttl", policy, "message-ttl");
  out.expires_ms = stricter(arguments, "x-expires", policy, "expires");
  out.max_length = stricter(arguments, "x-max-length", policy, "max-length");
  out.max_bytes = stricter(arguments, "x-max-length-bytes", policy, "max-length-bytes");
  out.max_priority = integer_of(arguments, "x-max-priority").value_or(0);
  out.head_timestamp = integer_of(item, "head_message_timestamp");
  out.overflow = arguments.contains("x-overflow") ? text_of(arguments, "x-overflow") : text_of(policy, "overflow");
  const auto letter = [&](const char* argument, const char* key) -> std::optional<std::string> {
    if (arguments.contains(argument)) return text_of(arguments, argument);
    if (policy.contains(key)) return text_of(policy, key);
    return std::nullopt;
  };
  out.dead_letter_exchange = letter("x-dead-letter-exchange", "dead-letter-exchange");
  out.dead_letter_key = letter("x-dead-letter-routing-key", "dead-letter-routing-key");
  return out;
}

class Http final : public Management {
 public:
  Http(std::vector<std::string> urls, std::string vhost, std::string user, Secret password, std::optional<Tls> tls, Clock& clock)
      : urls_(std::move(urls)), vhost_(percent_encode(vhost)), user_(std::move(user)), password_(std::move(password)), tls_(std::move(tls)), clock_(clock), curl_(curl_easy_init()) {}
  ~Http() override { curl_easy_cleanup(curl_); }
  Http(const Http&) = delete;
  Http& operator=(const Http&) = delete;

  Result<BrokerFacts> broker(Deadline deadline) override {
    BrokerFacts out;
    CLAW_TRY_ASSIGN(const json overview, get("/api/overview?columns=rabbitmq_version", deadline));
    out.version = text_of(overview, "rabbitmq_version");
    const char* const end = out.version.data() + out.version.size();
    const auto [dot, problem] = std::from_chars(out.version.data(), end, out.major);
    if (problem == std::errc() && dot != end) std::from_chars(dot + 1, end, out.minor);
    CLAW_TRY_ASSIGN(const json nodes, get("/api/nodes?columns=name,running,mem_used,mem_limit,mem_alarm,disk_free_alarm,partitions", deadline));
    if (!nodes.is_array()) return wrong("/api/nodes", "expected a list");
    for (const json& node : nodes) {
      const std::string name = escape(text_of(node, "name"), 80);
      if (!flag_of(node, "running")) {
        out.warnings.push_back("node " + name + " is down");
        continue;
      }
      if (flag_of(node, "mem_alarm")) out.alarms.push_back("memory alarm on " + name);
      if (flag_of(node, "disk_free_alarm")) out.alarms.push_back("disk alarm on " + name);
      if (const auto cut = node.find("partitions"); cut != node.end() && cut->is_array() && !cut->empty()) out.alarms.push_back("network partition seen by " + name);
      const std::uint64_t limit = count_of(node, "mem_limit"), used = count_of(node, "mem_used");
      const std::uint64_t free = limit > used ? limit - used : 1;
      if (limit > 0) out.memory_free = out.memory_free == 0 ? free : std::min(out.memory_free, free);
    }
    return out;
  }

  Result<std::vector<Listener>> listeners(Deadline deadline) override {
    CLAW_TRY_ASSIGN(const json overview, get("/api/overview?columns=listeners", deadline));
    std::vector<Listener> out;
    if (const auto list = overview.find("listeners"); list != overview.end() && list->is_array())
      for (const json& one : *list)
        if (text_of(one, "protocol").starts_with("amqp")) out.push_back({text_of(one, "node"), static_cast<std::uint16_t>(count_of(one, "port"))});
    return out;
  }

  Result<std::vector<QueueFacts>> queues(Deadline deadline) override {
    std::vector<QueueFacts> out;
    for (int page = 1, pages = 1; page <= pages; ++page) {
      CLAW_TRY_ASSIGN(const json answer, get(fmt::format("/api/queues/{}?page={}&page_size=500&columns={}", vhost_, page, kQueueColumns), deadline));
      const auto items = answer.find("items");
      if (items == answer.end() || !items->is_array()) return wrong("/api/queues", "expected items");
      for (const json& item : *items) out.push_back(queue_facts(item));
      pages = static_cast<int>(std::clamp<std::int64_t>(integer_of(answer, "page_count").value_or(1), 0, kMostPages + 1));
      if (pages > kMostPages) return make_error(Code::full, url(), fmt::format("more than {} queues in the vhost", kMostPages * 500));
    }
    return out;
  }

  Result<QueueFacts> queue(std::string_view name, Deadline deadline) override {
    CLAW_TRY_ASSIGN(const json answer, get(fmt::format("/api/queues/{}/{}?columns={}", vhost_, percent_encode(name), kQueueColumns), deadline));
    return queue_facts(answer);
  }

  Result<std::vector<ConsumerFacts>> consumers(Deadline deadline) override {
    CLAW_TRY_ASSIGN(const json list, get("/api/consumers/" + vhost_, deadline));
    CLAW_TRY_ASSIGN(const json channels, get(fmt::format("/api/vhosts/{}/channels?columns=name,messages_unacknowledged,message_stats.ack_details.rate", vhost_), deadline));
    if (!list.is_array() || !channels.is_array()) return wrong("/api/consumers", "expected a list");
    std::map<std::string, std::pair<std::uint64_t, double>> by_channel;
    for (const json& c : channels) by_channel[text_of(c, "name")] = {count_of(c, "messages_unacknowledged"), rate_of(object_of(c, "message_stats"), "ack_details")};
    std::vector<ConsumerFacts> out;
    for (const json& c : list) {
      const json& channel = object_of(c, "channel_details");
      ConsumerFacts one{.queue = text_of(object_of(c, "queue"), "name"), .tag = text_of(c, "consumer_tag"), .channel = text_of(channel, "name"),
                        .connection = text_of(channel, "connection_name"), .host = text_of(channel, "peer_host"), .prefetch = count_of(c, "prefetch_count")};
      one.active = !c.contains("active") || flag_of(c, "active");
      std::tie(one.unacked, one.ack_rate) = by_channel[one.channel];
      out.push_back(std::move(one));
    }
    return out;
  }

  Result<std::vector<Binding>> bindings(std::string_view exchange, Deadline deadline) override {
    CLAW_TRY_ASSIGN(const json list, get(fmt::format("/api/exchanges/{}/{}/bindings/source", vhost_, percent_encode(exchange)), deadline));
    if (!list.is_array()) return wrong("/api/exchanges", "expected a list");
    std::vector<Binding> out;
    for (const json& b : list)
      if (text_of(b, "destination_type") == "queue") out.push_back({std::string(exchange), text_of(b, "routing_key"), text_of(b, "destination")});
    return out;
  }

 private:
  const std::string& url() const { return urls_[at_]; }
  Error wrong(std::string_view path, std::string_view what) const { return make_error(Code::corrupt, url() + std::string(path), std::string(what)); }

  Result<json> get(const std::string& path, Deadline deadline) {
    CLAW_TRY_ASSIGN(const std::string text, call(path, deadline));
    // Not strictly: while a quorum queue has no leader, 3.10 names its node twice.
    json answer = json::parse(text, nullptr, false);
    if (answer.is_discarded()) return wrong(path.substr(0, path.find('?')), "expected JSON");
    return answer;
  }

  static std::size_t receive(char* data, std::size_t one, std::size_t count, void* out) {
    auto& text = *static_cast<std::string*>(out);
    if (text.size() + one * count > kMostAnswer) return 0;
    text.append(data, one * count);
    return one * count;
  }

  // A node that does not answer is left for the next one, which is asked first from then on.
  Result<std::string> call(const std::string& path, Deadline deadline) {
    for (std::size_t left = urls_.size();; --left) {
      Result<std::string> answer = ask(path, deadline.remaining(clock_) / static_cast<std::int64_t>(left));
      const bool elsewhere = !answer && (answer.error().code == Code::unavailable || answer.error().code == Code::timed_out);
      if (!elsewhere || left == 1) return answer;
      at_ = (at_ + 1) % urls_.size();
    }
  }

  Result<std::string> ask(const std::string& path, Millis left) {
    const std::string where = url() + path.substr(0, path.find('?'));
    if (left.count() == 0) return make_error(Code::timed_out, where, "no time left");
    std::string answer;
    curl_easy_reset(curl_);  // keeps the connection
    curl_easy_setopt(curl_, CURLOPT_URL, (url() + path).c_str());
    curl_easy_setopt(curl_, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl_, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl_, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl_, CURLOPT_TIMEOUT_MS, static_cast<long>(left.count()));
    curl_easy_setopt(curl_, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
    curl_easy_setopt(curl_, CURLOPT_USERNAME, user_.c_str());
    curl_easy_setopt(curl_, CURLOPT_PASSWORD, password_.empty() && user_ == "guest" ? "guest" : std::string(password_.reveal()).c_str());
    curl_easy_setopt(curl_, CURLOPT_WRITEFUNCTION, &receive);
    curl_easy_setopt(curl_, CURLOPT_WRITEDATA, &answer);
    if (tls_ && !tls_->ca_file.empty()) curl_easy_setopt(curl_, CURLOPT_CAINFO, tls_->ca_file.c_str());
    if (tls_ && !tls_->cert_file.empty()) {
      curl_easy_setopt(curl_, CURLOPT_SSLCERT, tls_->cert_file.c_str());
      curl_easy_setopt(curl_, CURLOPT_SSLKEY, tls_->key_file.c_str());
    }
    const CURLcode done = curl_easy_perform(curl_);
    if (done == CURLE_OPERATION_TIMEDOUT) return make_error(Code::timed_out, where, curl_easy_strerror(done));
    if (done == CURLE_WRITE_ERROR) return make_error(Code::full, where, fmt::format("an answer of more than {} bytes", kMostAnswer));
    if (done != CURLE_OK) return make_error(Code::unavailable, where, curl_easy_strerror(done));
    long status = 0;
    curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &status);
    if (status / 100 == 2) return answer;
    const Code code = status == 401 || status == 403 ? Code::denied : status == 404 ? Code::not_found : status / 100 == 5 ? Code::unavailable : Code::invalid;
    return make_error(code, where, fmt::format("HTTP {}: {}", status, escape(answer, 160)));
  }

  std::vector<std::string> urls_;
  std::size_t at_ = 0;  // the one that answered last
  std::string vhost_, user_;
  Secret password_;
  std::optional<Tls> tls_;
  Clock& clock_;
  CURL* curl_;
};

}  // namespace

Result<std::unique_ptr<Management>> Management::open(const std::string& urls, const Endpoint& endpoint, Clock& clock) {
  std::vector<std::string> nodes;
  for (std::size_t from = 0; from <= urls.size();) {
    const std::size_t end = std::min(urls.find(',', from), urls.size());
    std::string url = urls.substr(from, end - from);
    from = end + 1;
    if (!url.starts_with("http://") && !url.starts_with("https://")) return make_error(Code::invalid, "management_url '" + escape(url.substr(0, 8)) + "…'", "expected http://host:port or https://host:port, several with commas between them");
    if (url.find('@') != std::string::npos) return make_error(Code::invalid, "management_url", "a user or password does not belong in it; the broker's user and password are used");
    while (url.ends_with('/')) url.pop_back();
    nodes.push_back(std::move(url));
  }
  static const bool ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  if (!ready) return make_error(Code::unavailable, "management_url", "libcurl does not start");
  return std::unique_ptr<Management>(std::make_unique<Http>(std::move(nodes), endpoint.vhost, endpoint.user, endpoint.password.clone(), endpoint.tls, clock));
}

}  // namespace claw::rabbitmq
