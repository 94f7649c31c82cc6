#include "redis/operations.h"

namespace claw::redis {
namespace {

constexpr std::int64_t kPage = 2'000;
constexpr std::int64_t kInFlight = 4;

// One list from its head, in pages with several in flight. Entries pushed or popped meanwhile shift the indexes by a
// few; a removal checks the bytes at its place and searches nearby, so an index here is a hint and never a proof.
class ListReader {
 public:
  ListReader(std::string key, std::uint64_t mark, const Evidence& evidence) : key_(std::move(key)), mark_(mark), evidence_(evidence) {}

  Status open(Connection& connection, Deadline deadline) {
    CLAW_TRY_ASSIGN(const Reply length, connection.call({"LLEN", key_}, deadline));
    length_ = length.root().integer();
    opened_ = true;
    return {};
  }
  bool opened() const { return opened_; }
  const std::string& key() const { return key_; }
  // What was asked and not read is asked anew.
  void rewind() { asked_ = read_; }

  Result<bool> next(Connection& connection, Reply& reply, Batch& page, Deadline deadline) {
    while (asked_ < length_ && asked_ - read_ < kInFlight * kPage) {
      connection.send({"LRANGE", key_, std::to_string(asked_), std::to_string(std::min(asked_ + kPage, length_) - 1)});
      asked_ = std::min(asked_ + kPage, length_);
    }
    if (read_ >= length_) return false;
    CLAW_TRY(connection.receive_into(reply, deadline));
    if (reply.root().is_error()) return to_error(reply.root().text(), "LRANGE " + key_);
    const std::int64_t first = read_;
    read_ = std::min(read_ + kPage, length_);
    Reply::View value = reply.root().first();
    for (std::size_t i = 0; i < reply.root().size(); ++i, value = value.next()) {
      const auto index = static_cast<std::uint64_t>(first) + i;
      const Field field{"", value.text()};
      page.add({index | mark_, static_cast<std::uint64_t>(length_) - index - 1}, std::span(&field, 1), evidence_);
    }
    if (reply.root().size() < static_cast<std::size_t>(read_ - first)) length_ = std::min(length_, asked_);  // it became shorter
    page.adopt(reply.release_buffer());
    return true;
  }

 private:
  std::string key_;
  std::uint64_t mark_;
  Evidence evidence_;
  std::int64_t length_ = 0;
  std::int64_t asked_ = 0;  // first index not yet asked for
  std::int64_t read_ = 0;   // first index not yet read
  bool opened_ = false;
};

class ListWindow final : public Window {
 public:
  ListWindow(Servers& servers, std::vector<ListReader> lists) : servers_(servers), lists_(std::move(lists)) {}

  Result<bool> next(Batch& page, Deadline deadline) override {
    reply_.reuse_buffer(page.recycle());
    page.clear();
    for (; at_ < lists_.size(); ++at_, connection_ = nullptr) {
      CLAW_TRY_ASSIGN(const bool more, read(lists_[at_], page, deadline));
      if (more) return true;
    }
    return false;
  }

 private:
  // A look changes nothing, so it goes on where it was after a restart, a failover or a move of the key.
  Result<bool> read(ListReader& list, Batch& page, Deadline deadline) {
    for (int tries = 0;; ++tries) {
      Result<bool> more = one_page(list, page, deadline);
      if (more) return more;
      CLAW_TRY_ASSIGN(connection_, servers_.recover(more.error(), list.key(), Repeat::reads, tries, deadline));
      list.rewind();
    }
  }
  Result<bool> one_page(ListReader& list, Batch& page, Deadline deadline) {
    page.clear();
    if (connection_ == nullptr) {
      CLAW_TRY_ASSIGN(connection_, servers_.serving(list.key(), deadline));
    }
    if (!list.opened()) CLAW_TRY(list.open(*connection_, deadline));
    return list.next(*connection_, reply_, page, deadline);
  }

  Servers& servers_;
  Connection* connection_ = nullptr;  // of the list under way
  Reply reply_;
  std::vector<ListReader> lists_;
  std::size_t at_ = 0;
};

}  // namespace

std::unique_ptr<Window> look_list(Servers& servers, const QueueView& queue) {
  std::vector<ListReader> lists;
  // Stuck in the processing list: given to a consumer that neither finished it nor put it back.
  if (!queue.processing.empty()) lists.emplace_back(queue.processing, kProcessingBit, Evidence{.pending = 1, .attempts = 2});
  if (!queue.dead_letter.empty()) lists.emplace_back(queue.dead_letter, kDeadBit, Evidence{.attempts = 2, .dead_lettered = true});
  lists.emplace_back(queue.id.name, 0, Evidence{.waiting = 1});
  return std::make_unique<ListWindow>(servers, std::move(lists));
}

}  // namespace claw::redis
