#include "detect/examine.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "base/digest.h"

namespace claw::detect {
namespace {

constexpr std::size_t kExcerptSpan = 40;
constexpr std::uint64_t kForgottenAfterMs = 600'000;  // delivered once and idle for longer: it is not being worked on

Seen judge(MessageKey key, const Evidence& e) {
  Seen seen{.key = key, .attempts = static_cast<std::uint16_t>(std::min<std::uint32_t>(e.attempts, UINT16_MAX)),
            .passes = static_cast<std::uint8_t>(std::min<std::uint16_t>(e.passed, UINT8_MAX))};
  seen.evidence_only = (key.high & kEvidenceOnly) != 0;
  if (e.failed || e.dead_lettered) {
    seen.level = kTopLevel;
  } else if (e.attempts == 1 && e.pending > 0 && e.idle_ms < kForgottenAfterMs) {
    seen.in_flight = 1;
  } else if (e.pending > 0 || e.passed == 0) {
    while (seen.level < kTopLevel && e.attempts >= kLevels[seen.level + 1u]) seen.level = static_cast<std::uint8_t>((seen.level + 1) & 15);
  }
  seen.waiting = seen.level == 0 && !seen.in_flight && e.passed == 0;
  return seen;
}

std::vector<OwnedField> owned(std::span<const Field> fields) {
  std::vector<OwnedField> copy;
  copy.reserve(fields.size());
  for (const Field& field : fields) copy.push_back({std::string(field.name), std::string(field.value)});
  return copy;
}

// What a framework notes about earlier deliveries counts like what a broker counts; that a consumer refused it, as a failure.
Evidence with_facts(Evidence evidence, const content::DeliveryFacts& facts) {
  if (facts.retries || !facts.error_class.empty()) evidence.attempts = std::max(evidence.attempts, facts.retries.value_or(0) + 1);
  evidence.failed = evidence.failed || facts.reason == "rejected" || facts.reason == "delivery_limit";
  return evidence;
}

bool nameless(std::span<const Field> fields) { return fields.size() == 1 && fields.front().name.empty(); }

// Of a message that is one nameless body (a list's): it has no id that would tell its place.
Neighbours neighbours_of(const Batch& page, std::size_t index) {
  const std::span<const Batch::Entry> entries = page.entries();
  if (!nameless(page.fields(entries[index]))) return {};
  const auto at = [&](std::size_t i) { return (entries[i].key.high & kEvidenceOnly) != 0 ? 0 : short_digest(page.fields(entries[i])); };
  return {.before = index == 0 ? 0 : at(index - 1), .after = index + 1 == entries.size() ? 0 : at(index + 1)};
}

std::uint64_t hash_of(const content::Features& features, std::uint32_t defect, std::uint32_t violation) {
  std::uint64_t h = std::uint64_t{defect} << 32 | violation;
  if (!features.defect)
    for (const content::Deviation& d : features.deviations) h = (h ^ d.bits) * 0xd6e8feb86659fd93ull, h ^= h >> 32;
  return h;
}

// "/items/3/amount" → "items[].amount"
std::string path_of(std::string_view pointer) {
  std::string path;
  while (!pointer.empty()) {
    const std::size_t end = std::min(pointer.find('/', 1), pointer.size());
    const std::string_view step = pointer.substr(1, end - 1);
    pointer.remove_prefix(end);
    if (!step.empty() && step.find_first_not_of("0123456789") == std::string_view::npos) {
      path += "[]";
      continue;
    }
    if (!path.empty()) path += '.';
    for (std::size_t i = 0; i < step.size(); ++i) {
      const bool escaped = step[i] == '~' && i + 1 < step.size();
      path += escaped ? (step[++i] == '1' ? '/' : '~') : step[i];
    }
  }
  return path;
}

}  // namespace

std::uint64_t sample_mask(std::uint64_t messages) {
  std::uint64_t mask = 0;
  while (messages > kMostRemembered) messages /= 2, mask = mask * 2 + 1;
  return mask;
}

std::uint64_t identity_of(MessageKey key) { return stable_hash(stable_hash(0, key.high), key.low); }
std::uint64_t identity_of(std::string_view body) { return stable_hash(0, body); }

Examiner::Examiner(const Learnt& learnt, std::uint32_t queue, ChunkStore& store)
    : reader_(learnt.reader), opener_(learnt.opener), contract_(learnt.contract), queue_(queue), rows_(1), by_hash_(256), store_(&store), sampled_(learnt.sampled) {}

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

Status Examiner::examine(const Batch& page, std::uint64_t number) {
  const std::size_t size = page.entries().size();
  packing_.begin(reader_.columns());
  digests_.clear();
  for (std::size_t i = 0; i < size; ++i) {
    const Batch::Entry& entry = page.entries()[i];
    const std::span<const Field> fields = page.fields(entry);
    const Opened* opened = opener_ ? &opener_->open(fields) : nullptr;
    const std::span<const Field> inside = opened ? std::span<const Field>(opened->fields) : fields;
    const bool closed = opened && opened->defect;
    const content::Features& features = closed ? (unreadable_ = {.deviations = {}, .values = {}, .defect = opened->defect}) : reader_.read(inside);
    Seen seen = judge(entry.key, opened ? with_facts(entry.evidence, opened->facts) : entry.evidence);
    seen.row = row_of(features, features.defect || !contract_ ? kNone : violation_of(inside), number, inside);
    seen.by_digest = !fields.empty() && fields.front().name.empty();  // a body: of a list, or of a broker without ids
    packing_.add(seen, features.values);
    if (seen.by_digest && sampled_ != kNotSampled) sample(fields.front().value, seen.evidence_only, number, i);
    if (seen.evidence_only) continue;
    for (const Field& field : fields) bytes_ += field.value.size();
    // An id that the broker gave is identity enough where nothing says that the message is bad.
    if ((seen.by_digest || features.defect || seen.level >= kFailedLevel) && is_odd(seen.row, features.values)) digests_.push_back({.digest = short_digest(fields), .index = i});
    if (!features.defect) continue;
    std::size_t content = 0;
    for (const Field& field : fields) content += field.name.size() + field.value.size();
    if (store_->may_keep_content(content)) kept_.emplace_hint(kept_.end(), std::pair(number, entry.key), SeenContent{owned(fields), neighbours_of(page, i)});
  }
  return keep(number);
}

void Examiner::sample(std::string_view body, bool evidence_only, std::uint64_t page, std::size_t index) {
  constexpr std::size_t kMostDead = 100'000;
  const std::uint64_t identity = identity_of(body);
  if ((identity & sampled_) != 0) return;
  if (!evidence_only) bodies_.push_back({page, index, identity});
  else if (dead_.size() < kMostDead) dead_.push_back(identity);
}

// The page under way goes to where it stays.
Status Examiner::keep(std::uint64_t number) {
  const std::size_t words = packing_.end(digests_), bytes = words * sizeof(std::uint64_t);
  Chunk chunk{.number = number, .size = static_cast<std::uint32_t>(packing_.size()), .words = static_cast<std::uint32_t>(words), .explained = {}};
  if (auto* const block = reinterpret_cast<std::uint64_t*>(store_->allocate(slab_, bytes)); block != nullptr) {
    packing_.write(block);
    chunk.block = block;
  } else {
    packed_.resize(words);
    packing_.write(packed_.data());
    CLAW_TRY_ASSIGN(chunk.offset, store_->write({reinterpret_cast<const char*>(packed_.data()), bytes}));
  }
  chunks_.push_back(std::move(chunk));
  return {};
}

bool Examiner::is_odd(std::uint32_t row, const content::Values& values) const {
  if (rows_[row].odd) return true;
  for (std::size_t c = 0; c < reader_.columns(); ++c)
    if (reader_.is_rare_value(c, values[c])) return true;
  return false;
}

std::uint32_t Examiner::row_of(const content::Features& features, std::uint32_t violation, std::uint64_t number, std::span<const Field> fields) {
  if (!features.defect && features.deviations.empty() && violation == kNone) return 0;
  const std::uint32_t defect = features.defect ? defect_of(*features.defect, number, fields) : kNone;
  const std::uint64_t hash = hash_of(features, defect, violation);
  std::size_t at = hash & (by_hash_.size() - 1);
  for (; by_hash_[at].second != 0; at = (at + 1) & (by_hash_.size() - 1)) {
    if (by_hash_[at].first != hash) continue;
    const Row& row = rows_[by_hash_[at].second];
    if (row.defect == defect && row.violation == violation && (features.defect || row.deviations == features.deviations)) return by_hash_[at].second;
  }
  if (rows_.size() >= kMostRows || deviations_ + features.deviations.size() > kMostDeviations) {
    overflowed_ = true;
    return 0;
  }
  Row row{.deviations = {}, .defect = defect, .violation = violation, .odd = features.defect || violation != kNone};
  if (!features.defect) row.deviations = features.deviations;
  deviations_ += row.deviations.size();
  for (const content::Deviation& d : row.deviations) row.odd = row.odd || reader_.is_rare(d.slot(), d.code());
  rows_.push_back(std::move(row));
  by_hash_[at] = {hash, static_cast<std::uint32_t>(rows_.size() - 1)};
  if (rows_.size() * 2 > by_hash_.size()) grow_table();
  return static_cast<std::uint32_t>(rows_.size() - 1);
}

std::uint32_t Examiner::violation_of(std::span<const Field> fields) {
  if (content::read_json(content::body_of(fields), document_)) return kNone;  // a contract says nothing of what is no JSON
  if (contract_->check(document_.root()) != content::Contract::Answer::violates) return kNone;
  const std::vector<content::Violation> found = contract_->explain(document_.root(), 1);
  if (found.empty()) return kNone;
  ViolationName name{path_of(found.front().instance), found.front().what};
  if (violations_.size() >= kMostDefects && !violations_.contains(name)) name = {"", "more violations than are told apart"};
  return violations_.try_emplace(std::move(name), static_cast<std::uint32_t>(violations_.size())).first->second;
}

void Examiner::grow_table() {
  std::vector<std::pair<std::uint64_t, std::uint32_t>> old(by_hash_.size() * 2);
  old.swap(by_hash_);
  for (const auto& entry : old) {
    if (entry.second == 0) continue;
    std::size_t at = entry.first & (by_hash_.size() - 1);
    while (by_hash_[at].second != 0) at = (at + 1) & (by_hash_.size() - 1);
    by_hash_[at] = entry;
  }
}

std::uint32_t Examiner::defect_of(const content::Defect& defect, std::uint64_t number, std::span<const Field> fields) {
  auto at = defects_.find(defect);
  if (at == defects_.end()) {
    DefectName name{defect.kind, defect.path, defect.what};
    // Paths come from foreign bytes: beyond the bound they are counted together, and nothing is acted on.
    if (defects_.size() >= kMostDefects) {
      overflowed_ = true;
      name = {defect.kind, "", ""};
    }
    bool fresh = false;
    std::tie(at, fresh) = defects_.try_emplace(std::move(name), static_cast<std::uint32_t>(defects_.size()));
    if (fresh) defects_seen_.emplace_back();
  }
  DefectSeen& seen = defects_seen_[at->second];
  if (number < seen.number) seen = {redacted(defect.inner.empty() ? fields[defect.field].value : std::string_view(defect.inner), defect.offset), number};
  return at->second;
}

}  // namespace claw::detect
