#include "base/text.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>
#include <vector>

namespace claw {
namespace {

constexpr int kMaxDepth = 64;
constexpr std::int64_t kMaxInteger = (1ll << 53) - 1;

struct CodePoint {
  char32_t value = 0;
  std::size_t size = 0;  // 0 = invalid
};

CodePoint decode(std::string_view s) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {first, 1};
  const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
  if (size == 0 || first > 0xf4 || s.size() < size) return {};
  char32_t value = first & (0xffu >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    value = (value << 6) | (byte(i) & 0x3fu);
  }
  const bool overlong = (size == 3 && value < 0x800) || (size == 4 && value < 0x10000);
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  if (overlong || surrogate || value > 0x10ffff) return {};
  return {value, size};
}

bool invisible(char32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c || c == 0x180e ||
         (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) ||
         c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe007f);
}

void append_visible(std::string& out, char32_t c) {
  if (c == '\n') out += "\\n";
  else if (c == '\r') out += "\\r";
  else if (c == '\t') out += "\\t";
  else if (c < 0x100) out += fmt::format("\\x{:02x}", static_cast<std::uint32_t>(c));
  else if (c < 0x10000) out += fmt::format("\\u{:04x}", static_cast<std::uint32_t>(c));
  else out += fmt::format("\\u{{{:x}}}", static_cast<std::uint32_t>(c));
}

Status check_canonical(const nlohmann::json& value, const std::string& place, int depth) {
  const auto wrong = [&](std::string what) { return make_error(Code::invalid, "canonical JSON at " + place, std::move(what)); };
  if (depth > kMaxDepth) return wrong("nested deeper than 64");
  switch (value.type()) {
    case nlohmann::json::value_t::object:
      for (const auto& [key, child] : value.items()) {
        for (const char c : key)
          if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) return wrong("key '" + escape(key) + "' is not of [a-z0-9_]");
        CLAW_TRY(check_canonical(child, place + "." + key, depth + 1));
      }
      return {};
    case nlohmann::json::value_t::array:
      for (std::size_t i = 0; i < value.size(); ++i) CLAW_TRY(check_canonical(value[i], fmt::format("{}[{}]", place, i), depth + 1));
      return {};
    case nlohmann::json::value_t::number_integer:
      if (value.get<std::int64_t>() < -kMaxInteger || value.get<std::int64_t>() > kMaxInteger) return wrong("integer beyond 2^53-1");
      return {};
    case nlohmann::json::value_t::number_unsigned:
      if (value.get<std::uint64_t>() > static_cast<std::uint64_t>(kMaxInteger)) return wrong("integer beyond 2^53-1");
      return {};
    case nlohmann::json::value_t::string:
    case nlohmann::json::value_t::boolean: return {};
    case nlohmann::json::value_t::null:
    case nlohmann::json::value_t::number_float:
    case nlohmann::json::value_t::binary:
    case nlohmann::json::value_t::discarded: return wrong("expected an object, array, string, integer or boolean");
  }
  std::abort();
}

}  // namespace

std::string escape(std::string_view foreign) { return escape(foreign, SIZE_MAX); }

std::string escape(std::string_view foreign, std::size_t columns) {
  std::string out;
  std::size_t shown = 0;
  while (!foreign.empty()) {
    if (shown++ == columns) return out + "…";
    const CodePoint c = decode(foreign);
    if (c.size == 0) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(foreign[0]));
      foreign.remove_prefix(1);
      continue;
    }
    if (invisible(c.value)) append_visible(out, c.value);
    else out += foreign.substr(0, c.size);
    foreign.remove_prefix(c.size);
  }
  return out;
}

Result<std::string> canonical(const nlohmann::json& value) {
  CLAW_TRY(check_canonical(value, "$", 0));
  try {
    return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::strict);
  } catch (const nlohmann::json::exception&) {
    return make_error(Code::invalid, "canonical JSON", "a string is not valid UTF-8");
  }
}

Result<nlohmann::json> parse_json(std::string_view text, std::string_view what) {
  std::vector<std::set<std::string>> keys;
  std::string problem;
  const auto callback = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    using Event = nlohmann::json::parse_event_t;
    if (depth > kMaxDepth) throw std::length_error("nested deeper than 64");
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(parsed.get<std::string>()).second)
      throw std::length_error("duplicate key '" + escape(parsed.get<std::string>(), 60) + "'");
    return true;
  };
  try {
    return nlohmann::json::parse(text, callback);
  } catch (const nlohmann::json::parse_error& error) {
    return make_error(Code::invalid, std::string(what), fmt::format("not valid JSON at byte {}", error.byte));
  } catch (const std::exception& error) {
    return make_error(Code::invalid, std::string(what), error.what());
  }
}

std::string counted(std::uint64_t count, std::string_view one) { return grouped(count) + " " + std::string(one) + (count == 1 ? "" : "s"); }

std::string grouped(std::uint64_t number) {
  std::string out = std::to_string(number);
  for (std::size_t i = out.size(); i > 3; i -= 3) out.insert(i - 3, ",");
  return out;
}

}  // namespace claw
