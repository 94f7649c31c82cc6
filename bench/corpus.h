// Messages in memory, looked at as the agent looks at a queue: learnt from the first pages, then dealt to examiners.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "detect/detect.h"
#include "model/message.h"

namespace claw::bench {

struct Sample {
  std::uint64_t offset;
  std::uint32_t size;
  Evidence evidence;
};

class Corpus {
 public:
  static constexpr std::size_t kPage = 2'000;

  void add(std::string_view body, const Evidence& evidence = {}) {
    samples.push_back({bytes.size(), static_cast<std::uint32_t>(body.size()), evidence});
    bytes += body;
  }
  // Call once after the last add(): a parser may read beyond a body.
  void seal() {
    bytes.append(Batch::kPadding, ' ');
    batches_.resize(pages());
    for (std::size_t p = 0; p < batches_.size(); ++p) page(p, batches_[p]);
  }
  std::string_view body(std::size_t i) const { return std::string_view(bytes).substr(samples[i].offset, samples[i].size); }

  void page(std::size_t number, Batch& batch) const {
    batch.clear();
    for (std::size_t i = number * kPage; i < std::min(samples.size(), (number + 1) * kPage); ++i) {
      const Field field{"payload", body(i)};
      batch.add({i + 1, 0}, std::span(&field, 1), samples[i].evidence);
    }
  }
  std::size_t pages() const { return (samples.size() + kPage - 1) / kPage; }

  const detect::Learnt& learn(detect::Learner& learner) const {
    for (std::size_t p = 0; p < pages() && learner.wants_more(); ++p) learner.learn(batches_[p]);
    return learner.freeze();
  }

  // Every thread takes a share of the pages.
  void examine(const detect::Learnt& learnt, std::size_t threads, detect::Tally& tally) const {
    std::vector<detect::Examiner> examiners;
    for (std::size_t t = 0; t < threads; ++t) examiners.emplace_back(learnt, 0, tally.store());
    std::vector<std::jthread> running;
    for (std::size_t t = 0; t < threads; ++t)
      running.emplace_back([&, t] {
        for (std::size_t p = pages() * t / threads; p < pages() * (t + 1) / threads; ++p) static_cast<void>(examiners[t].examine(batches_[p], p));  // all of it stays in memory: nothing can fail
      });
    running.clear();
    for (detect::Examiner& examiner : examiners) tally.add(std::move(examiner));
  }

  Observation conclude(detect::Tally& tally) const {
    QueueView queue;
    queue.id = {"bench", "queue"};
    return *detect::conclude(tally, "bench", {queue}, {});
  }

  Observation observe(std::size_t threads) const {
    detect::Learner learner;
    detect::Tally tally;
    examine(learn(learner), threads, tally);
    return conclude(tally);
  }

  std::string bytes;
  std::vector<Sample> samples;

 private:
  std::vector<Batch> batches_;  // as an adapter hands them over
};

}  // namespace claw::bench
