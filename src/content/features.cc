#include "content/features.h"

#include <simdjson.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <unordered_set>

#include "base/result.h"
#include "content/escapes.h"
#include "content/strict_json.h"

namespace claw::content {

static_assert(Batch::kPadding >= simdjson::SIMDJSON_PADDING);

namespace {

constexpr std::size_t kMaxNesting = 4;
constexpr std::size_t kMostDeviations = 4'096;  // of one message, before equal ones are merged
constexpr std::size_t kLongestValue = 31;
constexpr std::size_t kMostValues = 64;         // of a path that counts as having few
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
constexpr auto kLoneSurrogate = static_cast<Code>(code::kFirstText + 4 * static_cast<Code>(Shape::lone_surrogate));

bool looks_like_json(std::string_view value) {
  if (value.starts_with(kByteOrderMark)) value.remove_prefix(kByteOrderMark.size());
  const std::size_t first = value.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && (value[first] == '{' || value[first] == '[');
}

enum class Kind : unsigned char { text = 1, number = 2 };

// The bytes of a value as words, its kind in the last byte; Batch::kPadding bytes behind it are readable.
std::array<std::uint64_t, 4> words_of_value(std::string_view text, Kind kind) {
  static constexpr auto kMasks = [] {
    std::array<std::array<unsigned char, 32>, kLongestValue + 1> masks{};
    for (std::size_t length = 0; length <= kLongestValue; ++length)
      for (std::size_t i = 0; i < length; ++i) masks[length][i] = 0xff;
    return masks;
  }();
  std::array<std::uint64_t, 4> words, mask;
  std::memcpy(words.data(), text.data(), 32);
  std::memcpy(mask.data(), kMasks[text.size()].data(), 32);
  for (std::size_t i = 0; i < 4; ++i) words[i] &= mask[i];
  words[3] |= std::uint64_t{static_cast<unsigned char>(kind)} << 56;
  return words;
}

}  // namespace

struct FeatureReader::Level {
  std::unique_ptr<simdjson::internal::dom_parser_implementation> index;  // its first stage finds the structure
  std::string text;                                                      // what is nested here, unescaped and padded

  // The offsets of brackets, colons, commas and of the first bytes of values; false when the text cannot be JSON.
  bool find_structure(std::string_view json) {
    if (index == nullptr) {
      CLAW_CHECK(simdjson::get_active_implementation()->create_dom_parser_implementation(std::max<std::size_t>(json.size(), 1u << 16), kMaxJsonDepth, index) == simdjson::SUCCESS);
    } else if (index->capacity() < json.size()) {
      CLAW_CHECK(index->set_capacity(json.size()) == simdjson::SUCCESS);
    }
    return index->stage1(reinterpret_cast<const std::uint8_t*>(json.data()), json.size(), simdjson::stage1_mode::regular) == simdjson::SUCCESS;
  }
};

inline void FeatureReader::put(Slot slot, Code code) {
  if (!paths_[slot].is_usual(code)) deviate(slot, code);
}

inline std::uint64_t FeatureReader::hash(const Words& words) {
  const std::uint64_t h = (words[0] ^ words[1] * 0x9e3779b97f4a7c15ull ^ words[2] * 0xc2b2ae3d27d4eb4full ^ words[3] * 0x165667b19e3779f9ull) * 0xd6e8feb86659fd93ull;
  return h ^ h >> 32;
}

// A value of the dictionary brings its code along: it is not looked at again.
inline bool FeatureReader::known_value(Slot slot, std::string_view text, bool number) {
  const int column = paths_[slot].column;
  if (column < 0 || text.size() > kLongestValue) return false;
  const Column& known = columns_[static_cast<std::size_t>(column)];
  const Words words = words_of_value(text, number ? Kind::number : Kind::text);
  for (std::size_t at = hash(words) & 255; known.table[at] != 0; at = (at + 1) & 255) {
    const Column::Entry& entry = known.entries[known.table[at] - 1u];
    if (((entry.words[0] ^ words[0]) | (entry.words[1] ^ words[1]) | (entry.words[2] ^ words[2]) | (entry.words[3] ^ words[3])) != 0) continue;
    if (!entry.usual) deviate(slot, entry.code);
    std::uint8_t& kept = features_.values[static_cast<std::size_t>(column)];
    kept = std::max(kept, known.table[at]);  // several elements of an array: one of them, always the same
    return true;
  }
  return false;
}

// One strict walk over the structure of one JSON text. Every false means: not JSON by RFC 8259, or too deep.
class Walk {
 public:
  // `index`: offsets into `text`, then its size once more.
  Walk(FeatureReader& reader, std::string_view text, const std::uint32_t* index, std::uint32_t count, std::size_t nesting)
      : reader_(reader), paths_(reader.paths_), p_(text.data()), index_(index), count_(count), nesting_(nesting) {}

  // The one loop that every byte of every queue goes through: what is usual is done here, the rest calls out.
  bool run(Slot slot) {
    const std::uint32_t* at = index_;
    const std::uint32_t* const end = index_ + count_;
    Frame* top = frames_;  // the first one stands below the root

  value:
    if (at == end) return false;
    switch (p_[*at]) {
      case '"': {
        const std::string_view raw = quoted(at);
        if (raw.data() == nullptr) return false;
        ++at;
        if (!reader_.known_value(slot, raw, false) && !text(slot, raw)) return false;
        goto after;
      }
      case '{':
      case '[': {
        const bool object = p_[*at] == '{';
        if (top == frames_ + kMaxJsonDepth || ++at == end) return false;
        const bool empty = p_[*at] == (object ? '}' : ']');
        reader_.put(slot, object ? (empty ? code::kEmptyObject : code::kObject) : (empty ? code::kEmptyArray : code::kArray));
        *++top = {.slot = slot, .element = object || empty ? Paths::kNone : paths_.element_of(slot), .key = Paths::kNone, .seen = 0, .stamp = object ? ++reader_.stamp_ : 0, .object = object};
        if (empty) goto after;
        if (object) goto member;
        slot = top->element;
        goto value;
      }
      case 't': if (!word(slot, at, "true", code::kTrue)) return false; break;
      case 'f': if (!word(slot, at, "false", code::kFalse)) return false; break;
      case 'n': if (!word(slot, at, "null", code::kNull)) return false; break;
      default: {
        const std::string_view raw = scalar(at);
        if (!reader_.known_value(slot, raw, true) && !number(slot, raw)) return false;
      }
    }
    ++at;

  after:
    if (top == frames_) return at == end;
    if (at == end) return false;
    if (const char c = p_[*at++]; c != ',') {
      if (c != (top->object ? '}' : ']')) return false;
      if (top->object && top->seen != paths_[top->slot].watched) reader_.tell_absent(top->slot, top->stamp);
      --top;
      goto after;
    }
    slot = top->element;
    if (!top->object) goto value;

  member: {
    if (at == end || p_[*at] != '"') return false;
    Paths::Guess& guess = top->key == Paths::kNone ? paths_[top->slot].first_key : paths_.key(top->key).next;
    std::uint32_t key = guess.last;
    if (key == Paths::kNone || !paths_.key(key).is_at(p_ + *at + 1)) {
      key = guess.other;
      if (key != Paths::kNone && paths_.key(key).is_at(p_ + *at + 1)) guess.take(key);
      else if (!look_up(*top, at)) return false;
      else key = found_;
    }
    if (++at == end || p_[*at] != ':') return false;
    ++at;
    slot = Paths::kElsewhere;
    if (key == Paths::kNone) goto value;
    top->key = key;
    slot = paths_.key(key).child;
    Paths::Node& node = paths_[slot];
    if (node.stamp == top->stamp) reader_.put(slot, code::kDuplicate);
    else top->seen += node.tells_absence;
    node.stamp = top->stamp;
    goto value;
  }
  }

 private:
  struct Frame {
    Slot slot;
    Slot element;            // arrays: where the elements go
    std::uint32_t key;       // objects: the key read last
    std::uint32_t seen;      // objects: children read whose absence would be told
    std::uint64_t stamp;
    bool object;
  };

  // First byte after what began at *at, blanks taken off.
  const char* end_of(const std::uint32_t* at) const {
    const char* end = p_ + at[1];
    while (end[-1] == ' ' || end[-1] == '\n' || end[-1] == '\r' || end[-1] == '\t') --end;
    return end;
  }
  std::string_view scalar(const std::uint32_t* at) const { return {p_ + *at, end_of(at)}; }
  // Between the quotes; without data when there is no second one.
  std::string_view quoted(const std::uint32_t* at) const {
    const char *start = p_ + *at + 1, *end = end_of(at) - 1;
    return end < start || *end != '"' ? std::string_view() : std::string_view(start, end);
  }

  // What the object's next key is into found_, as the guess for the next time too.
  [[gnu::noinline]] bool look_up(const Frame& top, const std::uint32_t* at) {
    std::string_view raw = quoted(at);
    if (raw.data() == nullptr) return false;
    if (raw.find('\\') != std::string_view::npos) {
      if (!unescape(raw, scratch_).well_formed) return false;
      const std::size_t length = scratch_.size();
      scratch_.append(Batch::kPadding, '\0');
      raw = std::string_view(scratch_).substr(0, length);
    }
    found_ = paths_.find_key(top.slot, raw);
    if (found_ != Paths::kNone) (top.key == Paths::kNone ? paths_[top.slot].first_key : paths_.key(top.key).next).take(found_);
    return true;
  }

  [[gnu::noinline]] bool text(Slot slot, std::string_view raw) {
    const TextClass is = classify_text(raw);
    if (is.escapes) return escaped_text(slot, raw, is.code);
    reader_.put(slot, is.code);
    reader_.new_value(slot, raw, false);
    return true;
  }

  bool escaped_text(Slot slot, std::string_view raw, Code code) {
    if (raw.starts_with("{\\\"") || raw.starts_with("[{\\\"")) {
      if (!reader_.embedded(slot, raw, nesting_, code)) return false;
    } else {
      const Unescaped done = check_escapes(raw);
      if (!done.well_formed) return false;
      if (done.lone_surrogate) code = kLoneSurrogate;
    }
    reader_.put(slot, code);
    return true;
  }

  [[gnu::noinline]] bool number(Slot slot, std::string_view raw) {
    const Number is = classify_number(raw);
    if (is.length == 0 || is.length != raw.size()) return false;
    reader_.put(slot, is.code);
    if (is.code <= code::kThousands) reader_.new_value(slot, raw, true);
    return true;
  }

  bool word(Slot slot, const std::uint32_t* at, std::string_view expected, Code code) {
    if (scalar(at) != expected) return false;
    reader_.put(slot, code);
    return true;
  }

  FeatureReader& reader_;
  Paths& paths_;
  const char* const p_;
  const std::uint32_t* const index_;
  const std::uint32_t count_;
  std::uint32_t found_ = Paths::kNone;
  std::size_t nesting_;
  std::string scratch_;
  Frame frames_[kMaxJsonDepth + 1];
};

FeatureReader::FeatureReader() = default;
FeatureReader::~FeatureReader() = default;
FeatureReader::FeatureReader(FeatureReader&&) noexcept = default;
FeatureReader::FeatureReader(const FeatureReader& frozen)
    : paths_(frozen.paths_), watched_(frozen.watched_), field_keys_(frozen.field_keys_), stamp_(frozen.stamp_), frozen_(frozen.frozen_), learnt_slots_(frozen.learnt_slots_),
      only_json_(frozen.only_json_), columns_(frozen.columns_), usual_words_(frozen.usual_words_), common_(frozen.common_) {
  CLAW_CHECK(frozen.frozen_);
}

void FeatureReader::deviate(Slot slot, Code code) {
  features_.deviations.push_back({slot, code});
  if (features_.deviations.size() < kMostDeviations) return;
  settle();
  if (features_.deviations.size() > kMostDeviations / 2) features_.deviations.resize(kMostDeviations / 2);
}

void FeatureReader::learn_value(Slot slot, std::string_view text, bool number) {
  if (slot == Paths::kElsewhere || text.size() > kLongestValue) return;
  if (candidates_.size() <= slot) candidates_.resize(slot + 1);
  Candidate& c = candidates_[slot];
  ++c.seen;
  if (c.many) return;
  auto& counts = c.counts[number];
  if (const auto known = counts.find(text); known != counts.end()) ++known->second;
  else if (c.size() == kMostValues) c = {.counts = {}, .seen = c.seen, .many = true};
  else counts.emplace(text, 1);
}

void FeatureReader::new_value(Slot slot, std::string_view text, bool number) {
  if (!frozen_) return learn_value(slot, text, number);
  const int column = paths_[slot].column;
  if (column < 0 || text.size() > kLongestValue) return;
  const std::uint64_t h = hash(words_of_value(text, number ? Kind::number : Kind::text));
  const auto id = static_cast<std::uint8_t>(kFirstNovel + (h >> 8 & 127));
  Novel& novel = columns_[static_cast<std::size_t>(column)].novel[id - kFirstNovel];
  if (!novel.seen) novel = {.text = std::string(text), .number = number, .seen = true};
  else if (novel.text != text || novel.number != number) novel.ambiguous = true;
  std::uint8_t& kept = features_.values[static_cast<std::size_t>(column)];
  kept = std::max(kept, id);
}

void FeatureReader::settle() {
  std::vector<Deviation>& all = features_.deviations;
  if (all.size() < 2) return;
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
}

void FeatureReader::tell_absent(Slot object, std::uint64_t stamp) {
  for (const Slot child : watched_[object])
    if (paths_[child].stamp != stamp) put(child, code::kAbsent);
}

// JSON that a string holds, escapes and all: its features under path#json. False when an escape is malformed.
bool FeatureReader::embedded(Slot slot, std::string_view raw, std::size_t nesting, Code& code) {
  while (levels_.size() <= nesting + 1) levels_.push_back(std::make_unique<Level>());
  std::string& padded = levels_[nesting + 1]->text;
  const Unescaped done = unescape(raw, padded);
  if (!done.well_formed) return false;
  code = done.lone_surrogate ? kLoneSurrogate : nesting + 1 >= kMaxNesting ? code::kTooDeep : code::kEmbeddedJson;
  if (code != code::kEmbeddedJson) return true;
  const std::size_t size = padded.size();
  padded.append(Batch::kPadding, ' ');
  const std::string_view inner(padded.data(), size);
  const std::size_t before = features_.deviations.size();
  if (read_json(inner, paths_.inside_of(slot), nesting + 1)) return true;
  features_.deviations.resize(std::min(before, features_.deviations.size()));
  JsonError error = walk_json(inner);
  if (!error.kind.empty() && !features_.defect) {
    const std::string outer = path(slot) + "#json";
    features_.defect = {.kind = std::move(error.kind), .path = error.path.empty() ? outer : outer + "." + error.path, .what = std::move(error.what),
                        .offset = error.offset, .inner = std::string(inner)};
  }
  return true;
}

bool FeatureReader::read_json(std::string_view text, Slot slot, std::size_t nesting) {
  while (levels_.size() <= nesting) levels_.push_back(std::make_unique<Level>());
  Level& level = *levels_[nesting];
  if (!level.find_structure(text)) return false;
  level.index->structural_indexes[level.index->n_structural_indexes] = static_cast<std::uint32_t>(text.size());
  return Walk(*this, text, level.index->structural_indexes.get(), level.index->n_structural_indexes, nesting).run(slot);
}

void FeatureReader::read_field(std::size_t index, const Field& field, Slot slot) {
  if (!looks_like_json(field.value)) {
    if (known_value(slot, field.value, false)) return;
    put(slot, classify_text(field.value).code);
    return new_value(slot, field.value, false);
  }
  const std::size_t before = features_.deviations.size();
  if (field.value.size() <= kLargestBody && !field.value.starts_with(kByteOrderMark)) {
    if (read_json(field.value, slot, 0)) {
      if (features_.defect) features_.defect->field = index;
      return;
    }
  }
  features_.deviations.resize(std::min(before, features_.deviations.size()));
  for (std::size_t c = 0; c < columns_.size(); ++c)
    if (columns_[c].field == slot) features_.values[c] = 0;
  JsonError error = walk_json(field.value);
  if (error.kind.empty()) {
    understood_ = false;
    return;
  }
  const std::string prefix = path(slot);
  features_.defect = {.kind = std::move(error.kind), .path = prefix + error.path,
                      .what = std::move(error.what), .offset = error.offset, .field = index};
}

Slot FeatureReader::field_slot(std::size_t index, std::string_view name) {
  if (index >= field_keys_.size()) field_keys_.resize(std::min<std::size_t>(index + 1, Paths::kMostSlots), Paths::kNone);
  std::uint32_t& guess = field_keys_[std::min(index, field_keys_.size() - 1)];
  if (guess == Paths::kNone || paths_.name(paths_.key(guess).child) != name) {
    std::string padded(name);  // bytes behind a value may be read, those behind a name may not
    padded.append(16, '\0');
    guess = paths_.find_key(Paths::kRoot, std::string_view(padded).substr(0, name.size()), Paths::Step::field);
  }
  return guess == Paths::kNone ? Paths::kElsewhere : paths_.key(guess).child;
}

const Features& FeatureReader::read(std::span<const Field> fields) {
  features_.deviations.clear();
  features_.values = {};
  features_.defect.reset();
  understood_ = true;
  const std::uint64_t stamp = ++stamp_;
  std::uint32_t seen = 0;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const Slot slot = field_slot(i, fields[i].name);
    Paths::Node& node = paths_[slot];
    if (node.stamp == stamp && slot != Paths::kElsewhere) put(slot, code::kDuplicate);
    else seen += node.tells_absence;
    node.stamp = stamp;
    read_field(i, fields[i], slot);
  }
  if (seen != paths_[Paths::kRoot].watched) tell_absent(Paths::kRoot, stamp);
  settle();
  return features_;
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
  if (column >= columns_.size() || id == 0 || id > columns_[column].texts.size()) return nullptr;
  return &columns_[column].texts[id - 1u];
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
    for (std::size_t i = 0; i < one.all.size(); ++i) seen[one.all[i].slot] += i == 0 || one.all[i].slot != one.all[i - 1].slot;
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
    for (const Deviation& d : one.all) present[d.slot] = true;
    std::vector<Deviation> absent;
    const auto tell = [&](Slot object) {
      for (const Slot child : children[object])
        if (!present[child]) absent.push_back({child, code::kAbsent});
    };
    tell(Paths::kRoot);
    for (const Deviation& d : one.all)
      if (d.code == code::kObject || d.code == code::kEmptyObject) tell(d.slot);
    one.all.insert(one.all.end(), absent.begin(), absent.end());
    std::sort(one.all.begin(), one.all.end());
    for (std::size_t i = 0; i < one.all.size(); ++i) {
      ++counts[one.all[i].slot][one.all[i].code];
      messages[one.all[i].slot] += i == 0 || one.all[i].slot != one.all[i - 1].slot;
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
        if (!paths_[d.slot].is_usual(d.code)) row = (row ^ (std::uint64_t{d.slot} << 8 | d.code)) * 0xd6e8feb86659fd93ull, row ^= row >> 32;
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
    for (const bool number : {false, true})
      for (const auto& [text, count] : candidates_[slot].counts[number]) add_value(column, text, number, count * 10 >= candidates_[slot].seen);
  }
}

void FeatureReader::add_value(Column& column, const std::string& text, bool number, bool common) {
  Words words{};
  std::memcpy(words.data(), text.data(), text.size());
  words[3] |= std::uint64_t{static_cast<unsigned char>(number ? Kind::number : Kind::text)} << 56;
  const Code code = number ? classify_number(text).code : classify_text(text).code;
  column.entries.push_back({words, code, common, paths_[column.slot].is_usual(code)});
  column.texts.push_back(number ? text : "\"" + text + "\"");
  std::size_t at = hash(words) & 255;
  while (column.table[at] != 0) at = (at + 1) & 255;
  column.table[at] = static_cast<std::uint8_t>(column.entries.size());
}

}  // namespace claw::content
