#include "content/read_json.h"

#include <array>
#include <bitset>
#include <cstring>

#include "content/utf8.h"

namespace claw::content {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// A quote, a backslash, a control character or a byte beyond ASCII somewhere in these eight bytes.
bool needs_a_closer_look(const char* at) {
  std::uint64_t v;
  std::memcpy(&v, at, sizeof v);
  constexpr std::uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
  const auto has_zero = [](std::uint64_t x) { return (x - ones) & ~x & tops; };
  const std::uint64_t control = (v - ones * 0x20) & ~v & tops;
  return ((v & tops) | control | has_zero(v ^ (ones * '"')) | has_zero(v ^ (ones * '\\'))) != 0;
}

class Reader {
 public:
  Reader(std::string_view text, Emitter& out) : text_(text), out_(out) {}

  Decoding read() {
    if (text_.starts_with("\xef\xbb\xbf")) return Flaw{"byte order mark", 0};
    skip_space();
    if (!value()) return flaw();
    while (depth_ > 0)
      if (!step()) return flaw();
    skip_space();
    if (!end()) return Flaw{"text after the end", at_};
    return std::nullopt;
  }

 private:
  Decoding flaw() const { return flaw_ ? flaw_ : out_.flaw(); }
  bool fail(std::string_view what) {
    flaw_ = Flaw{what, at_};
    return false;
  }
  bool end() const { return at_ == text_.size(); }
  char peek() const { return end() ? '\0' : text_[at_]; }
  void skip_space() {
    while (!end() && (peek() == ' ' || peek() == '\n' || peek() == '\r' || peek() == '\t')) ++at_;
  }
  bool in_object() const { return objects_[depth_ - 1]; }

  // One member, element or closing bracket of the innermost open container.
  bool step() {
    skip_space();
    const char close = in_object() ? '}' : ']';
    if (peek() == close) return leave();
    if (end()) return fail(in_object() ? "object not closed" : "array not closed");
    if (!first_) {
      if (peek() != ',') return fail("expected a comma");
      ++at_;
      skip_space();
    }
    first_ = false;
    if (in_object()) {
      if (peek() != '"') return fail("expected a key");
      const std::size_t start = at_;
      if (!scan_string() || !out_.key(string_, start)) return false;
      skip_space();
      if (peek() != ':') return fail("expected a colon");
      ++at_;
      skip_space();
    }
    return value();
  }

  bool enter(bool object) {
    if (!(object ? out_.begin_object(at_) : out_.begin_array(at_))) return false;
    objects_[depth_++] = object;
    first_ = true;
    ++at_;
    return true;
  }
  bool leave() {
    const bool object = in_object();
    --depth_;
    first_ = false;
    return object ? out_.end_object(at_++) : out_.end_array(at_++);
  }

  bool value() {
    const std::size_t start = at_;
    switch (peek()) {
      case '{': return enter(true);
      case '[': return enter(false);
      case '"': return scan_string() && out_.string(string_, start);
      case 't': return word("true") && out_.boolean(true, start);
      case 'f': return word("false") && out_.boolean(false, start);
      case 'n': return word("null") && out_.null(start);
      default: return scan_number() && out_.number(text_.substr(start, at_ - start), start);
    }
  }

  bool word(std::string_view expected) {
    if (!text_.substr(at_).starts_with(expected)) return fail("bare word");
    at_ += expected.size();
    return true;
  }

  bool digits() {
    if (!is_digit(peek())) return fail("bad number");
    while (is_digit(peek())) ++at_;
    return true;
  }
  bool scan_number() {
    if (peek() == '-') ++at_;
    else if (!is_digit(peek())) return fail(end() ? "value missing" : "no value starts like this");
    if (peek() == '0') {
      ++at_;
      if (is_digit(peek())) return fail("number with a leading zero");
    } else if (!digits()) {
      return false;
    }
    if (peek() == '.') {
      ++at_;
      if (!digits()) return false;
    }
    if (peek() == 'e' || peek() == 'E') {
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      return digits();
    }
    return true;
  }

  // Leaves the text in string_: a view into the body when nothing is escaped, else into unescaped_.
  bool scan_string() {
    const std::size_t start = ++at_;
    bool escaped = false;
    for (;;) {
      while (text_.size() - at_ >= 8 && !needs_a_closer_look(text_.data() + at_)) {
        if (escaped) unescaped_.append(text_, at_, 8);
        at_ += 8;
      }
      if (end()) return fail("string not closed");
      const auto c = static_cast<unsigned char>(text_[at_]);
      if (c == '"') break;
      if (c < 0x20) return fail("control character in a string");
      if (c == '\\') {
        if (!escaped) unescaped_.assign(text_, start, at_ - start);
        escaped = true;
        if (!escape_sequence()) return false;
        continue;
      }
      const std::size_t length = utf8_length(text_.substr(at_, 4));
      if (length == 0) return fail("invalid UTF-8");
      if (escaped) unescaped_.append(text_, at_, length);
      at_ += length;
    }
    string_ = escaped ? std::string_view(unescaped_) : text_.substr(start, at_ - start);
    ++at_;
    return true;
  }

  bool escape_sequence() {
    constexpr std::string_view names = "\"\\/bfnrt", values = "\"\\/\b\f\n\r\t";
    if (at_ + 1 >= text_.size()) return fail("string not closed");
    if (const auto which = names.find(text_[at_ + 1]); which != std::string_view::npos) {
      unescaped_ += values[which];
      at_ += 2;
      return true;
    }
    std::uint32_t unit = 0;
    if (text_[at_ + 1] != 'u' || !code_unit(unit)) return fail("bad escape");
    if (unit >= 0xd800 && unit <= 0xdbff && text_.substr(at_).starts_with("\\u")) {
      const std::size_t before = at_;
      std::uint32_t low = 0;
      if (!code_unit(low)) return fail("bad escape");
      if (low >= 0xdc00 && low <= 0xdfff) unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
      else at_ = before;
    }
    append_utf8(unescaped_, unit);
    return true;
  }
  // \uXXXX at at_, which moves behind it.
  bool code_unit(std::uint32_t& unit) {
    const std::string_view digits = text_.substr(at_ + 2, 4);
    if (digits.size() != 4) return false;
    for (const char c : digits) {
      if (hex_value(c) < 0) return false;
      unit = unit << 4 | static_cast<std::uint32_t>(hex_value(c));
    }
    at_ += 6;
    return true;
  }

  std::string_view text_;
  Emitter& out_;
  std::size_t at_ = 0;
  std::size_t depth_ = 0;                // never beyond kMaxDepth: the emitter says no first
  std::bitset<kMaxDepth> objects_;       // which of the open containers are objects
  bool first_ = false;                   // nothing stands in the innermost open container yet
  std::string_view string_;
  std::string unescaped_;
  Decoding flaw_;
};

}  // namespace

Decoding read_json(std::string_view text, Emitter& out) { return Reader(text, out).read(); }

}  // namespace claw::content
