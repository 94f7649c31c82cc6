#include "agent/scan.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace claw {
namespace {

constexpr std::size_t kPagesInFlight = 4;
constexpr Millis kPageTimeout{30'000};

// Pages go from the reader to the examiner and come back empty, so that buffers are reused.
class Conveyor {
 public:
  // Blocks while too many pages wait: the reader is held back, memory is not.
  void put(Batch page, std::uint32_t queue) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_.size() < kPagesInFlight; });
    waiting_.emplace_back(std::move(page), queue);
    changed_.notify_all();
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }
  // False when closed and empty.
  bool take(std::pair<Batch, std::uint32_t>& page) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_ || !waiting_.empty(); });
    if (waiting_.empty()) return false;
    page = std::move(waiting_.front());
    waiting_.pop_front();
    changed_.notify_all();
    return true;
  }
  void give_back(Batch page) {
    const std::lock_guard lock(mutex_);
    if (free_.size() < kPagesInFlight) free_.push_back(std::move(page));
  }
  Batch blank() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return {};
    Batch page = std::move(free_.back());
    free_.pop_back();
    return page;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<Batch, std::uint32_t>> waiting_;
  std::vector<Batch> free_;
  bool closed_ = false;
};

Status read_pages(Broker& broker, std::span<const QueueView> queues, std::uint32_t first_index, Conveyor& conveyor, std::vector<OpenLook>& open, Clock& clock,
                  const ScanProgress& progress) {
  std::uint64_t total = 0, done = 0;
  for (const QueueView& queue : queues) total += queue.entries;
  for (std::size_t q = 0; q < queues.size(); ++q) {
    if (queues[q].entries == 0) continue;
    CLAW_TRY_ASSIGN(auto window, broker.look(queues[q], Deadline::in(clock, kPageTimeout)));
    for (;;) {
      if (progress.brake_on()) return make_error(Code::refused, "scan", "the brake is on");
      Batch page = conveyor.blank();
      CLAW_TRY_ASSIGN(const bool more, window->next(page, Deadline::in(clock, kPageTimeout)));
      if (!more) break;
      done += page.entries().size();
      conveyor.put(std::move(page), first_index + static_cast<std::uint32_t>(q));
      progress.advance(done, total);
    }
    if (queues[q].look.kind == LookKind::take) open.push_back({first_index + static_cast<std::uint32_t>(q), std::move(window)});
  }
  return {};
}

}  // namespace

Status scan_queues(Broker& broker, std::span<const QueueView> queues, std::uint32_t first_index, detect::Tally& tally, std::vector<OpenLook>& open,
                   Clock& clock, const ScanProgress& progress) {
  Conveyor conveyor;
  std::jthread examiner([&] {
    content::Inspector inspector;
    for (std::pair<Batch, std::uint32_t> page; conveyor.take(page);) {
      tally.add(detect::examine(page.first, page.second, inspector));
      conveyor.give_back(std::move(page.first));
    }
  });
  Status read = read_pages(broker, queues, first_index, conveyor, open, clock, progress);
  conveyor.close();
  examiner.join();
  return read;
}

}  // namespace claw
