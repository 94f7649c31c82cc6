#include "content/pattern.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <array>

namespace claw::content {
namespace {

constexpr std::size_t kMaxPattern = 8192;
constexpr std::string_view kSpaces = R"(\t-\r \x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff})";

// Long names of Unicode's general categories, which RE2 knows by their short ones only.
constexpr std::array<std::pair<std::string_view, std::string_view>, 14> kCategories = {{
    {"Letter", "L"}, {"Uppercase_Letter", "Lu"}, {"Lowercase_Letter", "Ll"}, {"Titlecase_Letter", "Lt"}, {"Modifier_Letter", "Lm"},
    {"Other_Letter", "Lo"}, {"Mark", "M"}, {"Number", "N"}, {"Decimal_Number", "Nd"}, {"digit", "Nd"}, {"Punctuation", "P"},
    {"Symbol", "S"}, {"Separator", "Z"}, {"Space_Separator", "Zs"}}};

class Translator {
 public:
  explicit Translator(std::string_view text) : text_(text) {}

  std::string translate() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '\\') escape();
      else if (text_.substr(at_).starts_with("(?<") && at_ + 3 < text_.size() && text_[at_ + 3] != '=' && text_[at_ + 3] != '!') put("(?P<", 3);
      else if (!in_class_ && text_.substr(at_).starts_with("[^]")) put("(?s:.)", 3);
      else if (in_class_ && c == '[') put("\\[", 1);  // RE2 would read [[:alpha:]
      else {
        if (c == '[' || c == ']') in_class_ = c == '[';
        put(text_.substr(at_, 1), 1);
      }
    }
    return std::move(out_);
  }

 private:
  void put(std::string_view text, std::size_t consumed) {
    out_ += text;
    at_ += consumed;
  }

  void escape() {
    const char c = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
    switch (c) {
      case '/': return put("/", 2);
      case 's': return put(in_class_ ? std::string(kSpaces) : fmt::format("[{}]", kSpaces), 2);
      case 'S': return put(in_class_ ? std::string("\\S") : fmt::format("[^{}]", kSpaces), 2);
      case 'c': return control();
      case 'u': return unicode();
      case 'p': case 'P': return category();
      default: return put(text_.substr(at_, 2), std::min<std::size_t>(2, text_.size() - at_));
    }
  }
  void control() {
    const char letter = at_ + 2 < text_.size() ? text_[at_ + 2] : '\0';
    if ((letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z')) return put(fmt::format("\\x{{{:x}}}", letter & 0x1f), 3);
    put("\\c", 2);
  }
  // The four hex digits of \uXXXX at `at`, -1 when they are not there.
  long code_unit(std::size_t at) const {
    if (!text_.substr(std::min(at, text_.size())).starts_with("\\u") || at + 6 > text_.size()) return -1;
    const std::string digits(text_.substr(at + 2, 4));
    return digits.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos ? std::stol(digits, nullptr, 16) : -1;
  }
  void unicode() {
    const long unit = code_unit(at_), low = code_unit(at_ + 6);
    if (unit >= 0xd800 && unit <= 0xdbff && low >= 0xdc00 && low <= 0xdfff)
      return put(fmt::format("\\x{{{:x}}}", 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)), 12);
    if (unit >= 0) return put(fmt::format("\\x{{{:x}}}", unit), 6);
    put("\\x", 2);  // \u{1f600}
  }
  void category() {
    const std::size_t close = text_.find('}', at_);
    if (at_ + 2 >= text_.size() || text_[at_ + 2] != '{' || close == std::string_view::npos) return put(text_.substr(at_, 2), 2);
    std::string_view name = text_.substr(at_ + 3, close - at_ - 3);
    if (const std::size_t equals = name.find('='); equals != std::string_view::npos) name.remove_prefix(equals + 1);
    for (const auto& [from, to] : kCategories)
      if (name == from) name = to;
    put(fmt::format("\\{}{{{}}}", text_[at_ + 1], name), close + 1 - at_);
  }

  std::string_view text_;
  std::string out_;
  std::size_t at_ = 0;
  bool in_class_ = false;
};

}  // namespace

Result<Pattern> Pattern::compile(std::string_view ecma) {
  if (ecma.size() > kMaxPattern) return make_error(Code::invalid, "pattern", "is longer than 8 KiB");
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(1 << 20);
  auto regex = std::make_shared<RE2>(Translator(ecma).translate(), options);
  if (regex->ok()) {
    Pattern out;
    out.regex_ = std::move(regex);
    return out;
  }
  if (regex->error_code() == RE2::ErrorBadPerlOp || regex->error_code() == RE2::ErrorBadEscape)
    return make_error(Code::unsupported, "pattern", fmt::format("'{}' at '{}': look-around and back-references have no time bound", regex->error(), regex->error_arg()));
  return make_error(Code::invalid, "pattern", regex->error());
}

bool Pattern::matches(std::string_view text) const { return RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), *regex_); }

}  // namespace claw::content
