#include "detect/detect.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "detect/beta.h"
#include "detect/mine.h"
#include "detect/words.h"

namespace claw::detect {
namespace {

constexpr std::size_t kSampleSize = 5;
constexpr double kCapUnproven = 0.20;   // lower bound of what mining did not take
constexpr double kCapDowngraded = 0.60; // of a critical tenant when even one pass had it

double rounded(double value) { return std::floor(value * 10'000 + 0.5) / 10'000; }
double rounded_down(double value) { return std::floor(value * 10'000) / 10'000; }

struct Concluded {
  Finding finding;
  std::vector<PoisonRef> members;
  std::uint64_t unnamed = 0;
};

// Defects that no signature explains: shown, never acted on.
std::vector<Mined> suspicions(const Population& population, const Mining& mining) {
  std::vector<Mined> found;
  for (AtomId a = 0; a < population.atoms.size(); ++a) {
    const Counts& c = mining.left[a];
    Mined one{.atom = a, .level = kFailedLevel, .counts = c};
    for (std::uint32_t sub = 0; sub < population.subs[a].size(); ++sub) one.subs.push_back(sub);
    recall(population, one);
    const bool defect = population.atoms[a].kind == Atom::Kind::defect;
    // A contract that many violate, or that those who pass violate, is out of date: a note, and nobody is suspected.
    const bool violation = population.atoms[a].kind == Atom::Kind::contract && c.passes + one.passed_before == 0 && c.messages * 2 <= mining.total.messages;
    if ((!defect && !violation) || c.messages == 0) continue;
    const double failed = static_cast<double>(c.failing()) + 0.5, passed = static_cast<double>(c.passes + one.passed_before) + 0.5;
    one.confidence = std::fmin(c.failing() == 0 ? kCapContentOnly : comparable(mining, one) ? 1.0 : kCapWithoutPasses, failed / (failed + passed));
    one.lower_bound = c.failing() == 0 ? 0 : std::fmin(kCapUnproven, beta_quantile(kLower, failed, passed));
    found.push_back(std::move(one));
  }
  return found;
}

// Which finding each message belongs to: its signature, or the suspicion of its defect.
class Members {
 public:
  Members(Population& population, const std::vector<Mined>& mined, std::size_t signatures) : population_(population) {
    suspicion_of_.assign(population.atoms.size(), 0);
    for (std::size_t i = signatures; i < mined.size(); ++i) suspicion_of_[mined[i].atom] = static_cast<std::uint32_t>(i + 1);
  }

  void collect(std::vector<Concluded>& found, const std::vector<QueueView>& queues, bool& overflowed) {
    std::size_t count = 0;
    population_.each_page([&](std::uint32_t q, const Chunk& chunk, const Kept& page) {
      const QueueView& queue = queues.at(q);
      auto digested = page.digests().begin();
      for (std::size_t i = 0; i < page.size(); ++i) {
        const Seen seen = page.seen(i);
        const std::uint32_t number = chunk.explained[i] != 0 ? chunk.explained[i] : suspicion(seen);
        if (number == 0 || seen.evidence_only) continue;
        while (digested != page.digests().end() && digested->index < i) ++digested;
        const bool has_digest = digested != page.digests().end() && digested->index == i;
        Concluded& one = found[number - 1];
        if (!has_digest && seen.by_digest) {
          ++one.unnamed;
          continue;
        }
        if (++count > kMostMembers) {
          overflowed = true;
          return;
        }
        one.members.push_back({.key = seen.key, .digest = has_digest ? digested->digest : 0, .queue = q, .attempts = seen.attempts});
        Finding& f = one.finding;
        if (f.queues.empty() || f.queues.back() != queue.id) f.queues.push_back(queue.id);
        if (f.sample.size() < kSampleSize) f.sample.push_back(message_id(queue.type, one.members.back()));
      }
    });
  }

 private:
  std::uint32_t suspicion(const Seen& seen) const {
    for (const Has& has : population_.rows[seen.row])
      if (suspicion_of_[has.atom] != 0) return suspicion_of_[has.atom];
    return 0;
  }

  Population& population_;
  std::vector<std::uint32_t> suspicion_of_;
};

SignatureEvidence evidence_of(const Mining& mining, const Mined& mined) {
  const Counts& c = mined.counts;
  const std::uint64_t others_before = mined.all_before - std::min(mined.all_before, mined.passed_before);
  return {.failures = c.attempts, .failing_messages = c.failing(), .passes = c.passes + mined.passed_before, .waiting = c.waiting, .in_flight = c.in_flight,
          .other_failures = mining.total.failing() - c.failing(), .other_passes = mining.total.passes - c.passes + others_before};
}

// What somebody said of this signature. It cannot outweigh one pass, and acts for nobody where others must not be acted for.
void weigh(const Label& label, const Mined& mined, bool may_act, bool critical, Finding& f) {
  constexpr double kSaidWeighs = 35;  // like so many failures: alone, a lower bound of 0.92
  f.explanation += fmt::format(" {} labelled it {} on {}: {}.", escape(label.actor, 60), label.poison ? "poison" : "not poison", rfc3339(label.at).substr(0, 10), escape(label.reason, 200));
  if (!label.poison) {
    f.lower_bound = 0;
    f.explanation += " Nothing is removed for it until that is changed.";
    return;
  }
  if (!may_act || mined.nothing_passed_then || f.evidence.passes > 0) return;
  const double failed = static_cast<double>(mined.counts.failing()) + kSaidWeighs;
  double bound = beta_quantile(kLower, failed + 0.5, 0.5);
  if (critical && mined.counts.failing() == 0) bound = std::min(bound, kCapDowngraded);  // nothing of a critical tenant goes before it has failed once
  f.confidence = std::max(f.confidence, rounded((failed + 0.5) / (failed + 1)));
  f.lower_bound = std::max(f.lower_bound, rounded_down(bound));
}

std::string excerpt_of(const Population& population, const Mined& mined) {
  const Atom& atom = population.atoms[mined.atom];
  for (const auto& [name, excerpt] : population.excerpts)
    if ((atom.kind == Atom::Kind::defect && name.kind == atom.detail && name.path == atom.path) || (atom.kind == Atom::Kind::any_defect && name.kind == atom.detail)) return excerpt;
  return {};
}

}  // namespace

void Learner::learn(const Batch& page) {
  for (const Batch::Entry& entry : page.entries()) {
    if (!wants_more()) return;
    ++looked_;
    for (const Field& field : page.fields(entry)) bytes_ += field.value.size();
    const Evidence& e = entry.evidence;
    if (!decided_) opener_.learn(page.fields(entry));
    if (looked_ == kTried) decide();
    if (e.failed || e.dead_lettered || e.attempts >= 2) continue;
    if (!decided_ || !opens_) plain_.learn(page.fields(entry), e.passed > 0);
    if (decided_ && !opens_) continue;
    const Opened& opened = opener_.open(page.fields(entry));
    if (!opened.defect && !opened.facts.failed()) inside_.learn(opened.fields, e.passed > 0);
  }
}

void Learner::decide() {
  decided_ = true;
  opens_ = opener_.needed();
}

const Learnt& Learner::freeze() {
  if (!decided_) decide();
  content::FeatureReader& reader = opens_ ? inside_ : plain_;
  reader.freeze();
  return learnt_.emplace(Learnt{.reader = reader, .opener = opens_ ? std::optional(opener_) : std::nullopt, .contract = contract_, .sampled = sampled_});
}

KeptContent Tally::take_kept(const std::vector<QueueView>& queues) {
  KeptContent kept;
  for (Examiner& e : examiners_) {
    for (auto& [place, content] : e.kept_) kept[queues.at(e.queue_).id].emplace(place.second, std::move(content));
    e.kept_.clear();
  }
  return kept;
}

Result<Observation> conclude(Tally& tally, const TenantId& tenant, const std::vector<QueueView>& queues, const ConcludeOptions& options) {
  Observation out;
  out.tenant = tenant;
  out.queues = queues;
  Population population(tally.examiners(), queues.size());
  population.contract = options.contract;
  for (std::uint32_t q = 0; q < options.memories.size(); ++q) {
    options.memories[q].learn(population, q, queues.at(q), tally.compares(q), options.now);
    options.memories[q].tell(population, q);
  }
  Mining mining = mine(population);
  out.messages_seen = mining.total.messages;
  for (const Examiner& e : tally.examiners()) out.bytes_seen += e.bytes();
  out.outage = outage_of(population, mining);
  out.notes = notes_of(population, mining);

  std::vector<std::string> names;
  for (const QueueView& queue : queues) names.push_back(queue.id.text());
  std::vector<Mined> mined = mining.signatures;
  const std::size_t signatures = mined.size();
  for (Mined& one : suspicions(population, mining)) mined.push_back(std::move(one));
  std::vector<Concluded> all(mined.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i].members.reserve(std::min<std::size_t>(mined[i].counts.messages, kMostMembers));
  bool overflowed = population.overflowed;
  Members(population, mined, signatures).collect(all, queues, overflowed);
  for (std::size_t i = 0; i < mined.size(); ++i) {
    Finding& f = all[i].finding;
    f.signature = signature_of(population, mined[i], names);
    f.tenant = tenant;
    f.count = mined[i].counts.messages - all[i].unnamed;
    f.evidence = evidence_of(mining, mined[i]);
    f.excerpt = excerpt_of(population, mined[i]);
    f.explanation = explanation_of(population, mining, mined[i], f.signature, all[i].unnamed);
    f.confidence = rounded(mined[i].confidence);
    f.lower_bound = rounded_down(mined[i].lower_bound);
    if (!out.outage.empty() || overflowed) f.lower_bound = 0;
    if (options.critical && f.evidence.passes > 0) f.lower_bound = std::min(f.lower_bound, kCapDowngraded);
    if (const auto said = options.labels.find(f.signature.id()); said != options.labels.end()) weigh(said->second, mined[i], out.outage.empty() && !overflowed, options.critical, f);
  }
  std::stable_sort(all.begin(), all.end(), [](const Concluded& a, const Concluded& b) {
    const double weight_a = a.finding.lower_bound * static_cast<double>(a.finding.count), weight_b = b.finding.lower_bound * static_cast<double>(b.finding.count);
    if (weight_a != weight_b) return weight_a > weight_b;
    return a.finding.signature.id() < b.finding.signature.id();
  });
  for (Concluded& one : all) {
    out.findings.push_back(std::move(one.finding));
    out.members.push_back(std::move(one.members));
  }
  if (!population.trouble().ok()) return population.trouble().error();
  return out;
}

}  // namespace claw::detect
