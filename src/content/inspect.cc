#include "content/inspect.h"

#include <simdjson.h>

#include <algorithm>
#include <cstring>

#include "base/result.h"
#include "content/strict_json.h"

namespace claw::content {

static_assert(Batch::kPadding >= simdjson::SIMDJSON_PADDING);

struct Inspector::Parser {
  simdjson::dom::parser parser{kLargestTree};
  static constexpr std::size_t kLargestTree = 16u << 20;
};

namespace {

constexpr int kMaxNesting = 4;

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

bool looks_like_json(std::string_view value) {
  if (value.starts_with(kByteOrderMark)) value.remove_prefix(kByteOrderMark.size());
  const std::size_t first = value.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && (value[first] == '{' || value[first] == '[');
}

// Only text that opens an object (or an array of objects) inside a string is held to be JSON: "[draft] note" is not.
bool embeds_json(std::string_view text) {
  return text.starts_with("{\"") || text == "{}" || text.starts_with("[{\"");
}

// A quote inside a string is escaped, so a body without a backslash embeds nothing: one memchr settles most bodies.
bool may_embed_json(std::string_view raw) {
  return raw.find('\\') != std::string_view::npos && (raw.find("\"{\\\"") != std::string_view::npos || raw.find("\"[{\\\"") != std::string_view::npos);
}

std::optional<Defect> defect_of(JsonError error, const std::string& prefix) {
  if (error.kind.empty()) return std::nullopt;
  std::string path = prefix.empty() ? error.path : error.path.empty() ? prefix : prefix + "." + error.path;
  return Defect{.kind = std::move(error.kind), .path = std::move(path), .what = std::move(error.what), .offset = error.offset};
}

std::optional<Defect> walk_strings(simdjson::dom::element element, const std::string& path, int nesting);

std::optional<Defect> nested(std::string_view text, const std::string& path, int nesting) {
  if (nesting >= kMaxNesting || !embeds_json(text)) return std::nullopt;
  if (std::optional<Defect> defect = defect_of(walk_json(text), path + "#json")) {
    defect->inner = text;
    return defect;
  }
  if (!may_embed_json(text)) return std::nullopt;
  simdjson::dom::parser parser;
  simdjson::dom::element inner;
  if (parser.parse(text.data(), text.size()).get(inner) != simdjson::SUCCESS) return std::nullopt;
  return walk_strings(inner, path + "#json", nesting + 1);
}

// Depth is bounded by kMaxJsonDepth: deeper documents were refused before there was a tree.
std::optional<Defect> walk_strings(simdjson::dom::element element, const std::string& path, int nesting) {
  switch (element.type()) {
    case simdjson::dom::element_type::STRING: return nested(element.get_string().value_unsafe(), path, nesting);
    case simdjson::dom::element_type::OBJECT:
      for (const auto& [key, child] : simdjson::dom::object(element.get_object().value_unsafe()))
        if (auto defect = walk_strings(child, path.empty() ? std::string(key) : path + "." + std::string(key), nesting)) return defect;
      return std::nullopt;
    case simdjson::dom::element_type::ARRAY:
      for (const simdjson::dom::element child : simdjson::dom::array(element.get_array().value_unsafe()))
        if (auto defect = walk_strings(child, path + "[]", nesting)) return defect;
      return std::nullopt;
    default: return std::nullopt;
  }
}

}  // namespace

Inspector::Inspector() : parser_(std::make_unique<Parser>()) { CLAW_CHECK(parser_->parser.allocate(1u << 16, kMaxJsonDepth) == simdjson::SUCCESS); }
Inspector::~Inspector() = default;

std::optional<Defect> Inspector::inspect_value(std::string_view value) {
  if (value.size() > Parser::kLargestTree || value.starts_with(kByteOrderMark)) return defect_of(walk_json(value), "");
  simdjson::dom::element root;
  const auto problem = parser_->parser.parse(reinterpret_cast<const std::uint8_t*>(value.data()), value.size(), false).get(root);
  if (problem != simdjson::SUCCESS) return defect_of(walk_json(value), "");
  if (!may_embed_json(value)) return std::nullopt;
  return walk_strings(root, "", 0);
}

std::optional<Defect> Inspector::inspect(std::span<const Field> fields) {
  const auto candidates = std::count_if(fields.begin(), fields.end(), [](const Field& f) { return looks_like_json(f.value); });
  if (candidates == 0) return std::nullopt;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (!looks_like_json(fields[i].value)) continue;
    std::optional<Defect> defect = inspect_value(fields[i].value);
    if (!defect) continue;
    defect->field = i;
    if (candidates > 1) defect->path = std::string(fields[i].name) + ":" + defect->path;
    return defect;
  }
  return std::nullopt;
}

}  // namespace claw::content
