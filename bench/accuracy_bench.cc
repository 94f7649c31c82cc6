// How often detection is right: labelled queues of five kinds, four ways in which consumers fail, and simpler methods beside it.
//
// The data is made by rules that know nothing of the detector: a record is a row of fields, some rows are dirty, and a
// consumer with a list of what it cannot bear decides what is poison. Dirt that it does not read, or bears, is harmless.
// Everything follows from the seeds below.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "bench/corpus.h"
#include "content/strict_json.h"
#include "detect/population.h"

namespace claw::bench {
namespace {

constexpr std::size_t kMessages = 100'000;
constexpr double kDelivered = 0.6;  // of the queue, from its head
constexpr std::uint64_t kSeeds[] = {11, 23, 37, 41, 59};

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t below(std::uint64_t n) { return engine_() % n; }
  bool chance(double p) { return static_cast<double>(engine_() >> 11) * 0x1p-53 < p; }
  const char* pick(std::initializer_list<const char*> of) { return *(of.begin() + below(of.size())); }
  std::string hex(std::size_t n) {
    std::string out;
    while (out.size() < n) out += "0123456789abcdef"[below(16)];
    return out;
  }

 private:
  std::mt19937_64 engine_;
};

// The ways in which a cell may be dirty.
enum class Dirt { null, missing, wrong_type, empty, padded, placeholder, typo, new_value, negative, huge, not_a_number, unquoted, bad_escape, count_ };

struct Column {
  std::string name;
  std::function<std::string(Dice&)> cell;  // as JSON
  std::vector<Dirt> may;                   // dirt seen here
  std::vector<Dirt> kills;                 // of it, what the consumer cannot bear
  double optional = 0;                     // share of rows without it
};

struct Table {
  std::string name;
  std::vector<Column> columns;
  std::function<bool(const std::string& row, const std::string& column, Dirt)> only;  // narrows kills to some rows
  bool truncates = false;  // some bodies are cut off: always poison
};

std::string in_quotes(const std::string& s) { return "\"" + s + "\""; }

std::string soiled(const std::string& cell, Dirt dirt, Dice& dice) {
  const std::string bare = cell.size() > 1 && cell.front() == '"' ? cell.substr(1, cell.size() - 2) : cell;
  switch (dirt) {
    case Dirt::null: return "null";
    case Dirt::wrong_type: return cell.front() == '"' ? std::to_string(dice.below(100'000)) : in_quotes(cell);
    case Dirt::empty: return "\"\"";
    case Dirt::padded: return in_quotes(" " + bare + " ");
    case Dirt::placeholder: return in_quotes(dice.pick({"N/A", "null", "None"}));
    case Dirt::typo: {
      std::string s = bare.empty() ? "x" : bare;
      s[dice.below(s.size())] = "xX#?"[dice.below(4)];
      return in_quotes(s);
    }
    case Dirt::new_value: return in_quotes(dice.pick({"legacy", "LEGACY-2"}));
    case Dirt::negative: return "-" + std::to_string(1 + dice.below(5'000));
    case Dirt::huge: return "92233720368547758070";
    case Dirt::not_a_number: return "NaN";
    case Dirt::unquoted: return "x" + bare.substr(0, bare.find_first_of("\"\\{[,:"));
    case Dirt::bad_escape: return in_quotes("a\\x" + std::to_string(dice.below(10)));
    case Dirt::missing: case Dirt::count_: break;
  }
  return cell;
}

std::vector<Table> tables() {
  using enum Dirt;
  const auto number = [](std::uint64_t below) { return [below](Dice& d) { return std::to_string(d.below(below)); }; };
  const auto word = [](std::initializer_list<const char*> of) {
    const std::vector<const char*> all(of);
    return [all](Dice& d) { return in_quotes(all[d.below(all.size())]); };
  };
  std::vector<Table> all;
  all.push_back({.name = "hospital", .columns = {
      {"provider", [](Dice& d) { return in_quotes(std::to_string(10'000 + d.below(90'000))); }, {wrong_type, typo, null}, {null, typo}},
      {"name", word({"Callahan Eye Hospital", "Marshall Medical", "Eliza Coffee Memorial", "St Vincent's East", "Cherokee Medical Center"}), {empty, padded, typo}, {}},
      {"state", word({"AL", "AK", "AR", "AZ", "CA"}), {new_value, padded, null}, {null}},
      {"zip", [](Dice& d) { return in_quotes(std::to_string(35'000 + d.below(2'000))); }, {typo, wrong_type, missing}, {typo}},
      {"score", [](Dice& d) { return in_quotes(std::to_string(d.below(101)) + "%"); }, {placeholder, empty, null}, {placeholder}},
      {"sample", [](Dice& d) { return in_quotes(std::to_string(d.below(900)) + " patients"); }, {empty, null, placeholder}, {}, 0.1}}});
  all.push_back({.name = "flights", .columns = {
      {"flight", [](Dice& d) { return in_quotes(fmt::format("AA-{}-ORD-{}", 1'000 + d.below(9'000), d.pick({"PHX", "LAX", "SFO"}))); }, {padded, empty}, {empty}},
      {"departs", [](Dice& d) { return in_quotes(fmt::format("2011-12-{:02}T{:02}:{:02}:00Z", 1 + d.below(28), d.below(24), d.below(60))); }, {typo, missing, null, placeholder}, {missing, placeholder}},
      {"gate", [](Dice& d) { return in_quotes(fmt::format("{}{}", d.pick({"A", "B", "C"}), 1 + d.below(40))); }, {empty, null, typo}, {}, 0.3},
      {"delay", number(200), {negative, wrong_type, not_a_number, null}, {wrong_type, null}},
      {"source", word({"aa", "orbitz", "flightview", "gofox"}), {new_value, missing}, {}}}});
  all.push_back({.name = "orders", .columns = {
      {"version", [](Dice& d) { return d.pick({"1", "2", "2", "3"}); }, {}, {}},
      {"id", [](Dice& d) { return in_quotes(d.hex(8) + "-" + d.hex(4) + "-" + d.hex(12)); }, {unquoted, bad_escape, empty}, {unquoted, bad_escape, empty}},
      {"amount", [](Dice& d) { return fmt::format("{}.{:02}", 1 + d.below(900), d.below(100)); }, {wrong_type, negative, null, huge}, {null}},
      {"currency", word({"EUR", "USD", "GBP", "PLN"}), {new_value, null, padded}, {new_value}},
      {"items", [](Dice& d) { return fmt::format("[{{\"sku\":\"A-{}\",\"qty\":{}}},{{\"sku\":\"B-{}\",\"qty\":{}}}]", d.below(99), 1 + d.below(5), d.below(99), 1 + d.below(5)); }, {null, empty}, {null}},
      {"note", word({"", "gift", "call first", "{see ticket}", "[draft]"}), {null, typo}, {}, 0.5}}, .truncates = true});
  all.push_back({.name = "jobs", .columns = {
      {"class", word({"Mailer", "Invoice", "Thumbnail", "Export", "Cleanup"}), {}, {}},
      {"jid", [](Dice& d) { return in_quotes(d.hex(24)); }, {missing}, {missing}},
      {"user_id", number(1'000'000), {null, wrong_type, negative}, {null, wrong_type}},
      {"locale", word({"de", "en", "fr"}), {null, new_value, empty}, {null}},
      {"args", [](Dice& d) { return fmt::format("[{},\"{}\",{{\"retry\":{}}}]", d.below(1'000), d.hex(6), d.pick({"true", "false"})); }, {null}, {}}},
      .only = [](const std::string& row, const std::string& column, Dirt) { return column != "user_id" || row.find("\"Invoice\"") != std::string::npos; }});
  all.push_back({.name = "telemetry", .columns = {
      {"device", [](Dice& d) { return in_quotes("dev_" + std::to_string(d.below(5'000))); }, {padded, null}, {null}},
      {"at", [](Dice& d) { return std::to_string(1'700'000'000'000 + d.below(1'000'000'000)); }, {wrong_type, negative, huge}, {huge, wrong_type}},
      {"value", [](Dice& d) { return fmt::format("{}.{}", d.below(90), d.below(1'000)); }, {not_a_number, null, negative, placeholder}, {not_a_number, placeholder}},
      {"unit", word({"C", "hPa", "%", "lux"}), {new_value, empty}, {}},
      {"meta", [](Dice& d) { return in_quotes(fmt::format("{{\\\"fw\\\":\\\"1.{}\\\",\\\"ok\\\":true}}", d.below(5))); }, {null, empty, typo}, {}, 0.4}}});
  return all;
}

struct Record {
  std::string body;
  bool poison = false;
};

Record make_record(const Table& table, Dice& dice) {
  std::vector<std::pair<std::string, std::string>> row;
  std::string text;
  for (const Column& c : table.columns) {
    if (dice.chance(c.optional)) continue;
    row.emplace_back(c.name, c.cell(dice));
    text += row.back().second;
  }
  Record record;
  if (dice.chance(0.08)) {
    const Column& c = table.columns[dice.below(table.columns.size())];
    const auto at = std::find_if(row.begin(), row.end(), [&](const auto& cell) { return cell.first == c.name; });
    if (at != row.end() && !c.may.empty()) {
      const Dirt dirt = c.may[dice.below(c.may.size())];
      record.poison = std::count(c.kills.begin(), c.kills.end(), dirt) > 0 && (!table.only || table.only(text, c.name, dirt));
      if (dirt == Dirt::missing) row.erase(at);
      else at->second = soiled(at->second, dirt, dice);
    }
  }
  record.body = "{";
  for (const auto& [name, cell] : row) record.body += (record.body.size() > 1 ? ",\"" : "\"") + name + "\":" + cell;
  record.body += "}";
  if (table.truncates && dice.chance(0.006)) {
    record.body.resize(1 + dice.below(record.body.size() - 2));
    record.poison = true;
  }
  return record;
}

enum class Mode { single_reject, crash_requeues_prefetch, whole_batch_fails, redis_pending };
constexpr const char* kModes[] = {"single_reject", "crash_requeues_prefetch", "whole_batch_fails", "redis_pending"};

// What deliveries leave behind, by how consumers fail. Valid messages near poison suffer with it in three of the modes.
std::vector<Evidence> deliver(const std::vector<Record>& records, Mode mode, Dice& dice) {
  const auto reached = static_cast<std::size_t>(static_cast<double>(records.size()) * kDelivered);
  std::vector<Evidence> evidence(records.size(), Evidence{.waiting = 1});
  const auto near = [&](std::size_t i) {
    const std::size_t from = mode == Mode::whole_batch_fails ? i / 10 * 10 : i < 5 ? 0 : i - 5;
    const std::size_t to = std::min(reached, mode == Mode::whole_batch_fails ? from + 10 : i + 6);
    for (std::size_t k = from; k < to; ++k)
      if (records[k].poison) return true;
    return false;
  };
  for (std::size_t i = 0; i < reached; ++i) {
    const bool pending = mode == Mode::redis_pending;
    if (records[i].poison) {
      evidence[i] = {.pending = pending, .waiting = !pending, .attempts = static_cast<std::uint32_t>(3 + dice.below(8)), .idle_ms = 1'000'000};
      continue;
    }
    evidence[i] = {.passed = 1};
    if (mode == Mode::single_reject || !near(i) || !dice.chance(0.5)) continue;
    std::uint32_t attempts = 1;
    while (attempts < 10 && dice.chance(mode == Mode::redis_pending ? 0.1 : 0.5)) ++attempts;
    evidence[i] = {.pending = pending, .waiting = !pending, .attempts = attempts, .idle_ms = 1'000'000};
  }
  return evidence;
}

struct Score {
  std::uint64_t right = 0, wrong = 0, missed = 0;
  double precision() const { return right + wrong == 0 ? 1 : static_cast<double>(right) / static_cast<double>(right + wrong); }
  double recall() const { return right + missed == 0 ? 1 : static_cast<double>(right) / static_cast<double>(right + missed); }
  double f1() const { return 2 * precision() * recall() / std::max(1e-9, precision() + recall()); }
  void count(bool flagged, bool poison) { (flagged ? (poison ? right : wrong) : missed) += flagged || poison; }
  nlohmann::json json() const { return {{"precision", std::round(precision() * 1e4) / 1e4}, {"recall", std::round(recall() * 1e4) / 1e4}, {"flagged", right + wrong}, {"wrong", wrong}}; }
};

struct Report {
  Score at_90, at_50, waiting_50, supported_90, attempts, parse, contract, risk_ratio;
  std::uint64_t valid = 0;
  double calibration = 0, flagged = 0;  // sum of |confidence - share of poison| weighted by messages
};

void score(const Corpus& corpus, const std::vector<Record>& records, Report& report) {
  const Observation seen = corpus.observe(2);
  std::vector<double> bound(records.size());
  std::vector<std::uint64_t> support(records.size());
  for (std::size_t f = 0; f < seen.findings.size(); ++f) {
    std::uint64_t poison = 0;
    for (const PoisonRef& member : seen.members[f]) {
      const std::size_t i = member.key.high - 1;
      bound[i] = seen.findings[f].lower_bound;
      support[i] = seen.findings[f].evidence.failing_messages;
      poison += records[i].poison;
    }
    const auto n = static_cast<double>(seen.members[f].size());
    if (seen.findings[f].lower_bound < 0.5 || n == 0) continue;
    report.calibration += std::fabs(seen.findings[f].confidence - static_cast<double>(poison) / n) * n;
    report.flagged += n;
  }
  if (std::getenv("CLAW_BENCH_VERBOSE") != nullptr)
    for (std::size_t f = 0; f < seen.findings.size(); ++f) {
      std::uint64_t poison = 0;
      for (const PoisonRef& member : seen.members[f]) poison += records[member.key.high - 1].poison;
      fmt::print(stderr, "  {:.4f} {:.4f} {}/{} {}\n", seen.findings[f].confidence, seen.findings[f].lower_bound, poison, seen.members[f].size(), seen.findings[f].explanation);
    }
  detect::Learner learner;
  content::FeatureReader reader(corpus.learn(learner).reader);
  for (std::size_t i = 0; i < records.size(); ++i) {
    const Evidence& e = corpus.samples[i].evidence;
    if (e.passed > 0 && e.attempts == 0) {
      report.valid += 1;
      report.at_90.count(bound[i] >= 0.9, records[i].poison);
      continue;  // gone by now: only a false alarm counts
    }
    const bool poison = records[i].poison;
    report.valid += !poison;
    report.at_90.count(bound[i] >= 0.9, poison);
    report.at_50.count(bound[i] >= 0.5, poison);
    if (support[i] >= 300) report.supported_90.count(bound[i] >= 0.9, poison);
    if (e.attempts == 0) report.waiting_50.count(bound[i] >= 0.5, poison);
    report.attempts.count(e.attempts >= 3, poison);
    report.parse.count(!content::walk_json(corpus.body(i)).kind.empty(), poison);
    const Field field{"payload", corpus.body(i)};
    const content::Features& features = reader.read(std::span(&field, 1));
    const bool novel = std::any_of(features.values.begin(), features.values.end(), [](std::uint8_t id) { return id >= content::kFirstNovel; });
    report.contract.count(features.defect || novel || !features.deviations.empty(), poison);
  }
  // DIFF: single predicates with risk ratio >= 10 and support >= 1% of the outliers (three deliveries or more).
  detect::Tally tally;
  detect::Learner again;
  corpus.examine(corpus.learn(again), 2, tally);
  detect::Population population(tally.examiners(), 1);
  std::vector<std::pair<double, double>> of(population.atoms.size());  // outliers, others
  double outliers = 0, others = 0;
  const auto atoms_of = [&](const detect::Seen& s, const content::Values& v, auto&& f) {
    for (const detect::Has& has : population.rows[s.row]) f(has.atom);
    for (std::size_t c = 0; c < population.queues[0].columns; ++c)
      for (const detect::Has& has : population.queues[0].values[c][v[c]]) f(has.atom);
  };
  population.each([&](std::uint32_t, const detect::Seen& s, const detect::Kept& page, const detect::Chunk&, std::size_t i) {
    const bool outlier = s.attempts >= 3;
    (outlier ? outliers : others) += 1;
    atoms_of(s, page.values(i), [&](detect::AtomId a) { (outlier ? of[a].first : of[a].second) += 1; });
  });
  population.each([&](std::uint32_t, const detect::Seen& s, const detect::Kept& page, const detect::Chunk&, std::size_t i) {
    if (s.passes > 0) return;
    bool flagged = false;
    atoms_of(s, page.values(i), [&](detect::AtomId a) {
      const auto [x, y] = of[a];
      const double with = x / std::max(1.0, x + y), without = (outliers - x) / std::max(1.0, outliers + others - x - y);
      flagged = flagged || (x >= outliers * 0.01 && with >= 10 * without);
    });
    report.risk_ratio.count(flagged, records[s.key.high - 1].poison);
  });
}

nlohmann::json report_json(const Report& r) {
  return {{"at_90", r.at_90.json()}, {"at_50", r.at_50.json()}, {"at_90_with_300_failures", r.supported_90.json()}, {"never_delivered_f1_at_50", std::round(r.waiting_50.f1() * 1e4) / 1e4},
          {"calibration_error", r.flagged == 0 ? 0 : std::round(r.calibration / r.flagged * 1e4) / 1e4}, {"false_per_million_at_90", std::round(1e7 * static_cast<double>(r.at_90.wrong) / static_cast<double>(std::max<std::uint64_t>(1, r.valid))) / 10},
          {"valid", r.valid},
          {"baselines", {{"delivered_3_times", r.attempts.json()}, {"parse_failure", r.parse.json()}, {"inferred_contract", r.contract.json()}, {"risk_ratio_10", r.risk_ratio.json()}}}};
}

// Nothing here may be removed, and the words must say what it was.
nlohmann::json scenario(const std::string& name, const std::function<std::pair<std::string, Evidence>(std::size_t, Dice&)>& make) {
  Dice dice(97);
  Corpus corpus;
  for (std::size_t i = 0; i < kMessages / 2; ++i) {
    const auto [body, evidence] = make(i, dice);
    corpus.add(body, evidence);
  }
  corpus.seal();
  const Observation seen = corpus.observe(2);
  std::uint64_t removed = 0;
  for (const Finding& f : seen.findings) removed += f.lower_bound >= 0.5 ? f.count : 0;
  std::vector<std::string> words = seen.notes;
  if (!seen.outage.empty()) words.push_back(seen.outage);
  for (const Finding& f : seen.findings) words.push_back(f.explanation);
  return {{"name", name}, {"would_be_removed", removed}, {"words", words}};
}

nlohmann::json scenarios() {
  const Table orders = tables()[2];
  const auto clean = [orders](Dice& d) {
    for (;;)
      if (Record r = make_record(orders, d); !r.poison && content::walk_json(r.body).kind.empty()) return r.body;
  };
  const std::size_t half = kMessages / 4, delivered = kMessages * 3 / 8;
  const Evidence passed{.passed = 1}, failed{.pending = 1, .attempts = 5}, waits{.waiting = 1};
  const auto with = [](std::string body, const std::string& member) { return body.insert(1, member); };
  nlohmann::json all;
  all.push_back(scenario("outage", [=](std::size_t i, Dice& d) { return std::pair(clean(d), i < half ? (d.chance(0.05) ? passed : failed) : waits); }));
  all.push_back(scenario("outage_after_a_deploy", [=](std::size_t i, Dice& d) {
    return std::pair(i < half ? clean(d) : with(clean(d), "\"channel\":\"app\","), i < half ? passed : i < delivered ? failed : waits);
  }));
  all.push_back(scenario("new_optional_field", [=](std::size_t i, Dice& d) { return std::pair(i < half ? clean(d) : with(clean(d), "\"channel\":\"app\","), i < delivered ? passed : waits); }));
  all.push_back(scenario("new_enum_value", [=](std::size_t i, Dice& d) {
    std::string body = clean(d);
    if (const std::size_t at = body.find("\"GBP\""); i >= half && at != std::string::npos) body.replace(at, 5, "\"CHF\"");
    return std::pair(body, i < delivered ? passed : waits);
  }));
  all.push_back(scenario("widened_type_not_delivered_yet", [=](std::size_t i, Dice& d) { return std::pair(i < delivered ? clean(d) : with(clean(d), "\"total\":\"12.50\","), i < delivered ? passed : waits); }));
  return all;
}

}  // namespace

int run() {
  nlohmann::json results = {{"messages_a_queue", kMessages}, {"seeds", kSeeds}};
  std::map<std::string, Report> sum;
  const std::vector<Table> all = tables();
  for (std::size_t t = 0; t < all.size(); ++t) {
    Dice dice(kSeeds[t]);
    std::vector<Record> records;
    for (std::size_t i = 0; i < kMessages; ++i) records.push_back(make_record(all[t], dice));
    for (std::size_t m = 0; m < 4; ++m) {
      const std::vector<Evidence> evidence = deliver(records, static_cast<Mode>(m), dice);
      Corpus corpus;
      for (std::size_t i = 0; i < records.size(); ++i) corpus.add(records[i].body, evidence[i]);
      corpus.seal();
      Report one;
      score(corpus, records, one);
      results["queues"][all[t].name][kModes[m]] = report_json(one);
      fmt::print(stderr, "{:10} {:24} {}\n", all[t].name, kModes[m], report_json(one).dump());
      Report& s = sum[kModes[m]];
      for (auto [a, b] : {std::pair(&s.at_90, &one.at_90), {&s.at_50, &one.at_50}, {&s.waiting_50, &one.waiting_50}, {&s.supported_90, &one.supported_90}, {&s.attempts, &one.attempts}, {&s.parse, &one.parse}, {&s.contract, &one.contract}, {&s.risk_ratio, &one.risk_ratio}})
        a->right += b->right, a->wrong += b->wrong, a->missed += b->missed;
      s.valid += one.valid, s.calibration += one.calibration, s.flagged += one.flagged;
    }
  }
  for (const auto& [mode, report] : sum) results["modes"][mode] = report_json(report);
  results["scenarios"] = scenarios();
  fmt::print("{}\n", nlohmann::json{{"bench", "accuracy"}, {"machine", {{"cores", std::thread::hardware_concurrency()}}}, {"results", results}}.dump(1));
  return 0;
}

}  // namespace claw::bench

int main() { return claw::bench::run(); }
