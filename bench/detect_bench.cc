// How fast messages are looked at: detect_bench NAME FILE. The floor is simdjson's DOM parse of the same bytes by as many
// threads in the same run; the best of several turns of each, taken in turns. Prints one JSON object.
#include <fmt/format.h>
#include <simdjson.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "bench/corpus.h"

namespace claw::bench {
namespace {

constexpr int kTurns = 12;

double milliseconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

Corpus load(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  Corpus corpus;
  std::string body;
  for (char head[5]; in.read(head, 5);) {
    std::uint32_t size = 0;
    std::memcpy(&size, head + 1, 4);
    body.resize(size);
    in.read(body.data(), size);
    corpus.add(body, head[0] == 'p' ? Evidence{.passed = 1} : head[0] == 'f' ? Evidence{.pending = 1, .attempts = 3} : Evidence{.waiting = 1});
  }
  corpus.seal();
  return corpus;
}

std::atomic<std::size_t> refused;  // so that no parse is optimised away

void parse(const Corpus& corpus, std::size_t threads) {
  std::vector<std::jthread> running;
  for (std::size_t t = 0; t < threads; ++t)
    running.emplace_back([&, t] {
      simdjson::dom::parser parser;
      const std::size_t n = corpus.samples.size();
      std::size_t bad = 0;
      for (std::size_t i = n * t / threads; i < n * (t + 1) / threads; ++i) {
        simdjson::dom::element root;
        bad += parser.parse(reinterpret_cast<const std::uint8_t*>(corpus.body(i).data()), corpus.body(i).size(), false).get(root) != simdjson::SUCCESS;
      }
      refused += bad;
    });
}

double peak_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

double resident_mib() {
  std::ifstream statm("/proc/self/statm");
  double size = 0, resident = 0;
  statm >> size >> resident;
  return resident * 4096 / (1024 * 1024);
}

}  // namespace

int run(const std::string& name, const std::string& file) {
  const Corpus corpus = load(file);
  const double before = resident_mib();
  double floor[2] = {1e12, 1e12}, look[2] = {1e12, 1e12}, mining = 1e12, learning = 1e12;
  std::size_t findings = 0;
  std::uint64_t named = 0;
  double after = before;
  for (int turn = 0; turn < kTurns; ++turn)
    for (const std::size_t threads : {1u, 2u}) {
      floor[threads - 1] = std::min(floor[threads - 1], milliseconds([&] { parse(corpus, threads); }));
      detect::Learner learner;
      detect::Tally tally;
      double learnt = 0;
      look[threads - 1] = std::min(look[threads - 1], milliseconds([&] {
                                     const detect::Learnt* reader = nullptr;
                                     learnt = milliseconds([&] { reader = &corpus.learn(learner); });
                                     corpus.examine(*reader, threads, tally);
                                   }));
      learning = std::min(learning, learnt);
      if (turn == 0 && threads == 1) after = resident_mib();
      Observation seen;
      mining = std::min(mining, milliseconds([&] { seen = corpus.conclude(tally); }));
      findings = seen.findings.size();
      named = seen.findings.empty() ? 0 : seen.findings[0].count;
    }
  const auto messages = static_cast<double>(corpus.samples.size());
  const auto whole = [](double x) { return std::round(x * 10) / 10; };
  const auto ratio = [](double a, double b) { return std::round(a / b * 100) / 100; };
  fmt::print("{}\n", nlohmann::json{{"corpus", name}, {"messages", corpus.samples.size()}, {"mean_bytes", whole(static_cast<double>(corpus.bytes.size()) / messages)},
                                    {"dom_floor_ms", whole(floor[0])}, {"dom_floor_two_ms", whole(floor[1])}, {"one_thread_ms", whole(look[0])}, {"two_threads_ms", whole(look[1])},
                                    {"ratio_one", ratio(look[0], floor[0])}, {"ratio_two", ratio(look[1], floor[1])}, {"learning_ms", whole(learning)}, {"mining_ms", whole(mining)}, {"peak_rss_mib", whole(peak_mib())},
                                    {"bytes_a_message", whole((after - before) * 1024 * 1024 / messages)}, {"findings", findings}, {"first_finding_messages", named}}.dump());
  return 0;
}

}  // namespace claw::bench

int main(int argc, char** argv) { return argc == 3 ? claw::bench::run(argv[1], argv[2]) : 2; }
