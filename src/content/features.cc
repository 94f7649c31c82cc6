#include "content/features.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <unordered_set>

#include "base/result.h"
#include "content/strict_json.h"

namespace claw::content {
namespace {

std::uint64_t hash(const Dictionary::Words& words) {
  const std::uint64_t h = (words[0] ^ words[1] * 0x9e3779b97f4a7c15ull ^ words[2] * 0xc2b2ae3d27d4eb4full ^ words[3] * 0x165667b19e3779f9ull) * 0xd6e8feb86659fd93ull;
  return h ^ h >> 32;
}

}  // namespace

FeatureReader::FeatureReader() = default;
FeatureReader::~FeatureReader() = default;
FeatureReader::FeatureReader(FeatureReader&&) noexcept = default;
FeatureReader::FeatureReader(const FeatureReader& frozen)
    : paths_(frozen.paths_), watched_(frozen.watched_), fields_(frozen.fields_), stamp_(frozen.stamp_), frozen_(frozen.frozen_), learnt_slots_(frozen.learnt_slots_),
      only_json_(frozen.only_json_), columns_(frozen.columns_), usual_words_(frozen.usual_words_), common_(frozen.common_) {
  CLAW_CHECK(frozen.frozen_);
}

void FeatureReader::learn_value(Slot slot, std::string_view text, ValueKind kind) {
  if (slot == Paths::kElsewhere || text.size() > Dictionary::kLongestValue) return;
  if (candidates_.size() <= slot) candidates_.resize(slot + 1);
  Candidate& c = candidates_[slot];
  ++c.seen;
  if (c.many) return;
  auto& counts = c.of(kind);
  if (const auto known = counts.find(text); known != counts.end()) ++known->second;
  else if (c.size() == Dictionary::kMostValues) c = {.counts = {}, .seen = c.seen, .many = true};
  else counts.emplace(text, 1);
}

void FeatureReader::new_value(Slot slot, std::string_view text, ValueKind kind) {
  if (!frozen_) return learn_value(slot, text, kind);
  const int column = paths_[slot].column;
  if (column < 0 || text.size() > Dictionary::kLongestValue) return;
  const bool number = kind == ValueKind::number;
  const std::uint64_t h = hash(Dictionary::words_of(text, kind));
  const auto id = static_cast<std::uint8_t>(kFirstNovel + (h >> 8 & 127));
  Novel& novel = columns_[static_cast<std::size_t>(column)].novel[id - kFirstNovel];
  if (!novel.seen) novel = {.text = std::string(text), .number = number, .seen = true};
  else if (novel.text != text || novel.number != number) novel.ambiguous = true;
  std::uint8_t& kept = features_.values[static_cast<std::size_t>(column)];
  kept = std::max(kept, id);
}

// What a text holds is no JSON, though it begins like it.
void FeatureReader::refuse_inner(Slot slot, std::string_view inner) {
  JsonError error = walk_json(inner);
  if (error.kind.empty() || features_.defect) return;
  const std::string outer = path(slot) + "#json";
  features_.defect = {.kind = std::move(error.kind), .path = error.path.empty() ? outer : outer + "." + error.path, .what = std::move(error.what),
                      .offset = error.offset, .inner = std::string(inner)};
}

// A field is no JSON, though it begins like it, or it was not taken apart.
void FeatureReader::refuse(std::size_t index, const Field& field, Slot slot) {
  for (std::size_t c = 0; c < columns_.size(); ++c)
    if (columns_[c].field == slot) features_.values[c] = 0;
  JsonError error = walk_json(field.value);
  if (error.kind.empty()) {
    understood_ = false;
    return;
  }
  const std::string prefix = path(slot);
  features_.defect = {.kind = std::move(error.kind), .path = prefix + error.path, .what = std::move(error.what), .offset = error.offset, .field = index};
}

// Mostly fields come in the same order.
Slot FeatureReader::field_slot(std::size_t index, std::string_view name) {
  const auto same = [](std::string_view a, std::string_view b) {
    if (a.size() != b.size()) return false;
    if (a.size() - 4 > 4) return a == b;
    std::uint32_t words[4];  // names of 4 to 8 bytes: the first four and the last four
    std::memcpy(&words[0], a.data(), 4);
    std::memcpy(&words[1], b.data(), 4);
    std::memcpy(&words[2], a.data() + a.size() - 4, 4);
    std::memcpy(&words[3], b.data() + b.size() - 4, 4);
    return ((words[0] ^ words[1]) | (words[2] ^ words[3])) == 0;
  };
  if (index < fields_.size() && fields_[index].slot != Paths::kNone && same(fields_[index].name, name)) return fields_[index].slot;
  std::string padded(name);  // bytes behind a value may be read, those behind a name may not
  padded.append(16, '\0');
  const std::uint32_t key = paths_.find_key(Paths::kRoot, std::string_view(padded).substr(0, name.size()), Paths::Step::field);
  if (key == Paths::kNone) return Paths::kElsewhere;
  const Slot slot = paths_.key(key).child;
  if (index < Paths::kMostSlots) {
    if (index >= fields_.size()) fields_.resize(index + 1);
    fields_[index] = {std::string(name), slot};
  }
  return slot;
}

Slot FeatureReader::field_of(Slot slot) const {
  while (slot != Paths::kNone && paths_[slot].step != Paths::Step::field) slot = paths_.parent(slot);
  return slot;
}

std::string FeatureReader::path(Slot slot) const {
  if (slot == Paths::kElsewhere) return "…";
  std::vector<Slot> way;
  for (; slot != Paths::kNone && slot != Paths::kRoot; slot = paths_.parent(slot)) way.push_back(slot);
  std::string out;
  bool fresh = true;  // nothing yet that a dot must part from the next name
  for (std::size_t i = way.size(); i-- > 0;) {
    const std::string& name = paths_.name(way[i]);
    switch (paths_[way[i]].step) {
      case Paths::Step::root: break;
      case Paths::Step::field:
        if (way[i] != only_json_ && !name.empty()) out += name + ":";
        break;
      case Paths::Step::member: out += (fresh ? "" : ".") + name, fresh = false; break;
      case Paths::Step::element: out += "[]", fresh = false; break;
      case Paths::Step::inside: out += "#json", fresh = false; break;
    }
  }
  return out;
}

std::string FeatureReader::usual_of(Slot slot) const { return slot < usual_words_.size() ? usual_words_[slot] : ""; }

const std::string* FeatureReader::dictionary_value(std::size_t column, std::uint8_t id) const {
  if (column >= columns_.size() || id == 0 || id >= columns_[column].values.size()) return nullptr;
  return &columns_[column].values.text(id);
}

const Novel* FeatureReader::novel_value(std::size_t column, std::uint8_t id) const {
  if (column >= columns_.size() || id < kFirstNovel) return nullptr;
  const Novel& novel = columns_[column].novel[id - kFirstNovel];
  return novel.seen ? &novel : nullptr;
}

void FeatureReader::learn(std::span<const Field> fields, bool passed) {
  CLAW_CHECK(!frozen_);
  if (learnt_enough()) return;
  const Features& seen = read(fields);
  if (!seen.defect) learnt_.push_back({seen.deviations, passed});
}

void FeatureReader::freeze() {
  // What passed teaches best; where little of it is seen, what is not known to fail must do.
  const auto passes = static_cast<std::size_t>(std::count_if(learnt_.begin(), learnt_.end(), [](const Learnt& l) { return l.passed; }));
  if (passes >= 200) std::erase_if(learnt_, [](const Learnt& l) { return !l.passed; });
  watched_.resize(paths_.size());
  choose_usual();
  choose_columns();
  learnt_ = {};
  candidates_ = {};
  frozen_ = true;
  learnt_slots_ = paths_.size();
}

// A code is usual at a path when a good part of its messages have it. How large a part: the largest that leaves few
// different rows, so that rows stay few and as telling as possible.
void FeatureReader::choose_usual() {
  std::vector<std::uint32_t> seen(paths_.size());  // messages that have the path
  for (const Learnt& one : learnt_)
    for (std::size_t i = 0; i < one.all.size(); ++i) seen[one.all[i].slot()] += i == 0 || one.all[i].slot() != one.all[i - 1].slot();
  seen[Paths::kRoot] = static_cast<std::uint32_t>(learnt_.size());
  // A child that most of its objects lack is not missed.
  std::vector<std::vector<Slot>> children(paths_.size());
  for (Slot s = 2; s < paths_.size(); ++s)
    if ((paths_[s].step == Paths::Step::member || paths_[s].step == Paths::Step::field) && seen[s] * 10 >= seen[paths_.parent(s)]) children[paths_.parent(s)].push_back(s);
  std::vector<std::array<std::uint32_t, 256>> counts(paths_.size());
  std::vector<std::uint32_t> messages(paths_.size());  // in which the path or its absence was seen
  std::vector<bool> present(paths_.size());
  for (Learnt& one : learnt_) {
    std::fill(present.begin(), present.end(), false);
    present[Paths::kRoot] = true;
    for (const Deviation& d : one.all) present[d.slot()] = true;
    std::vector<Deviation> absent;
    const auto tell = [&](Slot object) {
      for (const Slot child : children[object])
        if (!present[child]) absent.push_back(Deviation::of(child, code::kAbsent));
    };
    tell(Paths::kRoot);
    for (const Deviation& d : one.all)
      if (d.code() == code::kObject || d.code() == code::kEmptyObject) tell(d.slot());
    one.all.insert(one.all.end(), absent.begin(), absent.end());
    std::sort(one.all.begin(), one.all.end());
    for (std::size_t i = 0; i < one.all.size(); ++i) {
      ++counts[one.all[i].slot()][one.all[i].code()];
      messages[one.all[i].slot()] += i == 0 || one.all[i].slot() != one.all[i - 1].slot();
    }
  }
  const auto share = [&](Slot s, std::size_t code) { return messages[s] == 0 ? 0.0 : static_cast<double>(counts[s][code]) / messages[s]; };
  for (const double least : {0.5, 0.2, 0.05, 0.01, 0.002}) {
    for (Slot s = 0; s < paths_.size(); ++s)
      for (std::size_t code = 0; messages[s] > 0 && code < 256; ++code)
        if (counts[s][code] >= 2 && share(s, code) >= least) paths_[s].make_usual(static_cast<Code>(code));
    std::unordered_set<std::uint64_t> rows;
    for (const Learnt& one : learnt_) {
      std::uint64_t row = 0;
      for (const Deviation& d : one.all)
        if (!paths_[d.slot()].is_usual(d.code())) row = (row ^ d.bits) * 0xd6e8feb86659fd93ull, row ^= row >> 32;
      rows.insert(row);
    }
    if (rows.size() <= std::max<std::size_t>(64, learnt_.size() / 12)) break;
  }
  usual_words_.resize(paths_.size());
  common_.resize(paths_.size());
  for (Slot s = 0; s < paths_.size(); ++s)
    for (std::size_t code = 0; code < 256; ++code)
      if (share(s, code) >= 0.1) common_[s][code >> 6] |= 1ull << (code & 63);
  std::vector<Slot> json_fields;
  for (Slot s = 2; s < paths_.size(); ++s) {
    const auto most = std::max_element(counts[s].begin() + 1, counts[s].end()) - counts[s].begin();
    if (counts[s][static_cast<std::size_t>(most)] > 0) usual_words_[s] = words_of(static_cast<Code>(most));
    if (paths_[s].step == Paths::Step::field && counts[s][code::kObject] + counts[s][code::kArray] > 0) json_fields.push_back(s);
    const Slot parent = paths_.parent(s);
    const bool child = paths_[s].step == Paths::Step::member || paths_[s].step == Paths::Step::field;
    if (!child || messages[s] < 20 || paths_[s].is_usual(code::kAbsent) || seen[s] * 10 < seen[parent]) continue;
    paths_[s].tells_absence = true;
    ++paths_[parent].watched;
    watched_[parent].push_back(s);
  }
  if (json_fields.size() == 1) only_json_ = json_fields.front();
}

// Paths with few values, those near the root first.
void FeatureReader::choose_columns() {
  std::vector<std::pair<std::size_t, Slot>> chosen;  // depth, slot
  for (Slot s = 2; s < candidates_.size(); ++s) {
    const Candidate& c = candidates_[s];
    if (c.many || c.seen < 20 || c.size() * 4 > c.seen) continue;
    std::size_t depth = 0;
    for (Slot up = s; up != Paths::kNone; up = paths_.parent(up)) ++depth;
    chosen.push_back({depth, s});
  }
  std::sort(chosen.begin(), chosen.end());
  if (chosen.size() > kColumns) chosen.resize(kColumns);
  for (const auto& [depth, slot] : chosen) {
    paths_[slot].column = static_cast<std::int16_t>(columns_.size());
    Column& column = columns_.emplace_back();
    column.slot = slot;
    column.field = field_of(slot);
    const Candidate& c = candidates_[slot];
    bool wide = false;
    for (const auto& counts : c.counts)
      for (const auto& [text, count] : counts) wide = wide || text.size() > Dictionary::kShortValue;
    column.values = Dictionary(wide);
    for (const ValueKind kind : {ValueKind::text, ValueKind::number})
      for (const auto& [text, count] : c.of(kind)) {
        const std::string padded = text + std::string(Batch::kPadding, '\0');
        const std::string_view value = std::string_view(padded).substr(0, text.size());
        const Code code = kind == ValueKind::number ? classify_number(value).code : classify_text(value, text.find('\\') != std::string::npos);
        column.values.add(value, kind, {.code = code, .common = count * 10 >= c.seen, .usual = paths_[slot].is_usual(code)});
      }
    column.values.give_places();
  }
}

}  // namespace claw::content
