#include "detect/mine.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <tuple>

#include "detect/beta.h"

namespace claw::detect {
namespace {

constexpr std::uint64_t kLeastSupport = 3;     // failing messages
constexpr std::size_t kMostExtended = 25;      // atoms that a second one is looked for
constexpr std::uint64_t kNeighbourhood = 200;  // delivered messages after the last failure that still count as its time
constexpr std::uint64_t kEnoughPasses = 20;    // others that passed in that time
constexpr std::uint64_t kProvesStructure = 20;  // failures of messages with broken structure
constexpr double kLeastBound = 0.2;
constexpr double kGeneralises = 0.9;

// Which messages have an atom, some of its subs only.
struct Side {
  std::vector<std::uint8_t> row;
  std::vector<std::vector<std::pair<std::size_t, std::bitset<256>>>> values;  // by queue: column, ids

  bool match(std::uint32_t queue, const Seen& seen, const Kept& page, std::size_t i) const {
    if (row[seen.row] != 0) return true;
    if (values[queue].empty()) return false;
    const content::Values of = page.values(i);
    return std::any_of(values[queue].begin(), values[queue].end(), [&](const auto& side) { return side.second.test(of[side.first]); });
  }
};

class Miner {
 public:
  explicit Miner(Population& population) : all_(population) {}

  Mining run() {
    count();
    while (out_.signatures.size() < kMostSignatures) {
      std::optional<Mined> best = pick();
      if (!best) break;
      take(std::move(*best));
    }
    out_.rest = total_;
    out_.left = atoms_;
    return std::move(out_);
  }

 private:
  struct Scored {
    Mined what;
    Counts counts;
    double lower = 0, score = 0;
    bool significant = false;
  };

  void count() {
    row_counts_.assign(all_.rows.size(), {});
    value_counts_.resize(all_.queues.size());
    for (std::uint32_t q = 0; q < all_.queues.size(); ++q) count(all_.queues[q], value_counts_[q]);
    for (const Counts& row : row_counts_) total_.add(row);
    out_.total = total_;
    out_.passes_visible = total_.passes > 0;
    fold();
  }

  // Most messages failed nowhere: all there is to count of them fits one vector.
  void count(Population::Queue& queue, std::vector<Counts>& values) {
    using Untroubled [[gnu::vector_size(16)]] = std::uint32_t;  // messages, passes, waiting, in flight
    values.assign(queue.columns * 256, {});
    constexpr std::size_t kStride = 261;  // 256 would put the columns' counts of one id into one set of the cache
    std::vector<Untroubled> untroubled(queue.columns * kStride, Untroubled{});
    Untroubled* const counts = untroubled.data();
    for (Chunk* chunk : queue.chunks) {
      const Kept all = all_.kept(*chunk);
      chunk->explained.assign(chunk->size, 0);
      const std::size_t columns = queue.columns;
      for (std::size_t i = 0; i < all.size(); ++i) {
        const Seen seen = all.seen(i);
        const content::Values value = all.values(i);
        row_counts_[seen.row].add(seen);
        if (seen.level != 0) {
          for (std::size_t c = 0; c < columns; ++c) values[c * 256 + value[c]].add(seen);
          continue;
        }
        const bool here = !seen.evidence_only;
        const Untroubled one = {here, seen.passes > 0, seen.waiting && here, seen.in_flight};
        for (std::size_t c = 0; c < columns; ++c) counts[c * kStride + value[c]] += one;
      }
    }
    for (std::size_t i = 0; i < values.size(); ++i) {
      const Untroubled& more = untroubled[i / 256 * kStride + i % 256];
      values[i].messages += more[0], values[i].passes += more[1], values[i].waiting += more[2], values[i].in_flight += more[3];
    }
  }

  // Counts of rows and values into counts of atoms.
  void fold() {
    atoms_.assign(all_.atoms.size(), {});
    subs_.resize(all_.atoms.size());
    for (std::size_t a = 0; a < atoms_.size(); ++a) subs_[a].assign(all_.subs[a].size(), {});
    const auto add = [&](const std::vector<Has>& has, const Counts& counts) {
      for (std::size_t i = 0; i < has.size(); ++i) {
        if (i == 0 || has[i].atom != has[i - 1].atom) atoms_[has[i].atom].add(counts);
        subs_[has[i].atom][has[i].sub].add(counts);
      }
    };
    for (std::size_t r = 0; r < all_.rows.size(); ++r) add(all_.rows[r], row_counts_[r]);
    for (std::size_t q = 0; q < all_.queues.size(); ++q)
      for (std::size_t c = 0; c < all_.queues[q].columns; ++c)
        for (std::size_t id = 1; id < 256; ++id) add(all_.queues[q].values[c][id], value_counts_[q][c * 256 + id]);
  }

  // The attributable probability of failing at a level: lower bound for ranking, and whether chance can be ruled out.
  double bound(const Mined& what, const Counts& with, std::size_t level, std::size_t tests, bool& significant) const {
    const auto s = static_cast<double>(with.stuck[level]), others = static_cast<double>(total_.stuck[level] - with.stuck[level]);
    const double alpha = std::log(0.01 / static_cast<double>(tests));
    if (comparable(out_, what)) {
      const auto passed = static_cast<double>(with.passes + what.passed_before);
      const double q0 = wilson_upper(others, others + others_passed(what, with));
      significant = log_tail(s, s + passed, q0) <= alpha;
      return q0 >= 1 ? 0 : (wilson_lower(s, s + passed) - q0) / (1 - q0);
    }
    // No pass is visible: how much more often it is among what fails than among what waits.
    const double share = wilson_upper(static_cast<double>(with.waiting), static_cast<double>(total_.waiting));
    significant = total_.waiting > 0 && log_tail(s, s + others, share) <= alpha;
    return std::fmin(kCapWithoutPasses, 1 - share * (s + others) / s);
  }

  double others_passed(const Mined& what, const Counts& with) const {
    return static_cast<double>(total_.passes - with.passes) + static_cast<double>(what.all_before - std::min(what.all_before, what.passed_before));
  }

  std::uint64_t passes_of(AtomId atom, std::uint32_t sub) const { return subs_[atom][sub].passes + (all_.remembered.empty() ? 0 : all_.remembered[atom].by_sub[sub]); }

  // Best level of attempts for what these counts are of.
  void rate(Scored& scored, std::size_t tests) const {
    recall(all_, scored.what);
    for (std::size_t level = 1; level < kLevels.size(); ++level) {
      if (scored.counts.stuck[level] < kLeastSupport) break;
      bool significant = false;
      const double lower = bound(scored.what, scored.counts, level, tests, significant);
      if (!significant || lower <= scored.lower + 1e-9) continue;
      scored.lower = lower;
      scored.significant = true;
      scored.what.level = static_cast<std::uint8_t>(level);
    }
    if (!scored.significant) return;
    const auto s = static_cast<double>(scored.counts.stuck[scored.what.level]), all = static_cast<double>(total_.stuck[scored.what.level]);
    const double sure = std::fmax(scored.lower, 1e-6), large = std::log(s + 1) / std::log(all + 2);
    double cost = scored.what.with != kNoAtom ? 0.02 : 0;
    if (all_.atoms[scored.what.atom].kind == Atom::Kind::any_defect) cost += 0.05;
    scored.score = std::floor((2 / (1 / sure + 1 / large) - cost) * 1e6 + 0.5);
  }

  // A general atom means those of its subs that fail and do not pass.
  Counts meant(AtomId atom, Mined& what) const {
    if (!all_.atoms[atom].general()) return atoms_[atom];
    Counts sum;
    std::uint64_t failing = 0, passing = 0;
    for (std::uint32_t sub = 0; sub < subs_[atom].size(); ++sub) {
      const Counts& c = subs_[atom][sub];
      if (const std::uint64_t passes = passes_of(atom, sub); passes > 0 && passes * 20 > c.stuck[1]) {
        ++passing;
        what.harmless.push_back(sub);
      } else if (fails_for_sure(atom, c)) {
        ++failing;
        what.subs.push_back(sub);
        sum.add(c);
      }
    }
    what.generalises = like_seen(failing, passing) >= kGeneralises;
    if (!what.generalises) {
      if (all_.atoms[atom].kind == Atom::Kind::defect) add_broken_structure(atom, what, sum);
      return sum;
    }
    for (std::uint32_t sub = 0; sub < subs_[atom].size(); ++sub)
      if (!fails_for_sure(atom, subs_[atom][sub]) && passes_of(atom, sub) == 0) what.subs.push_back(sub), sum.add(subs_[atom][sub]);
    std::sort(what.subs.begin(), what.subs.end());
    return sum;
  }
  // Where broken structure fails and never passes, every way of breaking it does: no parser takes a bare word or an open
  // string. Control characters, escapes, leading zeroes and trailing commas are another matter: some parsers take them.
  void add_broken_structure(AtomId atom, Mined& what, Counts& sum) const {
    std::uint64_t failing = 0, passing = 0;
    for (std::uint32_t sub = 0; sub < subs_[atom].size(); ++sub) {
      if (!breaks_structure(all_.subs[atom][sub])) continue;
      failing += subs_[atom][sub].failing();
      passing += passes_of(atom, sub);
    }
    if (failing < kProvesStructure || passing > 0) return;
    for (std::uint32_t sub = 0; sub < subs_[atom].size(); ++sub) {
      if (!breaks_structure(all_.subs[atom][sub]) || std::count(what.subs.begin(), what.subs.end(), sub) > 0) continue;
      what.subs.push_back(sub);
      sum.add(subs_[atom][sub]);
    }
    std::sort(what.subs.begin(), what.subs.end());
  }
  static bool breaks_structure(const std::string& what) {
    static constexpr std::string_view kWays[] = {"bare word", "bad number", "value missing", "string not closed", "object not closed", "array not closed",
                                                 "expected a comma", "expected a colon", "expected a key"};
    return std::find(std::begin(kWays), std::end(kWays), what) != std::end(kWays);
  }

  // One of a thing that failed may have had bad neighbours. Bytes that no strict parser takes need less proof than a value.
  bool fails_for_sure(AtomId atom, const Counts& sub) const {
    const bool syntax = all_.atoms[atom].detail == "malformed_json" || all_.atoms[atom].detail == "invalid_utf8";
    return sub.failing() >= (syntax ? 1 : kLeastSupport);
  }
  static double like_seen(std::uint64_t failing, std::uint64_t passing) {
    if (failing < 20) return 0;  // fewer never reach kGeneralises
    return beta_quantile(kLower, 0.5 + static_cast<double>(failing), 0.5 + static_cast<double>(passing));
  }

  bool may_be_poison(AtomId atom, const Counts& counts) const {
    return all_.atoms[atom].kind != Atom::Kind::queue && counts.stuck[1] >= kLeastSupport && counts.messages * 2 <= out_.total.messages;
  }

  std::optional<Mined> pick() {
    std::vector<Scored> candidates;
    for (AtomId a = 0; a < atoms_.size(); ++a) {
      if (atoms_[a].stuck[1] < kLeastSupport || all_.atoms[a].kind == Atom::Kind::queue) continue;
      Scored scored{.what = {.atom = a}};
      scored.counts = meant(a, scored.what);
      if (may_be_poison(a, scored.counts)) candidates.push_back(std::move(scored));
      else if (scored.counts.messages * 2 > out_.total.messages && scored.counts.stuck[kFailedLevel] * 2 > total_.stuck[kFailedLevel] && !out_.universal) out_.universal = a;
    }
    const std::size_t tests = std::max<std::size_t>(1, candidates.size() * (kLevels.size() - 1));
    for (Scored& c : candidates) rate(c, tests);
    std::erase_if(candidates, [](const Scored& c) { return !c.significant || c.lower <= 0.01; });
    add_pairs(candidates, tests);
    const auto better = [](const Scored& a, const Scored& b) {
      return std::tuple(a.score, b.what.atom, b.what.with) > std::tuple(b.score, a.what.atom, a.what.with);  // atoms are sorted: general first
    };
    std::sort(candidates.begin(), candidates.end(), better);
    for (Scored& c : candidates)
      if (c.lower >= kLeastBound) return std::move(c.what);
    return std::nullopt;
  }

  void add_pairs(std::vector<Scored>& candidates, std::size_t tests) {
    std::vector<const Scored*> unsure;
    for (const Scored& c : candidates)
      if (c.lower < 0.8 && c.counts.stuck[c.what.level] >= 4) unsure.push_back(&c);
    const auto weight = [](const Scored* c) { return c->lower * std::log(static_cast<double>(c->counts.stuck[c->what.level]) + 1); };
    std::sort(unsure.begin(), unsure.end(), [&](const Scored* a, const Scored* b) { return std::pair(weight(b), a->what.atom) < std::pair(weight(a), b->what.atom); });
    if (unsure.size() > kMostExtended) unsure.resize(kMostExtended);
    std::vector<Scored> pairs;
    for (const Scored* one : unsure) extend(*one, tests, pairs);
    for (Scored& pair : pairs) candidates.push_back(std::move(pair));
  }

  // What else the messages of `one` have that makes it sure.
  void extend(const Scored& one, std::size_t tests, std::vector<Scored>& pairs) {
    const Side side = side_of(one.what.atom, one.what.subs);
    std::vector<Counts> together(atoms_.size());
    AtomId last = kNoAtom;
    all_.each([&](std::uint32_t q, const Seen& seen, const Kept& page, const Chunk& chunk, std::size_t i) {
      if (chunk.explained[i] != 0 || !side.match(q, seen, page, i)) return;
      last = kNoAtom;
      const content::Values values = page.values(i);
      for (const Has& has : all_.rows[seen.row])
        if (has.atom != last) together[last = has.atom].add(seen);
      for (std::size_t c = 0; c < all_.queues[q].columns; ++c)
        for (const Has& has : all_.queues[q].values[c][values[c]]) together[has.atom].add(seen);
    });
    const std::size_t level = one.what.level;
    for (AtomId a = 0; a < together.size(); ++a) {
      if (all_.atoms[a].path == all_.atoms[one.what.atom].path || all_.atoms[a].general()) continue;
      const Counts& both = together[a];
      if (both.stuck[level] < kLeastSupport || both.stuck[level] * 10 < one.counts.stuck[level] * 3) continue;
      Scored pair{.what = one.what, .counts = both};
      pair.what.with = a;
      rate(pair, tests * kMostExtended);
      if (pair.significant && pair.lower >= one.lower + 0.15 && pair.lower >= 0.4) pairs.push_back(std::move(pair));
    }
  }

  Side side_of(AtomId atom, const std::vector<std::uint32_t>& subs) const {
    const auto meant = [&](const std::vector<Has>& has) {
      return std::any_of(has.begin(), has.end(), [&](const Has& h) { return h.atom == atom && (!all_.atoms[atom].general() || std::binary_search(subs.begin(), subs.end(), h.sub)); });
    };
    Side side;
    for (const std::vector<Has>& row : all_.rows) side.row.push_back(meant(row));
    side.values.resize(all_.queues.size());
    for (std::size_t q = 0; q < all_.queues.size(); ++q)
      for (std::size_t c = 0; c < all_.queues[q].columns; ++c) {
        std::bitset<256> ids;
        for (std::size_t id = 1; id < 256; ++id)
          if (meant(all_.queues[q].values[c][id])) ids.set(id);
        if (ids.any()) side.values[q].emplace_back(c, ids);
      }
    return side;
  }

  // Sets aside what a signature explains, and says how sure it is.
  void take(Mined what) {
    const auto number = static_cast<std::uint8_t>(out_.signatures.size() + 1);
    const Side first = side_of(what.atom, what.subs);
    const Side second = what.with == kNoAtom ? Side{} : side_of(what.with, {});
    all_.each([&](std::uint32_t q, const Seen& seen, const Kept& page, Chunk& chunk, std::size_t i) {
      if (chunk.explained[i] != 0 || !first.match(q, seen, page, i) || (what.with != kNoAtom && !second.match(q, seen, page, i))) return;
      chunk.explained[i] = number;
      what.counts.add(seen);
      Counts one;
      one.add(seen);
      row_counts_[seen.row].subtract(one);
      const content::Values values = page.values(i);
      for (std::size_t c = 0; c < all_.queues[q].columns; ++c) value_counts_[q][c * 256 + values[c]].subtract(one);
    });
    look_around(what, number);
    judge(what);
    total_.subtract(what.counts);
    fold();
    out_.signatures.push_back(std::move(what));
  }

  // How others fared in each queue from the first failure of this signature to a little after its last, where passes show
  // at all. Passes before the first one do not prove that the consumers lived when it began to fail.
  void look_around(Mined& what, std::uint8_t number) const {
    std::uint64_t failed = 0;
    for (const Population::Queue& queue : all_.queues) {
      std::uint64_t delivered = 0, first = UINT64_MAX, last = 0, passes = 0, with_it = 0;
      const auto each = [&](auto&& f) {
        delivered = 0;
        for (const Chunk* chunk : queue.chunks) {
          const Kept all = all_.kept(*chunk);
          for (std::size_t i = 0; i < all.size(); ++i) {
            const Seen seen = all.seen(i);
            if (!seen.evidence_only && (seen.passes > 0 || seen.level > 0)) f(seen, chunk->explained[i] == number), ++delivered;
          }
        }
      };
      each([&](const Seen& seen, bool with) {
        passes += seen.passes > 0;
        if (with && seen.level >= what.level) first = std::min(first, delivered), last = delivered, ++with_it;
      });
      if (passes == 0 || first == UINT64_MAX) continue;
      failed += with_it;
      each([&](const Seen& seen, bool with) {
        if (with || delivered < first || delivered > last + kNeighbourhood) return;
        what.near_passes += seen.passes > 0;
        what.near_failures += seen.level >= what.level;
      });
    }
    what.nothing_passed_then = failed > 0 && (what.near_passes < std::min(failed, kEnoughPasses) || what.near_failures > what.near_passes);
  }

  void judge(Mined& what) const {
    const auto s = static_cast<double>(what.counts.stuck[what.level]);
    recall(all_, what);
    if (!comparable(out_, what)) {
      bool significant = false;
      what.lower_bound = std::fmax(0, bound(what, what.counts, what.level, 1, significant));
      what.confidence = std::fmin(kCapWithoutPasses, (s + 0.5) / (s + 1));
      return;
    }
    const auto passed = static_cast<double>(what.counts.passes + what.passed_before), others = static_cast<double>(total_.stuck[what.level] - what.counts.stuck[what.level]);
    double q0 = wilson_upper(others, others + others_passed(what, what.counts));
    const auto near = static_cast<double>(what.near_failures), around = near + static_cast<double>(what.near_passes);
    if (around > 0) q0 = std::fmax(q0, wilson_lower(near, around));
    const auto net = [q0](double p) { return q0 >= 1 ? 0 : std::fmax(0, (p - q0) / (1 - q0)); };
    const double a = s + 0.5, b = passed + 0.5;
    what.confidence = net(a / (a + b));
    what.lower_bound = what.nothing_passed_then ? 0 : net(beta_quantile(kLower, a, b));
  }

  Population& all_;
  Mining out_;
  Counts total_;  // of what is not explained yet
  std::vector<Counts> row_counts_, atoms_;
  std::vector<std::vector<Counts>> subs_, value_counts_;
};

}  // namespace

void recall(const Population& population, Mined& mined) {
  if (population.remembered.empty()) return;
  const auto of = [&](AtomId atom, bool some) {
    const Remembered& r = population.remembered[atom];
    std::uint64_t passed = 0;
    for (std::uint32_t sub = 0; sub < r.by_sub.size(); ++sub)
      if (!some || std::binary_search(mined.subs.begin(), mined.subs.end(), sub)) passed += r.by_sub[sub];
    return std::pair(passed, r.all);
  };
  std::tie(mined.passed_before, mined.all_before) = of(mined.atom, population.atoms[mined.atom].general());
  if (mined.with == kNoAtom) return;
  const auto [passed, all] = of(mined.with, false);
  mined.passed_before = std::min(mined.passed_before, passed);
  mined.all_before = std::min(mined.all_before, all);
}

bool comparable(const Mining& mining, const Mined& mined) { return mining.passes_visible || mined.all_before > 0 || mined.passed_before > 0; }

Mining mine(Population& population) { return Miner(population).run(); }

}  // namespace claw::detect
