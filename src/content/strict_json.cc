#include "content/strict_json.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "content/utf8.h"
#include "content/value_class.h"

namespace claw::content {
namespace {

constexpr std::size_t kMaxKeyShown = 64;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

class Walker {
 public:
  explicit Walker(std::string_view text) : text_(text) { levels_.reserve(8); }

  JsonError walk() {
    if (text_.starts_with("\xef\xbb\xbf")) return error("json_bom", "byte order mark");
    skip_space();
    if (!value()) return std::move(error_);
    while (!levels_.empty())
      if (!step()) return std::move(error_);
    skip_space();
    if (at_ != text_.size()) return error("malformed_json", "text after the end");
    return {};
  }

 private:
  struct Level {
    bool object;
    bool first = true;
    std::string_view key = {};  // object: the member read last
  };

  JsonError error(std::string kind, std::string what) { return {std::move(kind), std::move(what), path(), at_}; }
  bool fail(std::string kind, std::string what) {
    error_ = error(std::move(kind), std::move(what));
    return false;
  }
  bool malformed(std::string what) { return fail("malformed_json", std::move(what)); }

  // Where we are: keys of the open objects, [] for the open arrays.
  std::string path() const {
    std::string out;
    for (const Level& level : levels_) {
      if (!level.object) out += "[]";
      else if (!level.key.empty()) (out += out.empty() ? "" : ".") += level.key;
    }
    return out;
  }

  void skip_space() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool end() const { return at_ == text_.size(); }

  // One member, element or closing bracket of the innermost open container.
  bool step() {
    Level& level = levels_.back();
    skip_space();
    if (end()) return not_closed();
    if (peek() == (level.object ? '}' : ']')) {
      ++at_;
      levels_.pop_back();
      return true;
    }
    if (!level.first) {
      if (peek() != ',') return malformed("expected a comma");
      ++at_;
      skip_space();
      if (peek() == (level.object ? '}' : ']')) return malformed("comma before the end");
    }
    level.first = false;
    if (level.object && !member_key()) return false;
    return value();
  }

  // What stands where a key should is a key when a colon or a value follows it; otherwise it is the tail of the value
  // before it, which is to blame.
  bool member_key() {
    if (end()) return not_closed();
    if (peek() != '"') return malformed("expected a key");
    const std::size_t start = at_ + 1;
    if (!string()) return false;
    const std::string_view key = text_.substr(start, std::min(kMaxKeyShown, at_ - 1 - start));
    skip_space();
    if (end() || peek() == ':' || starts_value(peek()) || levels_.back().key.empty()) levels_.back().key = key;
    if (end() || peek() != ':') return malformed("expected a colon");
    ++at_;
    skip_space();
    return true;
  }
  static bool starts_value(char c) { return c == '"' || c == '{' || c == '[' || c == '-' || is_word(c); }

  // The whole container is cut off, not the member that happened to be its last.
  bool not_closed() {
    levels_.back().key = {};
    return malformed(levels_.back().object ? "object not closed" : "array not closed");
  }

  bool value() {
    if (end()) return malformed("value missing");
    switch (peek()) {
      case '{':
      case '[':
        if (levels_.size() >= kMaxJsonDepth) return fail("too_deep", "nested deeper than 64");
        levels_.push_back({.object = peek() == '{'});
        ++at_;
        return true;
      case '"': return string();
      case 't': return word("true");
      case 'f': return word("false");
      case 'n': return word("null");
      default: return peek() == '-' || is_digit(peek()) ? number() : word("");
    }
  }

  bool word(std::string_view expected) {
    const std::string_view rest = text_.substr(at_);
    if (!expected.empty() && rest.starts_with(expected) && (rest.size() == expected.size() || !is_word(rest[expected.size()]))) {
      at_ += expected.size();
      return true;
    }
    for (const std::string_view nan : {"NaN", "Infinity"})
      if (rest.starts_with(nan)) return fail("json_nan", std::string(nan) + " literal");
    return malformed(is_word(peek()) ? "bare word" : "value missing");
  }
  static bool is_word(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80; }

  static bool ends_number(char c) { return c == ',' || c == '}' || c == ']' || is_space(c); }

  // What begins like a number and goes on otherwise is a word that somebody forgot to quote.
  bool number() {
    if (const std::size_t length = classify_number(text_.substr(at_)).length; length > 0 && (at_ + length == text_.size() || ends_number(text_[at_ + length]))) {
      at_ += length;
      return true;
    }
    const std::size_t end = text_.find_first_of(" \t\r\n,:{}[]\"", at_);
    const std::string_view token = text_.substr(at_, end == std::string_view::npos ? end : end - at_);
    if (token.size() > 1 && token.find_first_not_of("0123456789+-.eE") != std::string_view::npos && token != "-Infinity") return malformed("bare word");
    if (peek() == '-') ++at_;
    if (text_.substr(at_).starts_with("Infinity")) return fail("json_nan", "-Infinity literal");
    if (!is_digit(peek())) return malformed("bad number");
    if (peek() == '0') ++at_;
    else while (is_digit(peek())) ++at_;
    if (is_digit(peek())) return malformed("number with a leading zero");
    if (peek() == '.') {
      ++at_;
      if (!is_digit(peek())) return malformed("bad number");
      while (is_digit(peek())) ++at_;
    }
    if (peek() == 'e' || peek() == 'E') {
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      if (!is_digit(peek())) return malformed("bad number");
      while (is_digit(peek())) ++at_;
    }
    if (is_word(peek())) return malformed("bare word");
    return true;
  }

  bool string() {
    for (++at_; at_ < text_.size();) {
      for (std::size_t plain = 8; plain == 8 && text_.size() - at_ >= 8; at_ += plain) plain = plain_bytes(text_.data() + at_);
      if (at_ == text_.size()) break;
      const auto c = static_cast<unsigned char>(text_[at_]);
      if (c == '"') {
        ++at_;
        return true;
      }
      if (c < 0x20) return malformed("control character in a string");
      if (c == '\\') {
        if (!escape_sequence()) return false;
      } else if (c < 0x80) {
        ++at_;
      } else {
        const std::size_t length = utf8_length(text_.substr(at_));
        if (length == 0) return fail("invalid_utf8", "invalid UTF-8");
        at_ += length;
      }
    }
    return malformed("string not closed");
  }

  // How many of eight bytes are ASCII and no quotes, backslashes or control characters, up to the first that is.
  static std::size_t plain_bytes(const char* at) {
    static_assert(std::endian::native == std::endian::little);
    constexpr std::uint64_t kOnes = 0x0101010101010101, kHigh = kOnes << 7;
    std::uint64_t word;
    std::memcpy(&word, at, 8);
    const auto zero = [](std::uint64_t x) { return (x - kOnes) & ~x; };  // bytes that are zero, perhaps some above them
    const std::uint64_t others = (word | zero(word ^ kOnes * '"') | zero(word ^ kOnes * '\\') | (word - kOnes * 0x20)) & kHigh;
    return others == 0 ? 8 : static_cast<std::size_t>(std::countr_zero(others)) / 8;
  }

  bool escape_sequence() {
    const char c = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
    if (std::string_view("\"\\/bfnrt").find(c) != std::string_view::npos && c != '\0') {
      at_ += 2;
      return true;
    }
    if (at_ + 1 >= text_.size()) return malformed("string not closed");
    const std::string_view digits = text_.substr(std::min(at_ + 2, text_.size()), 4);
    if (c != 'u' || digits.size() != 4 || !std::all_of(digits.begin(), digits.end(), is_hex)) return malformed("bad escape");
    at_ += 6;
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::vector<Level> levels_;
  JsonError error_;
};

}  // namespace

JsonError walk_json(std::string_view text) { return Walker(text).walk(); }

}  // namespace claw::content
