// The conformance suite on real servers.
#include "testing/conformance.h"

#include "redis/adapter.h"
#include "redis/connection.h"
#include "redis/url.h"
#include "testing/redis_server.h"

namespace claw::testing {
namespace {

Deadline soon() { return Deadline::in(system_clock(), Millis(10'000)); }

class RedisBench final : public Bench {
 public:
  explicit RedisBench(QueueType type) : type_(type) {
    static_cast<void>(server().command({"FLUSHALL"}));
    connection_ = *redis::Connection::open(redis::parse_url(server().url())->seeds.front(), system_clock(), soon());
  }
  std::unique_ptr<Broker> connect() override { return *redis::open_redis({.name = "r", .url = server().url()}, system_clock(), soon()); }
  Claim claim() const override { return {"t", {.broker = "r", .match = "*", .processing = "", .dead = ""}}; }
  void publish(const std::vector<std::string>& bodies) override {
    for (const std::string& body : bodies) type_ == QueueType::stream ? connection_->send({"XADD", "q", "*", "payload", body}) : connection_->send({"RPUSH", "q", body});
    for (std::size_t i = 0; i < bodies.size(); ++i) EXPECT_TRUE(connection_->receive(soon()).ok());
  }
  std::vector<std::string> ready() override {
    const redis::Reply reply = type_ == QueueType::stream ? *connection_->call({"XRANGE", "q", "-", "+"}, soon()) : *connection_->call({"LRANGE", "q", "0", "-1"}, soon());
    std::vector<std::string> out;
    redis::Reply::View entry = reply.root().first();
    for (std::size_t i = 0; i < reply.root().size(); ++i, entry = entry.next())
      out.emplace_back(type_ == QueueType::stream ? entry.first().next().first().next().text() : entry.text());
    return out;
  }
  void consume(const std::string& body) override {
    if (type_ == QueueType::list) return static_cast<void>(connection_->call({"LREM", "q", "1", body}, soon()).ok());
    const redis::Reply reply = *connection_->call({"XRANGE", "q", "-", "+"}, soon());
    redis::Reply::View entry = reply.root().first();
    for (std::size_t i = 0; i < reply.root().size(); ++i, entry = entry.next())
      if (entry.first().next().first().next().text() == body) static_cast<void>(connection_->call({"XDEL", "q", entry.first().text()}, soon()).ok());
  }
  void lose_quarantine(const std::string& quarantine) override { EXPECT_TRUE(connection_->call({"DEL", quarantine}, soon()).ok()); }

 private:
  static const RedisServer& server() {
    static const RedisServer one;
    return one;
  }
  QueueType type_;
  std::unique_ptr<redis::Connection> connection_;
};

INSTANTIATE_TEST_SUITE_P(Redis, Conformance, ::testing::Values(bench_of<RedisBench>("stream", QueueType::stream), bench_of<RedisBench>("list", QueueType::list)), bench_name);

}  // namespace
}  // namespace claw::testing
