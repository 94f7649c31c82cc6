#include "agent/scan.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "base/text.h"

namespace claw {
namespace {

constexpr std::size_t kPagesInFlight = 4;
constexpr unsigned kMostExaminers = 4;
constexpr Millis kPageTimeout{60'000};  // a long hold of RabbitMQ is given back within its last page

// Who learnt what is usual in a page's queue, and which page of it this is.
struct Page {
  Batch batch;
  std::uint32_t queue = 0;
  std::uint64_t number = 0;
  std::shared_ptr<const detect::Learnt> learnt;
};

// Pages go from the reader to the examiners and come back empty, so that buffers are reused.
class Conveyor {
 public:
  // False, and the page left as it is, while too many wait.
  bool offer(Page& page) {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() == kPagesInFlight) return false;
    waiting_.push_back(std::move(page));
    changed_.notify_one();
    return true;
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }
  // False when closed and empty.
  bool take(Page& page) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_ || !waiting_.empty(); });
    if (waiting_.empty()) return false;
    page = std::move(waiting_.front());
    waiting_.pop_front();
    return true;
  }
  void give_back(Batch page) {
    const std::lock_guard lock(mutex_);
    if (free_.size() < kPagesInFlight + kMostExaminers) free_.push_back(std::move(page));
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
  std::deque<Page> waiting_;
  std::vector<Batch> free_;
  bool closed_ = false;
};

// The pages that one thread examines.
class Share {
 public:
  Share(Conveyor& conveyor, detect::Tally& tally) : conveyor_(conveyor), tally_(tally) {}

  void examine(Page page) {
    if (so_far_.ok()) so_far_ = examiners_.try_emplace(page.queue, *page.learnt, page.queue, tally_.store()).first->second.examine(page.batch, page.number);
    conveyor_.give_back(std::move(page.batch));
  }
  Status finish() {
    for (auto& [queue, examiner] : examiners_) tally_.add(std::move(examiner));
    return std::move(so_far_);
  }

 private:
  Conveyor& conveyor_;
  detect::Tally& tally_;
  std::map<std::uint32_t, detect::Examiner> examiners_;  // by queue
  Status so_far_;
};

// One queue's pages on their way: the first ones wait until what is usual has been learnt from them.
class QueuePages {
 public:
  QueuePages(std::uint32_t queue, const content::Agreed& agreed, std::uint64_t sampled, Conveyor& conveyor, Share& own)
      : queue_(queue), conveyor_(conveyor), own_(own), learner_(agreed, sampled) {}

  void add(Batch batch) {
    if (learnt_ == nullptr) learner_.learn(batch);
    held_.push_back(std::move(batch));
    if (learnt_ != nullptr || !learner_.wants_more()) send();
  }
  void end() { send(); }

 private:
  void send() {
    if (learnt_ == nullptr) learnt_ = std::make_shared<const detect::Learnt>(learner_.freeze());
    for (Batch& batch : held_) {
      Page page{std::move(batch), queue_, number_++, learnt_};
      // Where the examiners are behind, the reader is one of them: memory stays bounded and no core waits.
      if (!conveyor_.offer(page)) own_.examine(std::move(page));
    }
    held_.clear();
  }

  std::uint32_t queue_;
  Conveyor& conveyor_;
  Share& own_;
  detect::Learner learner_;
  std::shared_ptr<const detect::Learnt> learnt_;
  std::vector<Batch> held_;
  std::uint64_t number_ = 0;
};

Status read_pages(Broker& broker, std::span<const QueueView> queues, std::uint32_t first_index, const content::Agreed& agreed, Conveyor& conveyor,
                  Share& own, detect::Tally& tally, std::vector<OpenLook>& open, Clock& clock, const ScanProgress& progress) {
  std::uint64_t total = 0, done = 0;
  for (const QueueView& queue : queues) total += queue.entries;
  for (std::size_t q = 0; q < queues.size(); ++q) {
    if (queues[q].entries == 0) continue;
    if (!queues[q].look.refusal.empty()) {
      progress.note(escape(queues[q].id.text(), 120) + ": not looked at: " + queues[q].look.refusal);
      continue;
    }
    CLAW_TRY_ASSIGN(auto window, broker.look(queues[q], Deadline::in(clock, kPageTimeout)));
    QueuePages pages(first_index + static_cast<std::uint32_t>(q), agreed, detect::sample_mask(queues[q].entries), conveyor, own);
    for (;;) {
      if (progress.brake_on()) return make_error(Code::refused, "scan", "the brake is on");
      Batch page = conveyor.blank();
      CLAW_TRY_ASSIGN(const bool more, window->next(page, Deadline::in(clock, kPageTimeout)));
      if (!more) break;
      done += page.entries().size();
      pages.add(std::move(page));
      progress.advance(done, total);
    }
    pages.end();
    if (window->tells_what_left()) tally.tells_what_left(first_index + static_cast<std::uint32_t>(q));
    if (const std::string remark = window->remark(); !remark.empty()) progress.note(escape(queues[q].id.text(), 120) + ": " + remark);
    if (window->holds()) open.push_back({first_index + static_cast<std::uint32_t>(q), std::move(window)});
  }
  return {};
}

}  // namespace

Status scan_queues(Broker& broker, std::span<const QueueView> queues, std::uint32_t first_index, const content::Agreed& agreed,
                   detect::Tally& tally, std::vector<OpenLook>& open, Clock& clock, const ScanProgress& progress) {
  Conveyor conveyor;
  Share own(conveyor, tally);
  std::mutex examined_mutex;
  Status examined;
  const auto finish = [&](Share& share) {
    Status mine = share.finish();
    const std::lock_guard lock(examined_mutex);
    if (!mine.ok()) examined = std::move(mine);
  };
  std::vector<std::jthread> examiners;
  // One core is the reader's.
  for (unsigned i = 0; i < std::clamp(std::thread::hardware_concurrency(), 2u, kMostExaminers + 1) - 1; ++i)
    examiners.emplace_back([&] {
      Share share(conveyor, tally);
      for (Page page; conveyor.take(page);) share.examine(std::move(page));  // to the end, whatever fails: the tally is whole
      finish(share);
    });
  Status read = read_pages(broker, queues, first_index, agreed, conveyor, own, tally, open, clock, progress);
  conveyor.close();
  finish(own);
  examiners.clear();
  return read.ok() ? std::move(examined) : std::move(read);
}

}  // namespace claw
