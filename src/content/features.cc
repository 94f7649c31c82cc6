#include "content/features.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <unordered_set>

#include "base/result.h"
#include "content/byte_sets.h"
#include "content/escapes.h"
#include "content/lanes.h"
#include "content/strict_json.h"
#include "content/utf8.h"

namespace claw::content {

static_assert(Batch::kPadding >= kMostSetBytes && Batch::kPadding >= kTextLanes);

namespace {

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
inline std::array<std::uint64_t, 4> words_of_value(std::string_view text, Kind kind) {
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

// Without a branch: what is unusual comes at random, and a processor that guesses wrong loses more than this takes.
inline void FeatureReader::put_odd(bool odd, Deviation deviation) {
  odd_[odd_count_] = deviation;
  odd_count_ += odd;
  if (odd_count_ == kMostOdd) [[unlikely]] {
    settle();
    odd_count_ = std::min(odd_count_, kMostOdd / 2);
    crowded_ = true;
  }
}

inline void FeatureReader::put(Slot slot, Code code) { put_odd(!paths_[slot].is_usual(code), Deviation::of(slot, code)); }

inline std::uint64_t FeatureReader::hash(const Words& words) {
  const std::uint64_t h = (words[0] ^ words[1] * 0x9e3779b97f4a7c15ull ^ words[2] * 0xc2b2ae3d27d4eb4full ^ words[3] * 0x165667b19e3779f9ull) * 0xd6e8feb86659fd93ull;
  return h ^ h >> 32;
}

inline std::size_t FeatureReader::Column::place(const Words& words) const {
  return (words[0] * factors[0] + words[1] * factors[1] + words[2] * factors[2] + words[3] * factors[3]) >> (64 - kTableBits);
}

// A value of the dictionary brings its code along: it is not looked at again.
inline bool FeatureReader::known_value(Slot slot, std::string_view text, bool number) {
  const int column = paths_[slot].column;
  if (column < 0 || text.size() > kLongestValue) return false;
  const Column& known = columns_[static_cast<std::size_t>(column)];
  const Words words = words_of_value(text, number ? Kind::number : Kind::text);
  const std::uint8_t id = known.table[known.place(words)];
  const Column::Entry& entry = known.entries[id];
  if (((entry.words[0] ^ words[0]) | (entry.words[1] ^ words[1]) | (entry.words[2] ^ words[2]) | (entry.words[3] ^ words[3])) != 0) return false;
  put_odd(!entry.usual, Deviation::of(slot, entry.code));
  std::uint8_t& kept = features_.values[static_cast<std::size_t>(column)];
  kept = std::max(kept, id);  // several elements of an array: one of them, always the same
  return true;
}

// One strict walk over one JSON text. Every false means: not JSON by RFC 8259, or too deep. Bytes behind the text are read,
// so many at once, and never believed: what reaches beyond the end is no JSON.
class Walk {
 public:
  Walk(FeatureReader& reader, std::string_view text, std::size_t nesting)
      : reader_(reader), paths_(reader.paths_), begin_(text.data()), end_(text.data() + text.size()), nesting_(nesting) {}

  // The one loop that every byte of every queue goes through: what is usual is done here, the rest calls out.
  bool run(Slot slot) {
    const char* p = begin_;
    Gaps::Ways* ways = reader_.gaps_.from(slot);
    std::uint64_t outline = 0;
    for (bool first = true;; first = false) {
      const Gaps::Gap* const gap = Gaps::find(ways, p, text_left(p));
      if (gap != nullptr && passed_count_ < passed_.size()) [[likely]] {
        passed_[passed_count_++] = gap->id;
        outline = Outlines::hash(outline, gap->id);
        p += gap->length;
        slot = gap->slot;
        ways = gap->next;
        if (gap->to == Gaps::To::end) return tell_outline(outline);
      } else {
        follow_passed();
        plain_ = false;
        slot_ = slot;
        p = walk_gap(p, first);
        if (p == nullptr) return false;
        if (p == end_) return ended_;
        slot = slot_;
        ways = reader_.gaps_.from(slot);
      }

      if (*p == '"') {
        ++p;
        const TextLanes lanes = text_lanes(p);
        const auto length = static_cast<unsigned>(std::countr_zero(lanes.stops));
        if (lanes.stops != 0 && p[length] == '"') {
          const std::string_view raw(p, length);
          p += length + 1;
          if (p > end_) return false;
          if (!reader_.known_value(slot, raw, false)) {
            if ((lanes.high & ((1u << length) - 1)) != 0 && !is_utf8(raw)) return false;
            plain_text(slot, raw);
          }
        } else if (p = any_text(slot, p); p == nullptr) {
          return false;
        }
      } else if (*p <= '9') {
        const NumberLanes lanes = number_lanes(p);
        const std::string_view raw(p, lanes.stops == 0 ? number_length(p) : std::min<std::size_t>(static_cast<unsigned>(std::countr_zero(lanes.stops)), text_left(p)));
        p += raw.size();
        if (!reader_.known_value(slot, raw, true) && !number(slot, raw, lanes.digits)) return false;
      } else if (p = word(slot, p); p == nullptr) {
        return false;
      }
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

  void open(Slot slot, Slot element, bool object) {
    reader_.put(slot, object ? code::kObject : code::kArray);
    *++top_ = {.slot = slot, .element = element, .key = Paths::kNone, .seen = 0, .stamp = object ? ++reader_.stamp_ : 0, .object = object};
  }
  void empty(Slot slot, bool object) {
    reader_.put(slot, object ? code::kEmptyObject : code::kEmptyArray);
    if (object && paths_[slot].watched != 0) reader_.tell_absent(slot, ++reader_.stamp_);
  }
  void close() {
    if (top_->object && top_->seen != paths_[top_->slot].watched) reader_.tell_absent(top_->slot, top_->stamp);
    --top_;
  }
  void member(std::uint32_t key, Slot slot) {
    top_->key = key;
    Paths::Node& node = paths_[slot];
    if (node.stamp == top_->stamp) reader_.put(slot, code::kDuplicate);
    else top_->seen += node.tells_absence;
    node.stamp = top_->stamp;
  }

  // Does what the gaps passed since mean.
  void follow_passed() {
    for (std::size_t g = 0; g < passed_count_; ++g) {
      const Gaps::Rest& gap = *reader_.gaps_[passed_[g]].rest;
      for (const Gaps::Step& step : std::span(gap.step).first(gap.steps)) {
        switch (step.kind) {
          case Gaps::Step::Kind::close: close(); break;
          case Gaps::Step::Kind::open_object: open(step.slot, Paths::kNone, true); break;
          case Gaps::Step::Kind::open_array: open(step.slot, step.other, false); break;
          case Gaps::Step::Kind::empty_object: empty(step.slot, true); break;
          case Gaps::Step::Kind::empty_array: empty(step.slot, false); break;
          case Gaps::Step::Kind::member: member(step.other, step.slot); break;
        }
      }
    }
    passed_count_ = 0;
  }

  // At the end of the text.
  bool tell_outline(std::uint64_t hash) {
    const std::span<const std::uint16_t> gaps(passed_.data(), passed_count_);
    if (plain_) {
      if (const auto known = reader_.outlines_.find(hash, gaps)) {
        for (const std::uint32_t odd : *known) reader_.put_odd(true, {odd});
        return true;
      }
    }
    const std::size_t before = reader_.odd_count_;
    follow_passed();
    if (plain_ && !reader_.crowded_) {
      std::vector<std::uint32_t> odd;
      for (std::size_t i = before; i < reader_.odd_count_; ++i) odd.push_back(reader_.odd_[i].bits);
      reader_.outlines_.add(hash, gaps, odd);
    }
    return true;
  }

  // From where a value has ended, or should begin, to the first byte of the next one that is no object and no array, or to
  // the end of the text; null when this is no JSON.
  [[gnu::noinline]] const char* walk_gap(const char* p, bool at_value) {
    const char* const start = p;
    const Slot from = slot_;
    std::array<Gaps::Step, Gaps::kMostSteps> steps;
    std::size_t count = 0;
    bool known = reader_.read_ > FeatureReader::kShortQueue && from != Paths::kElsewhere;  // all there is to it can be told again
    const auto note = [&](Gaps::Step step) {
      known = known && count < steps.size() && step.slot != Paths::kElsewhere;
      if (known) steps[count++] = step;
    };
    using Kind = Gaps::Step::Kind;
    if (!at_value) goto after;

  value:
    p = behind_blanks(p);
    if (p >= end_) return nullptr;
    if (*p == '{' || *p == '[') {
      const bool object = *p == '{';
      if (top_ == frames_ + kMaxJsonDepth) return nullptr;
      p = behind_blanks(p + 1);
      if (p >= end_) return nullptr;
      if (*p == (object ? '}' : ']')) {
        ++p;
        empty(slot_, object);
        note({.kind = object ? Kind::empty_object : Kind::empty_array, .slot = slot_});
        goto after;
      }
      const Slot element = object ? Paths::kNone : paths_.element_of(slot_);
      open(slot_, element, object);
      note({.kind = object ? Kind::open_object : Kind::open_array, .slot = slot_, .other = element});
      if (object) goto member;
      slot_ = element;
      known = known && element != Paths::kElsewhere;
      goto value;
    }
    if (known) reader_.gaps_.add(from, {start, p}, std::span(steps.data(), count), slot_, *p == '"' ? Gaps::To::text : Gaps::To::other);
    return p;

  after:
    p = behind_blanks(p);
    if (top_ == frames_) {
      if (p != end_) return nullptr;
      if (known) reader_.gaps_.add(from, {start, p}, std::span(steps.data(), count), Paths::kNone, Gaps::To::end);
      ended_ = true;
      return p;
    }
    if (p >= end_) return nullptr;
    if (const char c = *p++; c != ',') {
      if (c != (top_->object ? '}' : ']')) return nullptr;
      close();
      note({.kind = Kind::close});
      goto after;
    }
    slot_ = top_->element;
    if (!top_->object) goto value;
    p = behind_blanks(p);

  member: {
    if (p >= end_ || *p++ != '"') return nullptr;
    Paths::Guess& guess = top_->key == Paths::kNone ? paths_[top_->slot].first_key : paths_.key(top_->key).next;
    std::uint32_t key = guess.last;
    if (key != Paths::kNone && paths_.key(key).is_at(p)) {
      p += paths_.key(key).length + 1;
    } else if (key = guess.other; key != Paths::kNone && paths_.key(key).is_at(p)) {
      guess.take(key);
      p += paths_.key(key).length + 1;
    } else {
      if (p = look_up(*top_, p); p == nullptr) return nullptr;
      key = found_;
    }
    p = behind_blanks(p);
    if (p >= end_ || *p++ != ':') return nullptr;
    slot_ = Paths::kElsewhere;
    known = known && key != Paths::kNone;
    if (key == Paths::kNone) goto value;
    slot_ = paths_.key(key).child;
    member(key, slot_);
    note({.kind = Kind::member, .slot = slot_, .other = key});
    goto value;
  }
  }

  std::size_t text_left(const char* p) const { return static_cast<std::size_t>(end_ - p); }
  const char* behind_blanks(const char* p) const {
    return static_cast<unsigned char>(*p) > ' ' ? p : behind_more_blanks(p);
  }
  [[gnu::noinline]] const char* behind_more_blanks(const char* p) const {
    while (p < end_ && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) ++p;
    return p;
  }

  // The end of the text that begins at `p`: its closing quote, null when it has none. Ascii texts are UTF-8.
  struct Text {
    const char* end;
    bool escapes, ascii;
  };
  Text find_text(const char* p) const {
    Text text{nullptr, false, true};
    while (p < end_) {
      const TextLanes lanes = text_lanes(p);
      if (lanes.stops == 0) {
        text.ascii = text.ascii && lanes.high == 0;
        p += kTextLanes;
        continue;
      }
      const auto length = static_cast<unsigned>(std::countr_zero(lanes.stops));
      text.ascii = text.ascii && (lanes.high & ((1u << length) - 1)) == 0;
      p += length;
      if (*p != '\\') {
        if (*p == '"' && p < end_) text.end = p;
        break;
      }
      text.escapes = true;
      p += 2;
    }
    return text;
  }

  // What the object's next key is into found_, as the guess for the next time too. The byte behind it, null when it is none.
  [[gnu::noinline]] const char* look_up(const Frame& top, const char* p) {
    const Text key = find_text(p);
    if (key.end == nullptr) return nullptr;
    std::string_view raw(p, static_cast<std::size_t>(key.end - p));
    if (!key.ascii && !is_utf8(raw)) return nullptr;
    if (key.escapes) {
      if (unescape(p, end_, scratch_).end == nullptr) return nullptr;
      const std::size_t length = scratch_.size();
      scratch_.append(Batch::kPadding, '\0');
      raw = std::string_view(scratch_).substr(0, length);
    }
    found_ = paths_.find_key(top.slot, raw);
    if (found_ != Paths::kNone) (top.key == Paths::kNone ? paths_[top.slot].first_key : paths_.key(top.key).next).take(found_);
    return key.end + 1;
  }

  // Long ones and those with escapes, which no dictionary has. The byte behind it, null when it is none.
  [[gnu::noinline]] const char* any_text(Slot slot, const char* p) {
    if (const char* const brace = *p == '[' ? p + 1 : p; brace[0] == '{' && brace[1] == '\\' && brace[2] == '"') {
      const char* const end = reader_.embedded(slot, p, end_, nesting_);
      return end == nullptr ? nullptr : end + 1;
    }
    const Text text = find_text(p);
    if (text.end == nullptr) return nullptr;
    const std::string_view raw(p, static_cast<std::size_t>(text.end - p));
    if (!text.ascii && !is_utf8(raw)) return nullptr;
    if (text.escapes) {
      const Escapes are = check_escapes(raw);
      if (!are.well_formed) return nullptr;
      reader_.put(slot, are.lone_surrogate ? kLoneSurrogate : classify_text(raw, true));
    } else {
      plain_text(slot, raw);
    }
    return text.end + 1;
  }

  void plain_text(Slot slot, std::string_view raw) {
    reader_.put(slot, classify_text(raw, false));
    reader_.new_value(slot, raw, false);
  }

  // Of one that is longer than the lanes; it ends before what may follow a number.
  [[gnu::noinline]] std::size_t number_length(const char* p) const {
    const std::string_view rest(p, static_cast<std::size_t>(end_ - p));
    const std::size_t length = rest.find_first_of(",]} \t\r\n");
    return length == std::string_view::npos ? rest.size() : length;
  }

  bool number(Slot slot, std::string_view raw, std::uint32_t digits) {
    Code code = short_number(raw, digits);
    if (code == 0) {
      const Number is = classify_number(raw);
      if (is.length == 0 || is.length != raw.size()) return false;
      code = is.code;
    }
    reader_.put(slot, code);
    if (code <= code::kThousands) reader_.new_value(slot, raw, true);
    return true;
  }

  // Most numbers are whole and below 1,000,000,000, or have a fraction: these are told by where their digits are. 0: others.
  static Code short_number(std::string_view raw, std::uint32_t digits) {
    static constexpr Code kByLength[] = {0, code::kSmall, code::kSmall, code::kSmall, code::kThousands, code::kThousands, code::kThousands, code::kInt32, code::kInt32, code::kInt32};
    const std::size_t whole = static_cast<unsigned>(std::countr_one(digits)), size = raw.size();
    if (size == 0 || size > kNumberLanes || whole == 0 || (whole > 1 && raw[0] == '0')) return 0;
    if (whole >= size) return size >= std::size(kByLength) ? Code{0} : raw[0] == '0' ? code::kZero : kByLength[size];
    const std::size_t fraction = static_cast<unsigned>(std::countr_one(digits >> (whole + 1)));
    return raw[whole] == '.' && fraction > 0 && whole + 1 + fraction >= size && whole + 1 < size ? code::kFraction : Code{0};
  }

  const char* word(Slot slot, const char* p) {
    const auto is = [p](const char* four) { return std::memcmp(p, four, 4) == 0; };
    const bool no = is("fals") && p[4] == 'e';
    const char* const end = p + (no ? 5 : 4);
    if (end > end_ || (!no && !is("null") && !is("true"))) return nullptr;
    reader_.put(slot, no ? code::kFalse : *p == 't' ? code::kTrue : code::kNull);
    return end;
  }

  FeatureReader& reader_;
  Paths& paths_;
  const char* const begin_;
  const char* const end_;
  Slot slot_ = Paths::kNone;  // of the value read last, or next
  bool ended_ = false;        // with the last byte
  bool plain_ = true;         // every gap was known
  std::uint32_t found_ = Paths::kNone;
  std::size_t nesting_;
  std::string scratch_;
  Frame frames_[kMaxJsonDepth + 1];  // the first one stands below the root
  Frame* top_ = frames_;
  std::size_t passed_count_ = 0;
  std::array<std::uint16_t, 256> passed_;  // ids of known gaps that were not followed yet
};

FeatureReader::FeatureReader() = default;
FeatureReader::~FeatureReader() = default;
FeatureReader::FeatureReader(FeatureReader&&) noexcept = default;
FeatureReader::FeatureReader(const FeatureReader& frozen)
    : paths_(frozen.paths_), watched_(frozen.watched_), field_keys_(frozen.field_keys_), stamp_(frozen.stamp_), frozen_(frozen.frozen_), learnt_slots_(frozen.learnt_slots_),
      only_json_(frozen.only_json_), columns_(frozen.columns_), usual_words_(frozen.usual_words_), common_(frozen.common_) {
  CLAW_CHECK(frozen.frozen_);
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

// Sorts what was unusual, each once.
void FeatureReader::settle() {
  if (odd_count_ < 2) return;
  if (odd_count_ > 32) std::sort(odd_, odd_ + odd_count_);
  else  // few, and almost in order
    for (std::size_t i = 1; i < odd_count_; ++i) {
      const Deviation one = odd_[i];
      std::size_t at = i;
      for (; at > 0 && one < odd_[at - 1]; --at) odd_[at] = odd_[at - 1];
      odd_[at] = one;
    }
  odd_count_ = static_cast<std::size_t>(std::unique(odd_, odd_ + odd_count_) - odd_);
}

void FeatureReader::tell_absent(Slot object, std::uint64_t stamp) {
  for (const Slot child : watched_[object])
    if (paths_[child].stamp != stamp) put(child, code::kAbsent);
}

// JSON that a text holds, which begins at `text` and ends before `end`: its features under path#json. Its closing quote, null
// when it is no text.
const char* FeatureReader::embedded(Slot slot, const char* text, const char* end, std::size_t nesting) {
  std::string& padded = inner_[nesting];
  const Unescaped done = unescape(text, end, padded);
  if (done.end == nullptr || (!done.ascii && !is_utf8({text, static_cast<std::size_t>(done.end - text)}))) return nullptr;
  if (done.lone_surrogate || nesting + 1 >= kMaxNesting) {
    put(slot, done.lone_surrogate ? kLoneSurrogate : code::kTooDeep);
    return done.end;
  }
  const std::size_t size = padded.size();
  padded.append(Batch::kPadding, ' ');
  const std::string_view inner(padded.data(), size);
  const std::size_t before = odd_count_;
  if (!Walk(*this, inner, nesting + 1).run(paths_.inside_of(slot))) {
    odd_count_ = std::min(before, odd_count_);
    JsonError error = walk_json(inner);
    if (!error.kind.empty() && !features_.defect) {
      const std::string outer = path(slot) + "#json";
      features_.defect = {.kind = std::move(error.kind), .path = error.path.empty() ? outer : outer + "." + error.path, .what = std::move(error.what),
                          .offset = error.offset, .inner = std::string(inner)};
    }
  }
  put(slot, code::kEmbeddedJson);
  return done.end;
}

void FeatureReader::read_field(std::size_t index, const Field& field, Slot slot) {
  if (!looks_like_json(field.value)) {
    if (known_value(slot, field.value, false)) return;
    put(slot, classify_text(field.value, field.value.find('\\') != std::string_view::npos));
    return new_value(slot, field.value, false);
  }
  const std::size_t before = odd_count_;
  if (field.value.size() <= kLargestBody && !field.value.starts_with(kByteOrderMark)) {
    if (Walk(*this, field.value, 0).run(slot)) {
      if (features_.defect) features_.defect->field = index;
      return;
    }
  }
  odd_count_ = std::min(before, odd_count_);
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
  std::array<std::byte, kMostOdd * sizeof(Deviation)> room;
  odd_ = reinterpret_cast<Deviation*>(room.data());
  odd_count_ = 0;
  crowded_ = false;
  features_.values = {};
  features_.defect.reset();
  understood_ = true;
  read_ += frozen_;
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
  features_.deviations.assign(odd_, odd_ + odd_count_);
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
  if (column >= columns_.size() || id == 0 || id >= columns_[column].texts.size()) return nullptr;
  return &columns_[column].texts[id];
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
    for (const bool number : {false, true})
      for (const auto& [text, count] : candidates_[slot].counts[number]) add_value(column, text, number, count * 10 >= candidates_[slot].seen);
    column.give_places();
  }
}

void FeatureReader::add_value(Column& column, const std::string& text, bool number, bool common) {
  const std::string padded = text + std::string(Batch::kPadding, '\0');
  const std::string_view value = std::string_view(padded).substr(0, text.size());
  const Words words = words_of_value(value, number ? Kind::number : Kind::text);
  const Code code = number ? classify_number(value).code : classify_text(value, text.find('\\') != std::string::npos);
  column.entries.push_back({words, code, common, paths_[column.slot].is_usual(code)});
  column.texts.push_back(number ? text : "\"" + text + "\"");
}

// Factors under which every value has a place of its own, so that one comparison tells whether a value is known. There
// are some among the first few hundred; values that have none after many are not known.
void FeatureReader::Column::give_places() {
  std::uint64_t state = 0;
  const auto next = [&state] {  // splitmix64
    std::uint64_t z = state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return (z ^ z >> 31) | 1;
  };
  for (int tries = 0; tries < 20'000; ++tries) {
    for (std::uint64_t& factor : factors) factor = next();
    table.fill(0);
    std::size_t placed = 1;
    for (; placed < entries.size(); ++placed) {
      std::uint8_t& at = table[place(entries[placed].words)];
      if (at != 0) break;
      at = static_cast<std::uint8_t>(placed);
    }
    if (placed == entries.size()) return;
  }
  table.fill(0);
  for (std::size_t id = 1; id < entries.size(); ++id) table[place(entries[id].words)] = static_cast<std::uint8_t>(id);
}

}  // namespace claw::content
