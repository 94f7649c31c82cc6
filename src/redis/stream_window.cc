#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "redis/operations.h"

namespace claw::redis {
namespace {

constexpr std::size_t kPage = 2'000;  // entries: more and the bytes leave the cache before they are examined, fewer and round trips count
constexpr std::size_t kMostGroups = 2'000;  // what each did with each message is asked and kept
constexpr const char* kPendingPage = "10000";

MessageKey after(MessageKey key) { return key.low == UINT64_MAX ? MessageKey{key.high + 1, 0} : MessageKey{key.high, key.low + 1}; }

// The pages of a stream's range: the next one is asked for as soon as its first id is known, so that the server works on
// it while this one is examined. Answers come in order: call() takes an awaited page in before it asks something else.
class Pages {
 public:
  Pages(Connection& connection, std::string key) : connection_(&connection), key_(std::move(key)) {}

  // Another connection serves the key now: what was asked on the old one is forgotten.
  void move_to(Connection& connection) {
    connection_ = &connection;
    awaited_ = taken_in_ = false;
  }
  void ask(MessageKey from, MessageKey end) {
    connection_->send({"XRANGE", key_, stream_id(from), stream_id(end), "COUNT", std::to_string(kPage)});
    awaited_ = true;
  }
  bool asked() const { return awaited_ || taken_in_; }
  Status flush(Deadline deadline) { return connection_->flush(deadline); }

  // The page that was asked for, into `reply`, whose buffers are reused.
  Status take(Reply& reply, Deadline deadline) {
    CLAW_CHECK(asked());
    if (!taken_in_) {
      awaited_ = false;
      return connection_->receive_into(reply, deadline);
    }
    std::swap(reply, ahead_);
    taken_in_ = false;
    return {};
  }
  Result<Reply> call(Words words, Deadline deadline) {
    if (awaited_) {
      awaited_ = false;
      CLAW_TRY(connection_->receive_into(ahead_, deadline));
      taken_in_ = true;
    }
    return connection_->call(words, deadline);
  }

  const std::string& key() const { return key_; }

 private:
  Connection* connection_;
  std::string key_;
  Reply ahead_;
  bool awaited_ = false;
  bool taken_in_ = false;
};

// One group's pending entries in id order, a page at a time, walked in lockstep with the stream.
class PendingCursor {
 public:
  // `ever_read`: false of a group that was made at the stream's end, or moved there, and of which nobody knows that it took anything.
  PendingCursor(std::string group, MessageKey last_delivered, bool ever_read) : group_(std::move(group)), last_delivered_(last_delivered), ever_read_(ever_read) {}

  // Forgets what it read, so that it may be asked for an earlier key again.
  void rewind() {
    page_.clear();
    at_ = 0;
    done_ = false;
  }

  // Of a page's entries, in id order, what this group did with each.
  Status judge(Pages& pages, std::span<Batch::Entry> entries, Deadline deadline) {
    for (auto& [key, first_field, field_count, evidence] : entries) {
      if (last_delivered_ < key) {
        ++evidence.waiting;
        continue;
      }
      for (;;) {
        while (at_ < page_.size() && page_[at_].key < key) ++at_;
        if (at_ < page_.size() || done_) break;
        CLAW_TRY(load(pages, key, deadline));
      }
      if (at_ == page_.size() || page_[at_].key != key) {
        evidence.passed += ever_read_;
        continue;
      }
      ++evidence.pending;
      if (page_[at_].attempts < evidence.attempts) continue;
      evidence.attempts = page_[at_].attempts;
      evidence.idle_ms = page_[at_].idle_ms;
    }
    return {};
  }

 private:
  struct Pending {
    MessageKey key;
    std::uint32_t attempts;
    std::uint64_t idle_ms;
  };

  Status load(Pages& pages, MessageKey from, Deadline deadline) {
    page_.clear();
    at_ = 0;
    CLAW_TRY_ASSIGN(const Reply reply, pages.call({"XPENDING", pages.key(), group_, stream_id(from), "+", kPendingPage}, deadline));
    Reply::View entry = reply.root().first();
    for (std::size_t i = 0; i < reply.root().size(); ++i, entry = entry.next()) {
      const Reply::View id = entry.first(), consumer = id.next(), idle = consumer.next(), attempts = idle.next();
      CLAW_TRY_ASSIGN(const MessageKey key, parse_stream_id(id.text()));
      page_.push_back({key, static_cast<std::uint32_t>(std::min<std::int64_t>(attempts.integer(), UINT32_MAX)), static_cast<std::uint64_t>(idle.integer())});
    }
    done_ = page_.size() < 10'000;
    return {};
  }

  std::string group_;
  MessageKey last_delivered_;
  bool ever_read_;
  std::vector<Pending> page_;
  std::size_t at_ = 0;
  bool done_ = false;
};

class StreamWindow final : public Window {
 public:
  StreamWindow(Servers& servers, Connection& connection, std::string key) : servers_(servers), key_(key), pages_(connection, std::move(key)) {}

  Status open(Deadline deadline) {
    CLAW_TRY_ASSIGN(const Reply last, pages_.call({"XREVRANGE", key_, "+", "-", "COUNT", "1"}, deadline));
    if (last.root().size() == 0) return {};
    CLAW_TRY_ASSIGN(end_, parse_stream_id(last.root().first().first().text()));
    CLAW_TRY_ASSIGN(const Reply groups, pages_.call({"XINFO", "GROUPS", key_}, deadline));
    if (groups.root().size() > kMostGroups)
      return make_error(Code::unsupported, "look at " + escape(key_, 120), fmt::format("it has {} consumer groups, at most {} are followed", groups.root().size(), kMostGroups));
    Reply::View group = groups.root().first();
    for (std::size_t i = 0; i < groups.root().size(); ++i, group = group.next()) {
      std::string name;
      MessageKey delivered;
      bool ever_read = false;
      Reply::View field = group.first();
      for (std::size_t f = 0; f + 1 < group.size(); f += 2, field = field.next().next()) {
        const Reply::View value = field.next();
        if (field.text() == "name") name = value.text();
        if (field.text() == "consumers") ever_read |= value.integer() > 0;
        if (field.text() == "entries-read") ever_read |= !value.is_nil();
        if (field.text() != "last-delivered-id") continue;
        CLAW_TRY_ASSIGN(delivered, parse_stream_id(value.text()));
      }
      groups_.emplace_back(std::move(name), delivered, ever_read);
    }
    more_ = true;
    return {};
  }

  // A look changes nothing, so it goes on where it was after a restart, a failover or a move of the key.
  Result<bool> next(Batch& page, Deadline deadline) override {
    reply_.reuse_buffer(page.recycle());
    const MessageKey first = from_;
    const bool more = more_;
    for (int tries = 0;; ++tries) {
      page.clear();
      Result<bool> read = read_page(page, deadline);
      if (read) return read;
      CLAW_TRY_ASSIGN(Connection* connection, servers_.recover(read.error(), key_, Repeat::reads, tries, deadline));
      pages_.move_to(*connection);
      for (PendingCursor& group : groups_) group.rewind();
      from_ = first;
      more_ = more;
    }
  }

 private:
  Result<bool> read_page(Batch& page, Deadline deadline) {
    if (!more_) return false;
    if (!pages_.asked()) pages_.ask(from_, end_);
    CLAW_TRY(pages_.take(reply_, deadline));
    if (reply_.root().is_error()) return to_error(reply_.root().text(), "XRANGE " + key_);
    CLAW_TRY(go_on(deadline));
    CLAW_TRY(fill(page));
    for (PendingCursor& group : groups_) CLAW_TRY(group.judge(pages_, page.mutable_entries(), deadline));
    page.adopt(reply_.release_buffer());
    return !page.entries().empty();
  }

  // Asks for the page after this one.
  Status go_on(Deadline deadline) {
    const std::size_t count = reply_.root().size();
    more_ = count == kPage;
    if (!more_) return {};
    Reply::View last = reply_.root().first();
    for (std::size_t i = 1; i < count; ++i) last = last.next();
    CLAW_TRY_ASSIGN(const MessageKey key, parse_stream_id(last.first().text()));
    more_ = key < end_;
    if (!more_) return {};
    from_ = after(key);
    pages_.ask(from_, end_);
    return pages_.flush(deadline);
  }

  Status fill(Batch& page) {
    std::vector<Field> fields;
    Reply::View entry = reply_.root().first();
    for (std::size_t i = 0; i < reply_.root().size(); ++i, entry = entry.next()) {
      CLAW_TRY_ASSIGN(const MessageKey key, parse_stream_id(entry.first().text()));
      const Reply::View pairs = entry.first().next();
      fields.clear();
      Reply::View name = pairs.first();
      for (std::size_t f = 0; f + 1 < pairs.size(); f += 2) {
        const Reply::View value = name.next();
        fields.push_back({name.text(), value.text()});
        name = value.next();
      }
      page.add(key, fields, {});
    }
    return {};
  }

  Servers& servers_;
  std::string key_;
  Pages pages_;
  Reply reply_;
  std::vector<PendingCursor> groups_;
  MessageKey from_;
  MessageKey end_;
  bool more_ = false;
};

}  // namespace

Result<std::unique_ptr<Window>> look_stream(Servers& servers, Connection& connection, const QueueView& queue, Deadline deadline) {
  auto window = std::make_unique<StreamWindow>(servers, connection, queue.id.name);
  CLAW_TRY(window->open(deadline));
  return std::unique_ptr<Window>(std::move(window));
}

}  // namespace claw::redis
