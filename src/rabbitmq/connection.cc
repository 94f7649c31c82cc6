#include "rabbitmq/connection.h"

#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "base/text.h"

namespace claw::rabbitmq {
namespace {

constexpr int kHeartbeat = 15;  // seconds; a peer that is silent for two of them is gone
constexpr const char* kConsumerTag = "deployclaw";
constexpr std::size_t kMostUnconfirmed = 2'000;
constexpr int kTagBits = 48;  // of a delivery tag; the channel stands above them, so that a tag is unique on its connection

std::uint64_t wide_tag(amqp_channel_t channel, std::uint64_t tag) { return std::uint64_t{channel} << kTagBits | tag; }
amqp_channel_t channel_of(std::uint64_t tag) { return static_cast<amqp_channel_t>(tag >> kTagBits); }
std::uint64_t narrow_tag(std::uint64_t tag) { return tag & ((std::uint64_t{1} << kTagBits) - 1); }

std::string_view view(amqp_bytes_t bytes) { return {static_cast<const char*>(bytes.bytes), bytes.len}; }
// librabbitmq only reads through these.
amqp_bytes_t bytes_of(std::string_view text) { return {text.size(), const_cast<char*>(text.data())}; }
amqp_table_entry_t text_argument(const char* key, const char* value) {
  amqp_table_entry_t out{.key = amqp_cstring_bytes(key), .value = {.kind = AMQP_FIELD_KIND_UTF8, .value = {}}};
  out.value.value.bytes = amqp_cstring_bytes(value);
  return out;
}
amqp_table_entry_t number_argument(const char* key, std::int32_t value) { return {.key = amqp_cstring_bytes(key), .value = {.kind = AMQP_FIELD_KIND_I32, .value = {.i32 = value}}}; }

timeval timeval_of(Millis duration) {
  return {.tv_sec = static_cast<time_t>(duration.count() / 1000), .tv_usec = static_cast<suseconds_t>(duration.count() % 1000 * 1000)};
}

// By the reply code of a close; the table of codes is AMQP 0-9-1's.
Code code_of(int reply) {
  switch (reply) {
    case 311: return Code::full;
    case 312: case 404: return Code::not_found;
    case 403: case 530: return Code::denied;
    case 405: return Code::conflict;
    case 406: return Code::invalid;
    case 501: case 502: case 503: case 504: case 505: return Code::corrupt;
    case 540: return Code::unsupported;
    default: return Code::unavailable;
  }
}

Code code_of_status(int status) {
  switch (status) {
    case AMQP_STATUS_TIMEOUT: return Code::timed_out;
    case AMQP_STATUS_BAD_AMQP_DATA: case AMQP_STATUS_UNKNOWN_CLASS: case AMQP_STATUS_UNKNOWN_METHOD: return Code::corrupt;
    case AMQP_STATUS_SSL_HOSTNAME_VERIFY_FAILED: case AMQP_STATUS_SSL_PEER_VERIFY_FAILED: return Code::denied;
    default: return Code::unavailable;
  }
}

// The fields that say who we are and what we understand.
class ClientProperties {
 public:
  explicit ClientProperties(std::string_view purpose) : name_("deployclaw " + std::string(purpose)) {
    for (const char* capability : {"connection.blocked", "consumer_cancel_notify", "publisher_confirms", "basic.nack"})
      capabilities_.push_back({.key = amqp_cstring_bytes(capability), .value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value = {.boolean = 1}}});
    put("product", "deployclaw");
    put("connection_name", name_);
    amqp_table_entry_t nested{.key = amqp_cstring_bytes("capabilities"), .value = {.kind = AMQP_FIELD_KIND_TABLE, .value = {}}};
    nested.value.value.table = {static_cast<int>(capabilities_.size()), capabilities_.data()};
    entries_.push_back(nested);
    table_ = {static_cast<int>(entries_.size()), entries_.data()};
  }
  ClientProperties(const ClientProperties&) = delete;
  ClientProperties& operator=(const ClientProperties&) = delete;
  const amqp_table_t* table() const { return &table_; }

 private:
  void put(const char* key, const std::string_view text) {
    amqp_table_entry_t entry{.key = amqp_cstring_bytes(key), .value = {.kind = AMQP_FIELD_KIND_UTF8, .value = {}}};
    entry.value.value.bytes = bytes_of(text);
    entries_.push_back(entry);
  }
  std::string name_;
  std::vector<amqp_table_entry_t> capabilities_, entries_;
  amqp_table_t table_{};
};

class Amqp final : public Connection {
 public:
  Amqp(Clock& clock, const Host& host) : clock_(clock), where_(fmt::format("rabbitmq {}:{}", host.name, host.port)), state_(amqp_new_connection()) {
    CLAW_CHECK(state_ != nullptr);
    amqp_set_initialize_ssl_library(0);  // OpenSSL 3 does it by itself
    init_amqp_pool(&pool_, 4096);
  }
  ~Amqp() override {
    empty_amqp_pool(&pool_);
    amqp_destroy_connection(state_);
  }
  Amqp(const Amqp&) = delete;
  Amqp& operator=(const Amqp&) = delete;

  Status login(const Endpoint& endpoint, const Host& host, std::string_view purpose, Deadline deadline) {
    CLAW_TRY_ASSIGN(amqp_socket_t * socket, socket_of(endpoint));
    timeval wait = timeval_of(deadline.remaining(clock_));
    if (const int status = amqp_socket_open_noblock(socket, host.name.c_str(), host.port, &wait); status != AMQP_STATUS_OK) return broke("connect", status);
    wait = timeval_of(deadline.remaining(clock_));
    amqp_set_handshake_timeout(state_, &wait);
    const ClientProperties properties(purpose);
    const std::string password(endpoint.password.reveal());
    const bool external = endpoint.tls && !endpoint.tls->cert_file.empty() && endpoint.password.empty();
    const amqp_rpc_reply_t reply =
        external ? amqp_login_with_properties(state_, endpoint.vhost.c_str(), AMQP_DEFAULT_MAX_CHANNELS, AMQP_DEFAULT_FRAME_SIZE, kHeartbeat, properties.table(),
                                              AMQP_SASL_METHOD_EXTERNAL, endpoint.user.c_str())
                 : amqp_login_with_properties(state_, endpoint.vhost.c_str(), AMQP_DEFAULT_MAX_CHANNELS, AMQP_DEFAULT_FRAME_SIZE, kHeartbeat, properties.table(),
                                              AMQP_SASL_METHOD_PLAIN, endpoint.user.c_str(), endpoint.password.empty() && endpoint.user == "guest" ? "guest" : password.c_str());
    return check("login as " + escape(endpoint.user, 40) + " to vhost " + escape(endpoint.vhost, 80), reply);
  }

  bool broken() const override { return broken_; }
  std::string where() const override { return where_; }

  Status pump() override {
    for (;;) {
      CLAW_TRY_ASSIGN(const bool more, frame(Deadline(clock_.mono())));
      if (!more) return {};
    }
  }

  Result<std::optional<std::uint64_t>> close_oldest(Deadline deadline) override {
    if (consumers_.empty()) return std::optional<std::uint64_t>();
    const Consumer oldest = consumers_.front();
    CLAW_TRY(close(oldest.channel, deadline));
    if (oldest.active) --active_;
    consumers_.erase(consumers_.begin());
    return std::optional(oldest.held);
  }

  Status close_channels(Deadline deadline) override {
    Status closed;
    for (std::optional<std::uint64_t> held = 0; closed.ok() && held;) {
      Result<std::optional<std::uint64_t>> next = close_oldest(deadline);
      held = next ? *next : std::nullopt;
      if (!next) closed = std::move(next).error();
    }
    if (closed.ok() && channel_ != 0) closed = close(channel_, deadline);
    forget_channels();
    broken_ |= next_channel_ > amqp_get_channel_max(state_) / 2;  // the next hold may need many
    return closed;
  }

  Result<Depth> depth(std::string_view queue, Deadline deadline) override {
    CLAW_TRY(need_channel(deadline));
    set_timeout(deadline);
    const amqp_queue_declare_ok_t* ok = amqp_queue_declare(state_, channel_, bytes_of(queue), 1, 0, 0, 0, amqp_empty_table);
    CLAW_TRY(check("queue " + escape(queue, 120), amqp_get_rpc_reply(state_)));
    return Depth{.ready = ok->message_count, .consumers = ok->consumer_count};
  }

  Status declare_classic(std::string_view queue, Deadline deadline) override {
    return declare(queue, {text_argument("x-queue-type", "classic"), text_argument("x-queue-mode", "lazy"), number_argument("x-queue-version", 2)}, deadline);
  }
  Status declare_quorum(std::string_view queue, bool without_limit, Deadline deadline) override {
    std::vector<amqp_table_entry_t> arguments = {text_argument("x-queue-type", "quorum")};
    if (without_limit) arguments.push_back(number_argument("x-delivery-limit", -1));
    return declare(queue, std::move(arguments), deadline);
  }

  Status consume(std::string_view queue, std::uint16_t prefetch, std::optional<std::string> stream_offset, Deadline deadline) override {
    CLAW_TRY_ASSIGN(const amqp_channel_t channel, open_channel(deadline));
    consumers_.push_back({.channel = channel});
    CLAW_TRY(qos(channel, prefetch, deadline));
    amqp_table_entry_t from{.key = amqp_cstring_bytes("x-stream-offset"), .value = {.kind = AMQP_FIELD_KIND_UTF8, .value = {}}};
    if (stream_offset && *stream_offset != "first") from.value = {.kind = AMQP_FIELD_KIND_I64, .value = {.i64 = std::stoll(*stream_offset)}};
    else from.value.value.bytes = amqp_cstring_bytes("first");
    amqp_basic_consume_t consume{.ticket = 0, .queue = bytes_of(queue), .consumer_tag = amqp_cstring_bytes(kConsumerTag), .no_local = 0, .no_ack = 0, .exclusive = 0, .nowait = 0,
                                 .arguments = stream_offset ? amqp_table_t{1, &from} : amqp_empty_table};
    CLAW_TRY(request("consume from " + escape(queue, 120), channel, AMQP_BASIC_CONSUME_METHOD, &consume, AMQP_BASIC_CONSUME_OK_METHOD, deadline));
    consumers_.back().active = true;
    ++active_;
    return {};
  }

  Status consume_more(std::string_view queue, std::uint16_t prefetch) override {
    CLAW_TRY_ASSIGN(const amqp_channel_t channel, next_number());
    amqp_channel_open_t open{.out_of_band = amqp_empty_bytes};
    amqp_basic_qos_t qos{.prefetch_size = 0, .prefetch_count = prefetch, .global = 0};
    amqp_basic_consume_t consume{.ticket = 0, .queue = bytes_of(queue), .consumer_tag = amqp_cstring_bytes(kConsumerTag), .no_local = 0, .no_ack = 0, .exclusive = 0, .nowait = 1, .arguments = amqp_empty_table};
    int status = amqp_send_method(state_, channel, AMQP_CHANNEL_OPEN_METHOD, &open);
    if (status == AMQP_STATUS_OK) status = amqp_send_method(state_, channel, AMQP_BASIC_QOS_METHOD, &qos);
    if (status == AMQP_STATUS_OK) status = amqp_send_method(state_, channel, AMQP_BASIC_CONSUME_METHOD, &consume);
    if (status != AMQP_STATUS_OK) return broke("consume from " + escape(queue, 120), status);
    consumers_.push_back({.channel = channel, .active = true});
    ++active_;
    return {};
  }

  Result<Event> next(Deadline first, Deadline whole) override {
    while (active_ > 0) {
      CLAW_TRY_ASSIGN(const bool got, frame(first));
      if (!got) return Event{};
      Consumer* const consumer = consumer_on(frame_.channel);
      if (frame_.frame_type != AMQP_FRAME_METHOD || consumer == nullptr) continue;
      const amqp_method_number_t method = frame_.payload.method.id;
      if (method == AMQP_BASIC_DELIVER_METHOD) {
        ++consumer->held;
        return delivery(whole);
      }
      const bool ended = method == AMQP_BASIC_CANCEL_METHOD || method == AMQP_BASIC_CANCEL_OK_METHOD;
      if (ended && std::exchange(consumer->active, false)) --active_;
    }
    return Event{.kind = Event::Kind::stopped, .delivery = {}};
  }

  Status stop() override {
    for (const Consumer& consumer : consumers_) {
      if (!consumer.active) continue;
      amqp_basic_cancel_t cancel{.consumer_tag = amqp_cstring_bytes(kConsumerTag), .nowait = 0};
      if (const int status = amqp_send_method(state_, consumer.channel, AMQP_BASIC_CANCEL_METHOD, &cancel); status != AMQP_STATUS_OK) return broke("cancel", status);
    }
    return {};
  }

  Status acknowledge(std::span<const std::uint64_t> tags, Deadline deadline) override {
    CLAW_CHECK(active_ == 0);  // request() drops deliveries that come before its answer
    std::map<amqp_channel_t, std::vector<std::uint64_t>> by_channel;
    for (const std::uint64_t tag : tags) by_channel[channel_of(tag)].push_back(narrow_tag(tag));
    for (auto& [channel, narrow] : by_channel) CLAW_TRY(acknowledge_on(channel, narrow, deadline));
    return {};
  }

  Status credit(std::uint64_t last_tag) override {
    if (consumer_on(channel_of(last_tag)) == nullptr) return no_channel("ack");
    const int status = amqp_basic_ack(state_, channel_of(last_tag), narrow_tag(last_tag), 1);
    return status == AMQP_STATUS_OK ? Status{} : broke("ack", status);
  }

  Status ping(Deadline deadline) override {
    CLAW_TRY(need_channel(deadline));
    return qos(channel_, 1, deadline);
  }

  Status publish(std::string_view queue, std::string_view properties, std::string_view body, Deadline deadline) override {
    CLAW_TRY(need_channel(deadline));
    if (!confirms_) {
      amqp_confirm_select_t select{.nowait = 0};
      CLAW_TRY(request("confirm.select", channel_, AMQP_CONFIRM_SELECT_METHOD, &select, AMQP_CONFIRM_SELECT_OK_METHOD, deadline));
      confirms_ = true;
    }
    if (unconfirmed_.size() >= kMostUnconfirmed)
      while (unconfirmed_.size() > kMostUnconfirmed / 2) CLAW_TRY(take_confirm(deadline));
    cork(true);
    recycle_amqp_pool(&pool_);
    void* decoded = nullptr;
    if (const int status = amqp_decode_properties(AMQP_BASIC_CLASS, &pool_, bytes_of(properties), &decoded); status < 0)
      return make_error(Code::corrupt, where_ + " publish", amqp_error_string2(status));
    // One header frame holds all properties; a longer one would end the connection.
    if (properties.size() + 64 > static_cast<std::size_t>(amqp_get_frame_max(state_)))
      return make_error(Code::unsupported, where_ + " publish to " + escape(queue, 120), fmt::format("properties of {} bytes, at most {} fit in a frame", properties.size(), amqp_get_frame_max(state_) - 64));
    const int status = amqp_basic_publish(state_, channel_, amqp_empty_bytes, bytes_of(queue), 1, 0, static_cast<const amqp_basic_properties_t*>(decoded), bytes_of(body));
    unconfirmed_.insert(++published_);
    if (status != AMQP_STATUS_OK) {
      Error error = broke("publish to " + escape(queue, 120), status);
      error.code = Code::outcome_unknown;
      return error;
    }
    return {};
  }

  Status confirmed(Deadline deadline) override {
    while (!unconfirmed_.empty()) CLAW_TRY(take_confirm(deadline));
    if (refused_ > 0) return make_error(Code::full, where_ + " publish", fmt::format("the broker refused {} messages: a length limit or an error of the queue", std::exchange(refused_, 0)));
    if (returned_ > 0) return make_error(Code::not_found, where_ + " publish", fmt::format("{} messages came back: no such queue", std::exchange(returned_, 0)));
    return {};
  }

 private:
  Result<amqp_socket_t*> socket_of(const Endpoint& endpoint) {
    if (!endpoint.tls) return amqp_tcp_socket_new(state_);
    amqp_socket_t* socket = amqp_ssl_socket_new(state_);
    if (socket == nullptr) return make_error(Code::unavailable, where_, "no TLS context");
    amqp_ssl_socket_set_verify_peer(socket, 1);
    amqp_ssl_socket_set_verify_hostname(socket, 1);
    amqp_ssl_socket_set_ssl_versions(socket, AMQP_TLSv1_2, AMQP_TLSvLATEST);
    const std::string ca = endpoint.tls->ca_file.empty() ? "/etc/ssl/certs/ca-certificates.crt" : endpoint.tls->ca_file;
    if (amqp_ssl_socket_set_cacert(socket, ca.c_str()) != AMQP_STATUS_OK) return make_error(Code::invalid, where_, "cannot read the CA file " + ca);
    if (!endpoint.tls->cert_file.empty() && amqp_ssl_socket_set_key(socket, endpoint.tls->cert_file.c_str(), endpoint.tls->key_file.c_str()) != AMQP_STATUS_OK)
      return make_error(Code::invalid, where_, "cannot use the certificate " + endpoint.tls->cert_file + " with the key " + endpoint.tls->key_file);
    return socket;
  }

  // While it is on, small messages travel together: a broker reads a packet at a time.
  void cork(bool on) {
    if (std::exchange(corked_, on) == on) return;
    const int value = on ? 1 : 0;
    static_cast<void>(::setsockopt(amqp_get_sockfd(state_), IPPROTO_TCP, TCP_CORK, &value, sizeof value));  // only slower without it
  }

  void set_timeout(Deadline deadline) {
    const timeval wait = timeval_of(deadline.remaining(clock_));
    amqp_set_rpc_timeout(state_, &wait);
  }

  Status need_channel(Deadline deadline) {
    if (broken_) return make_error(Code::unavailable, where_, "the connection is closed");
    if (channel_ != 0) return {};
    CLAW_TRY_ASSIGN(channel_, open_channel(deadline));
    return {};
  }

  // Each is used once, so that no late frame is taken for another channel's.
  Result<amqp_channel_t> next_number() {
    if (broken_) return make_error(Code::unavailable, where_, "the connection is closed");
    if (next_channel_ <= amqp_get_channel_max(state_)) return static_cast<amqp_channel_t>(next_channel_++);
    broken_ = true;
    return make_error(Code::unavailable, where_, "out of channel numbers");
  }

  Result<amqp_channel_t> open_channel(Deadline deadline) {
    CLAW_TRY_ASSIGN(const amqp_channel_t channel, next_number());
    amqp_channel_open_t open{.out_of_band = amqp_empty_bytes};
    CLAW_TRY(request("channel.open", channel, AMQP_CHANNEL_OPEN_METHOD, &open, AMQP_CHANNEL_OPEN_OK_METHOD, deadline));
    return channel;
  }

  Status close(amqp_channel_t channel, Deadline deadline) {
    amqp_channel_close_t close{.reply_code = AMQP_REPLY_SUCCESS, .reply_text = amqp_empty_bytes, .class_id = 0, .method_id = 0};
    return request("channel.close", channel, AMQP_CHANNEL_CLOSE_METHOD, &close, AMQP_CHANNEL_CLOSE_OK_METHOD, deadline);
  }

  // Not opened again behind the caller's back: what it held is no longer held.
  Error no_channel(const std::string& op) const { return make_error(Code::unavailable, where_ + " " + op, "the channel was closed"); }

  void forget_channels() {
    consumers_.clear();
    active_ = 0;
    channel_ = 0;
    confirms_ = false;
    unconfirmed_.clear();
    published_ = 0;
    refused_ = returned_ = 0;
  }

  struct Consumer {
    amqp_channel_t channel = 0;
    bool active = false;
    bool transactions = false;
    std::uint64_t held = 0;
    std::uint64_t acknowledged = 0;  // every tag up to this one
  };

  Consumer* consumer_on(amqp_channel_t channel) {
    if (!consumers_.empty() && consumers_.back().channel == channel) return &consumers_.back();
    const auto found = std::find_if(consumers_.begin(), consumers_.end(), [channel](const Consumer& c) { return c.channel == channel; });
    return found == consumers_.end() ? nullptr : &*found;
  }

  // The broker searches each single tag from the oldest that its channel still holds; a run that begins there costs one step.
  Status acknowledge_on(amqp_channel_t channel, std::vector<std::uint64_t>& tags, Deadline deadline) {
    Consumer* const consumer = consumer_on(channel);
    if (consumer == nullptr) return no_channel("ack");
    if (!consumer->transactions) {
      amqp_tx_select_t select{};
      CLAW_TRY(request("tx.select", channel, AMQP_TX_SELECT_METHOD, &select, AMQP_TX_SELECT_OK_METHOD, deadline));
      consumer->transactions = true;
    }
    std::sort(tags.begin(), tags.end());
    std::size_t run = 0;
    while (run < tags.size() && tags[run] == consumer->acknowledged + 1) consumer->acknowledged = tags[run++];
    const auto ack = [&](std::uint64_t tag, bool multiple) { return amqp_basic_ack(state_, channel, tag, multiple ? 1 : 0); };
    if (run > 0)
      if (const int status = ack(tags[run - 1], true); status != AMQP_STATUS_OK) return broke("ack", status);
    for (const std::uint64_t tag : std::span(tags).subspan(run))
      if (const int status = ack(tag, false); status != AMQP_STATUS_OK) return broke("ack", status);
    consumer->held -= tags.size();
    amqp_tx_commit_t commit{};
    return request("tx.commit", channel, AMQP_TX_COMMIT_METHOD, &commit, AMQP_TX_COMMIT_OK_METHOD, deadline);
  }

  Status declare(std::string_view queue, std::vector<amqp_table_entry_t> arguments, Deadline deadline) {
    CLAW_TRY(need_channel(deadline));
    set_timeout(deadline);
    amqp_queue_declare(state_, channel_, bytes_of(queue), 0, 1, 0, 0, amqp_table_t{static_cast<int>(arguments.size()), arguments.data()});
    return check("declare queue " + escape(queue, 120), amqp_get_rpc_reply(state_));
  }

  Status qos(amqp_channel_t channel, std::uint16_t prefetch, Deadline deadline) {
    amqp_basic_qos_t qos{.prefetch_size = 0, .prefetch_count = prefetch, .global = 0};
    return request("qos", channel, AMQP_BASIC_QOS_METHOD, &qos, AMQP_BASIC_QOS_OK_METHOD, deadline);
  }

  // Sends a method and waits for its answer. Deliveries that come before it are dropped here: they stay held on their channel.
  Status request(const std::string& op, amqp_channel_t channel, amqp_method_number_t method, void* arguments, amqp_method_number_t answer, Deadline deadline) {
    if (channel == 0) return no_channel(op);
    if (const int status = amqp_send_method(state_, channel, method, arguments); status != AMQP_STATUS_OK) return broke(op, status);
    for (;;) {
      Result<bool> got = frame(deadline);
      if (!got) {
        Error error = std::move(got).error();
        error.op += " " + op;
        return error;
      }
      if (!*got) return broke(op, AMQP_STATUS_TIMEOUT);
      if (frame_.frame_type == AMQP_FRAME_METHOD && frame_.channel == channel && frame_.payload.method.id == answer) return {};
    }
  }

  // Reads one frame of a channel into frame_; false when none came. Speaks for channel 0 and answers a channel.close.
  Result<bool> frame(Deadline deadline) {
    if (broken_) return make_error(Code::unavailable, where_, "the connection is closed");
    for (;;) {
      amqp_maybe_release_buffers(state_);
      timeval wait = timeval_of(deadline.remaining(clock_));
      const int status = amqp_simple_wait_frame_noblock(state_, &frame_, &wait);
      if (status == AMQP_STATUS_TIMEOUT) return false;
      if (status != AMQP_STATUS_OK) return broke("read", status);
      if (frame_.frame_type != AMQP_FRAME_METHOD) return true;
      const amqp_method_t& method = frame_.payload.method;
      if (method.id == AMQP_CONNECTION_CLOSE_METHOD || method.id == AMQP_CHANNEL_CLOSE_METHOD) return closed_by_server(method, frame_.channel);
      if (method.id == AMQP_CONNECTION_BLOCKED_METHOD) blocked_ = view(static_cast<const amqp_connection_blocked_t*>(method.decoded)->reason);
      else if (method.id == AMQP_CONNECTION_UNBLOCKED_METHOD) blocked_.clear();
      else return true;
    }
  }

  Result<Event> delivery(Deadline deadline) {
    const auto* deliver = static_cast<const amqp_basic_deliver_t*>(frame_.payload.method.decoded);
    Event event{.kind = Event::Kind::delivery, .delivery = {.tag = wide_tag(frame_.channel, deliver->delivery_tag), .redelivered = deliver->redelivered != 0}};
    exchange_ = view(deliver->exchange);
    routing_key_ = view(deliver->routing_key);
    CLAW_TRY(read_content(frame_.channel, deadline));
    event.delivery.exchange = exchange_;
    event.delivery.routing_key = routing_key_;
    event.delivery.properties = properties_;
    event.delivery.body = body_;
    return event;
  }

  // The header and body frames that follow a deliver or a return. Half a message is no message: the connection ends.
  Status read_content(amqp_channel_t channel, Deadline deadline) {
    CLAW_TRY(content_frame(channel, AMQP_FRAME_HEADER, deadline));
    properties_ = view(frame_.payload.properties.raw);
    const std::uint64_t size = frame_.payload.properties.body_size;
    body_.clear();
    if (size > kMostBody) {
      broken_ = true;
      return make_error(Code::full, where_, fmt::format("a message of {} bytes, expected at most {}", size, kMostBody));
    }
    body_.reserve(size);
    while (body_.size() < size) {
      CLAW_TRY(content_frame(channel, AMQP_FRAME_BODY, deadline));
      body_ += view(frame_.payload.body_fragment);
    }
    return {};
  }

  Status content_frame(amqp_channel_t channel, std::uint8_t type, Deadline deadline) {
    CLAW_TRY_ASSIGN(const bool got, frame(deadline));
    if (!got) return broke("read a message", AMQP_STATUS_TIMEOUT);
    if (frame_.frame_type == type && frame_.channel == channel) return {};
    broken_ = true;
    return make_error(Code::corrupt, where_, fmt::format("frame of type {} within a message, expected {}", frame_.frame_type, type));
  }

  Status take_confirm(Deadline deadline) {
    cork(false);
    CLAW_TRY_ASSIGN(const bool got, frame(deadline));
    if (!got) {
      return make_error(Code::outcome_unknown, where_ + " publish",
                        blocked_.empty() ? fmt::format("{} messages were not confirmed in time", unconfirmed_.size())
                                         : fmt::format("{} messages were not confirmed: the broker blocks publishers ({})", unconfirmed_.size(), escape(blocked_, 60)));
    }
    if (frame_.frame_type != AMQP_FRAME_METHOD || frame_.channel != channel_) return {};
    if (frame_.payload.method.id == AMQP_BASIC_RETURN_METHOD) {
      ++returned_;
      return read_content(channel_, deadline);
    }
    if (frame_.payload.method.id == AMQP_BASIC_ACK_METHOD) {
      const auto* ack = static_cast<const amqp_basic_ack_t*>(frame_.payload.method.decoded);
      settle(ack->delivery_tag, ack->multiple != 0);
    } else if (frame_.payload.method.id == AMQP_BASIC_NACK_METHOD) {
      const auto* nack = static_cast<const amqp_basic_nack_t*>(frame_.payload.method.decoded);
      refused_ += settle(nack->delivery_tag, nack->multiple != 0);
    }
    return {};
  }

  std::size_t settle(std::uint64_t tag, bool multiple) {
    if (!multiple) return unconfirmed_.erase(tag);
    const auto end = unconfirmed_.upper_bound(tag);
    const auto count = static_cast<std::size_t>(std::distance(unconfirmed_.begin(), end));
    unconfirmed_.erase(unconfirmed_.begin(), end);
    return count;
  }

  Error closed_by_server(const amqp_method_t& method, amqp_channel_t channel) {
    int code = 0;
    std::string text;
    if (method.id == AMQP_CONNECTION_CLOSE_METHOD) {
      const auto* close = static_cast<const amqp_connection_close_t*>(method.decoded);
      code = close->reply_code;
      text = view(close->reply_text);
      broken_ = true;
      amqp_connection_close_ok_t ok{};
      amqp_send_method(state_, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
    } else {
      const auto* close = static_cast<const amqp_channel_close_t*>(method.decoded);
      code = close->reply_code;
      text = view(close->reply_text);
      amqp_channel_close_ok_t ok{};
      amqp_send_method(state_, channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
      broken_ = consumer_on(channel) != nullptr && consumers_.size() > 1;  // what the others hold comes back when the connection is dropped
    }
    forget_channels();
    return make_error(code_of(code), where_, fmt::format("closed by the server: {} {}", code, escape(text, 200)));
  }

  Error broke(const std::string& op, int status) {
    broken_ = true;
    forget_channels();
    std::string what = status == AMQP_STATUS_TIMEOUT ? "no answer before the deadline" : amqp_error_string2(status);
    if (status == AMQP_STATUS_SSL_HOSTNAME_VERIFY_FAILED) what += "; expected a certificate for this host name";
    return make_error(code_of_status(status), where_ + " " + op, what);
  }

  Status check(const std::string& op, const amqp_rpc_reply_t& reply) {
    switch (reply.reply_type) {
      case AMQP_RESPONSE_NORMAL: return {};
      case AMQP_RESPONSE_NONE: return broke(op, AMQP_STATUS_CONNECTION_CLOSED);
      case AMQP_RESPONSE_LIBRARY_EXCEPTION: return broke(op, reply.library_error);
      case AMQP_RESPONSE_SERVER_EXCEPTION: break;
    }
    Error error = closed_by_server(reply.reply, channel_);
    error.op += " " + op;
    return error;
  }

  Clock& clock_;
  std::string where_;
  amqp_connection_state_t state_;
  amqp_pool_t pool_{};
  amqp_frame_t frame_{};
  int next_channel_ = 1;
  amqp_channel_t channel_ = 0;
  bool broken_ = false;
  std::vector<Consumer> consumers_;  // in the order they were begun
  int active_ = 0;                   // of them
  bool confirms_ = false;
  bool corked_ = false;
  std::uint64_t published_ = 0;
  std::set<std::uint64_t> unconfirmed_;
  std::size_t refused_ = 0, returned_ = 0;
  std::string blocked_;  // the reason while the broker blocks publishers
  std::string exchange_, routing_key_, properties_, body_;
};

}  // namespace

Result<std::unique_ptr<Connection>> Connection::open(const Endpoint& endpoint, std::span<const Host> hosts, std::string_view purpose, Clock& clock, Deadline deadline) {
  Error last = make_error(Code::invalid, "rabbitmq", "no host");
  for (const Host& host : hosts) {
    auto connection = std::make_unique<Amqp>(clock, host);
    const Status in = connection->login(endpoint, host, purpose, deadline);
    if (in.ok()) return std::unique_ptr<Connection>(std::move(connection));
    last = in.error();
    if (last.code == Code::denied) break;  // another node of the same cluster would say the same
  }
  return last;
}

}  // namespace claw::rabbitmq
