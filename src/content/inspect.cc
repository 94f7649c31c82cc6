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

// A quote inside a string is escaped, so what embeds an object has "{\" or "[{\" in its bytes: most bodies have no
// backslash at all, and one memchr settles them.
bool may_embed_json(std::string_view raw) {
  for (std::size_t at = raw.find('\\'); at != std::string_view::npos; at = raw.find('\\', at + 1)) {
    if (at < 2 || raw[at - 1] != '{' || at + 1 == raw.size() || raw[at + 1] != '"') continue;
    if (raw[at - 2] == '"' || (at >= 3 && raw[at - 2] == '[' && raw[at - 3] == '"')) return true;
  }
  return false;
}

std::optional<Defect> defect_of(JsonError error, const std::string& prefix) {
  if (error.kind.empty()) return std::nullopt;
  std::string path = prefix.empty() ? error.path : error.path.empty() ? prefix : prefix + "." + error.path;
  return Defect{.kind = std::move(error.kind), .path = std::move(path), .what = std::move(error.what), .offset = error.offset};
}

// The way to a place, from the innermost out; spelt only when there is something to tell of it.
struct Trail {
  enum class Step { root, member, element, inside };
  const Trail* outer = nullptr;
  Step step = Step::root;
  std::string_view key = {};

  std::string text() const {
    std::string path = outer == nullptr ? std::string() : outer->text();
    switch (step) {
      case Step::root: break;
      case Step::member: path.append(path.empty() ? "" : ".").append(key); break;
      case Step::element: path += "[]"; break;
      case Step::inside: path += "#json"; break;
    }
    return path;
  }
};

std::optional<Defect> walk_strings(simdjson::dom::element element, const Trail& trail, int nesting);

std::optional<Defect> nested(std::string_view text, const Trail& trail, int nesting) {
  if (nesting >= kMaxNesting || !embeds_json(text)) return std::nullopt;
  const Trail inside{.outer = &trail, .step = Trail::Step::inside};
  if (JsonError error = walk_json(text); !error.kind.empty()) {
    std::optional<Defect> defect = defect_of(std::move(error), inside.text());
    defect->inner = text;
    return defect;
  }
  if (!may_embed_json(text)) return std::nullopt;
  simdjson::dom::parser parser;
  simdjson::dom::element inner;
  if (parser.parse(text.data(), text.size()).get(inner) != simdjson::SUCCESS) return std::nullopt;
  return walk_strings(inner, inside, nesting + 1);
}

// Depth is bounded by kMaxJsonDepth: deeper documents were refused before there was a tree.
std::optional<Defect> walk_strings(simdjson::dom::element element, const Trail& trail, int nesting) {
  switch (element.type()) {
    case simdjson::dom::element_type::STRING: return nested(element.get_string().value_unsafe(), trail, nesting);
    case simdjson::dom::element_type::OBJECT:
      for (const auto& [key, child] : simdjson::dom::object(element.get_object().value_unsafe()))
        if (auto defect = walk_strings(child, {.outer = &trail, .step = Trail::Step::member, .key = key}, nesting)) return defect;
      return std::nullopt;
    case simdjson::dom::element_type::ARRAY:
      for (const simdjson::dom::element child : simdjson::dom::array(element.get_array().value_unsafe()))
        if (auto defect = walk_strings(child, {.outer = &trail, .step = Trail::Step::element}, nesting)) return defect;
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
  return walk_strings(root, {}, 0);
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
