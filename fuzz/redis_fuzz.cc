// A server that answers anything to any command: every operation of the adapter on one connection ends with a value or an error.
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "redis/operations.h"
#include "redis/parser.h"

namespace {

using namespace claw;

class Scripted final : public redis::Connection {
 public:
  explicit Scripted(std::string_view bytes) {
    std::memcpy(parser_.room(bytes.size()).data(), bytes.data(), bytes.size());
    parser_.commit(bytes.size());
  }
  void send(std::span<const std::string_view>) override { ++awaited_; }
  using Connection::send;
  Status flush(Deadline) override { return {}; }
  Status receive_into(redis::Reply& reply, Deadline) override {
    if (broken_) return make_error(Code::unavailable, "fuzz", "broken");
    Result<bool> whole = parser_.next(reply);
    broken_ = !whole.ok() || !*whole;
    if (awaited_ > 0) --awaited_;
    if (!whole.ok()) return whole.error();
    return broken_ ? Status(make_error(Code::unavailable, "fuzz", "no more")) : Status();
  }
  Result<redis::Reply> receive(Deadline deadline) override {
    redis::Reply reply;
    CLAW_TRY(receive_into(reply, deadline));
    return reply;
  }
  std::uint64_t awaited() const override { return awaited_; }
  bool broken() const override { return broken_; }
  std::string where() const override { return "fuzz:1"; }
  Clock& clock() override { return system_clock(); }

 private:
  redis::Parser parser_;
  std::uint64_t awaited_ = 0;
  bool broken_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const QueueType type = data[1] % 2 == 0 ? QueueType::stream : QueueType::list;
  const bool list = type == QueueType::list;
  Scripted connection(std::string_view(reinterpret_cast<const char*>(data) + 2, size - 2));
  const Deadline deadline = Deadline::in(system_clock(), Millis(60'000));
  const QueueId queue_id{"b", "q"};
  PlannedQueue queue{.queue = queue_id, .type = type, .entries = 10, .quarantine = "{q}:quarantine", .messages = {}};
  std::vector<Message> messages;
  for (std::uint64_t i = 1; i <= 3; ++i) {
    const std::string id = list ? "list:" + std::to_string(i) + "@0123456789abcdef" : std::to_string(i) + "-0";
    queue.messages.push_back({.id = id, .key = {i, 0}, .signature = 0, .attempts = 2});
    messages.push_back({.id = id, .key = {i, 0}, .fields = {{list ? "" : "f", "v"}}, .groups = {{.group = "g", .standing = GroupState::Standing::pending}}});
  }
  switch (data[0] % 3) {
    case 0: static_cast<void>(redis::read_messages(connection, queue, queue.messages, {}, deadline).ok()); break;
    case 1: {
      const RemoveRequest request{.queue = queue, .messages = messages, .execution_id = "queue_remediation_1"};
      const auto removals = redis::remove_messages(connection, request, deadline);
      CLAW_CHECK(!removals.ok() || removals->size() == messages.size());
      break;
    }
    default:
      static_cast<void>(redis::restore_messages(connection, {.queue = queue_id, .type = type, .execution_id = "queue_remediation_1", .quarantine = "{q}:quarantine", .messages = messages}, deadline).ok());
  }
  return 0;
}
