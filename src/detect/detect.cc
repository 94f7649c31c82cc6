#include "detect/detect.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "detect/beta.h"

namespace claw::detect {
namespace {

constexpr std::uint64_t kEvidenceOnly = (1ull << 63) | (1ull << 62);  // from a processing or dead list, not in the queue
constexpr double kLower = 0.02;                                       // quantile that thresholds act on
constexpr double kCapWithoutPasses = 0.90;
constexpr double kCapContentOnly = 0.60;
constexpr std::uint64_t kEnough = 20;       // messages before a share of them means anything
constexpr std::size_t kSampleSize = 5;
constexpr std::size_t kExcerptSpan = 40;

bool failing(const Evidence& e) { return e.dead_lettered || (e.pending > 0 && e.attempts >= 2); }

void count(Counts& counts, const Evidence& e, std::uint64_t bytes) {
  ++counts.messages;
  counts.bytes += bytes;
  if (failing(e)) {
    ++counts.failing;
    counts.attempts += std::min<std::uint32_t>(e.attempts, 1'000);
  } else if (e.passed > 0) {
    ++counts.passes;
  } else if (e.pending > 0) {
    ++counts.in_flight;
  } else {
    ++counts.waiting;
  }
}

std::vector<OwnedField> owned(std::span<const Field> fields) {
  std::vector<OwnedField> copy;
  copy.reserve(fields.size());
  for (const Field& field : fields) copy.push_back({std::string(field.name), std::string(field.value)});
  return copy;
}

// Of a message that is one nameless body (a list's): it has no id that would tell its place.
Neighbours neighbours_of(const Batch& page, std::size_t index) {
  const std::span<const Batch::Entry> entries = page.entries();
  if (!page.fields(entries[index]).front().name.empty()) return {};
  const auto at = [&](std::size_t i) { return (entries[i].key.high & kEvidenceOnly) != 0 ? 0 : short_digest(page.fields(entries[i])); };
  return {.before = index == 0 ? 0 : at(index - 1), .after = index + 1 == entries.size() ? 0 : at(index + 1)};
}

// Shape without content: letters become x, digits 9; the offending place stands between « and ».
std::string redacted(std::string_view value, std::uint64_t offset) {
  const std::size_t place = std::min<std::size_t>(offset, value.size());
  const std::size_t from = place > kExcerptSpan ? place - kExcerptSpan : 0;
  std::string out;
  for (std::size_t i = from; i < std::min(value.size(), place + kExcerptSpan); ++i) {
    if (i == place) out += "«";
    const char c = value[i];
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || static_cast<unsigned char>(c) >= 0x80) out += 'x';
    else if (c >= '0' && c <= '9') out += '9';
    else out += c;
    if (i == place) out += "»";
  }
  if (place == value.size()) out += "«»";
  return out;
}

std::string words(const std::string& kind, const std::string& path) {
  const std::string place = path.empty() ? "body" : escape(path, 120) + " field";
  if (kind == "malformed_json") return "malformed JSON in " + place;
  if (kind == "invalid_utf8") return "invalid UTF-8 in " + place;
  if (kind == "too_deep") return "JSON nested deeper than 64 in " + place;
  if (kind == "json_nan") return "NaN or Infinity in " + place;
  return "byte order mark before JSON in " + place;
}

double rounded(double value) { return std::floor(value * 10'000 + 0.5) / 10'000; }

struct Bystanders {
  double rate = 0;  // upper bound of the failing rate among delivered messages without any signature
  bool broken = false;
};

Bystanders bystanders(const Counts& without) {
  const std::uint64_t delivered = without.failing + without.passes;
  if (delivered == 0) return {};
  return {.rate = beta_quantile(1 - kLower, 0.5 + static_cast<double>(without.failing), 0.5 + static_cast<double>(without.passes)),
          .broken = delivered >= kEnough && without.failing * 10 > delivered * 4};
}

void judge(Finding& finding, const Counts& with, double q0, bool passes_visible) {
  const double a = 0.5 + static_cast<double>(with.failing), b = 0.5 + static_cast<double>(with.passes);
  const auto net = [q0](double p) { return q0 >= 1 ? 0 : std::max(0.0, (p - q0) / (1 - q0)); };
  finding.confidence = net(a / (a + b));
  finding.lower_bound = net(beta_quantile(kLower, a, b));
  double cap = 1;
  if (!passes_visible) cap = kCapWithoutPasses;
  if (with.failing == 0) {
    cap = kCapContentOnly;
    finding.lower_bound = 0;
  }
  finding.confidence = rounded(std::min(cap, finding.confidence));
  finding.lower_bound = std::floor(std::min(cap, finding.lower_bound) * 10'000) / 10'000;
}

std::string explanation(const Finding& finding, const SignatureTally& with, const Counts& without, bool passes_visible) {
  const Counts& c = with.counts;
  std::string text = fmt::format("{} ({}).", finding.signature.text, fmt::join(with.whats, ", "));
  const std::uint64_t delivered = c.failing + c.passes;
  if (c.failing == 0) {
    text += " Content only: nothing with this defect has been seen to fail, so nothing is removed for it.";
  } else {
    text += fmt::format(" {} of {} delivered messages with it failed, {} deliveries in all; {} of {} acknowledged messages had it.", grouped(c.failing), grouped(delivered),
                        grouped(c.attempts), grouped(c.passes), grouped(c.passes + without.passes));
  }
  if (!passes_visible) text += " No acknowledged message is visible to compare with: confidence is capped at 0.90.";
  if (c.waiting > 0) text += fmt::format(" {} more have it and were not delivered yet.", grouped(c.waiting));
  return text + " Acknowledged messages with it would lower the confidence.";
}

std::string outage_words(const Counts& all_with, const Counts& without, std::uint64_t seen, const Bystanders& other) {
  if (seen >= kEnough && all_with.messages * 2 > seen)
    return fmt::format("consumer outage, not poison: {} of {} messages share the same defect", grouped(all_with.messages), grouped(seen));
  if (other.broken)
    return fmt::format("consumer outage, not poison: {} of {} delivered messages without any defect fail too", grouped(without.failing), grouped(without.failing + without.passes));
  return {};
}

std::vector<Member> in_queue_order(std::vector<Member> members) {
  std::sort(members.begin(), members.end(), [](const Member& a, const Member& b) { return std::pair(a.queue, a.key) < std::pair(b.queue, b.key); });
  return members;
}

}  // namespace

void Counts::add(const Counts& other) {
  messages += other.messages;
  bytes += other.bytes;
  failing += other.failing;
  attempts += other.attempts;
  passes += other.passes;
  waiting += other.waiting;
  in_flight += other.in_flight;
}

PageTally examine(const Batch& page, std::uint32_t queue, content::Inspector& inspector) {
  PageTally tally;
  for (std::size_t i = 0; i < page.entries().size(); ++i) {
    const Batch::Entry& entry = page.entries()[i];
    const std::span<const Field> fields = page.fields(entry);
    std::uint64_t bytes = 0;
    for (const Field& field : fields) bytes += field.value.size();
    const bool evidence_only = (entry.key.high & kEvidenceOnly) != 0;
    Counts one;
    count(one, entry.evidence, bytes);
    if (evidence_only) one.messages = one.bytes = 0;
    const auto defect = inspector.inspect(fields);
    if (!defect) {
      tally.without.add(one);
      continue;
    }
    SignatureTally& with = tally.with[{defect->kind, defect->path}];
    with.counts.add(one);
    with.whats.insert(defect->what);
    if (evidence_only) continue;
    if (with.excerpt.empty()) with.excerpt = redacted(defect->inner.empty() ? fields[defect->field].value : std::string_view(defect->inner), defect->offset);
    tally.kept.emplace(std::pair(queue, entry.key), SeenContent{owned(fields), neighbours_of(page, i)});
    with.members.push_back({.key = entry.key, .digest = short_digest(fields), .queue = queue, .attempts = entry.evidence.attempts});
  }
  return tally;
}

void Tally::add(PageTally&& page) {
  total_.without.add(page.without);
  for (auto& [signature, more] : page.with) {
    // Paths come from foreign bytes: beyond the bound they are counted as one signature of the whole body.
    const bool room_for_more = total_.with.contains(signature) || total_.with.size() < kMostSignatures;
    SignatureTally& sum = total_.with[room_for_more ? signature : std::pair(signature.first, std::string())];
    sum.counts.add(more.counts);
    sum.whats.merge(more.whats);
    if (sum.excerpt.empty()) sum.excerpt = std::move(more.excerpt);
    const std::size_t room = kMostMembers - members_;
    if (more.members.size() > room) overflowed_ = true;
    const std::size_t taken = std::min(room, more.members.size());
    sum.members.insert(sum.members.end(), more.members.begin(), more.members.begin() + static_cast<std::ptrdiff_t>(taken));
    members_ += taken;
  }
  for (auto& [place, content] : page.kept) {
    std::size_t bytes = 0;
    for (const OwnedField& field : content.fields) bytes += field.name.size() + field.value.size();
    if (kept_bytes_ + bytes > kMostKeptBytes) break;
    kept_bytes_ += bytes;
    total_.kept.emplace_hint(total_.kept.end(), place, std::move(content));
  }
}

KeptContent Tally::take_kept(const std::vector<QueueView>& queues) {
  KeptContent kept;
  for (auto& [place, content] : total_.kept) kept[queues.at(place.first).id].emplace(place.second, std::move(content));
  total_.kept.clear();
  return kept;
}

Observation conclude(const Tally& tally, const TenantId& tenant, const std::vector<QueueView>& queues, const ConcludeOptions& options) {
  Observation out;
  out.tenant = tenant;
  out.queues = queues;
  const PageTally& total = tally.total();
  Counts all_with;
  for (const auto& [signature, with] : total.with) all_with.add(with.counts);
  out.messages_seen = total.without.messages + all_with.messages;
  out.bytes_seen = total.without.bytes + all_with.bytes;
  const Bystanders other = bystanders(total.without);
  out.outage = outage_words(all_with, total.without, out.messages_seen, other);
  const bool passes_visible = total.without.passes + all_with.passes > 0;

  struct Concluded {
    Finding finding;
    std::vector<PoisonRef> members;
  };
  std::vector<Concluded> all;
  for (const auto& [signature, with] : total.with) {
    Concluded one;
    Finding& f = one.finding;
    f.signature = {signature.first, signature.second, words(signature.first, signature.second)};
    f.tenant = tenant;
    f.count = with.counts.messages;
    f.excerpt = with.excerpt;
    f.evidence = {.failures = with.counts.attempts, .failing_messages = with.counts.failing, .passes = with.counts.passes, .waiting = with.counts.waiting,
                  .in_flight = with.counts.in_flight, .other_failures = total.without.failing, .other_passes = total.without.passes};
    judge(f, with.counts, other.rate, passes_visible);
    f.explanation = explanation(f, with, total.without, passes_visible);
    if (!out.outage.empty() || tally.overflowed()) f.lower_bound = 0;
    for (const Member& m : in_queue_order(with.members)) {
      const QueueView& queue = queues.at(m.queue);
      one.members.push_back({.queue = queue.id, .id = options.id_text(queue, m), .key = m.key, .attempts = m.attempts, .digest = m.digest});
      if (f.queues.empty() || f.queues.back() != queue.id) f.queues.push_back(queue.id);
      if (f.sample.size() < kSampleSize) f.sample.push_back(one.members.back().id);
    }
    all.push_back(std::move(one));
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
  return out;
}

}  // namespace claw::detect
