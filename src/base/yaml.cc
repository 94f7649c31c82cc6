#include "base/yaml.h"

#include <fmt/format.h>
#include <yaml.h>

#include <unordered_map>

#include "base/text.h"

namespace claw::yaml {
namespace {

constexpr int kMaxDepth = 16;
constexpr std::size_t kMaxBytes = 4u << 20;

class Reader {
 public:
  Reader(std::string_view text, const Source& source) : source_(source) {
    CLAW_CHECK(yaml_parser_initialize(&parser_) == 1);
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()), text.size());
    yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
  }
  ~Reader() {
    yaml_event_delete(&event_);
    yaml_parser_delete(&parser_);
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  Result<Node> document() {
    CLAW_TRY(next());  // stream start
    CLAW_TRY(next());
    if (event_.type == YAML_STREAM_END_EVENT) return wrong(source_.first_line, "there is nothing here");
    CLAW_TRY(next());
    CLAW_TRY_ASSIGN(Node root, node(1));
    CLAW_TRY(next());  // document end
    CLAW_TRY(next());
    if (event_.type != YAML_STREAM_END_EVENT) return wrong(line(), "expected one document, found another");
    return root;
  }

 private:
  int line() const { return source_.first_line + static_cast<int>(event_.start_mark.line); }
  Error wrong(int at, std::string what) const { return make_error(Code::invalid, source_.op, fmt::format("{}:{}: {}", source_.file, at, what)); }

  Status next() {
    yaml_event_delete(&event_);
    if (yaml_parser_parse(&parser_, &event_) == 1) return {};
    return wrong(source_.first_line + static_cast<int>(parser_.problem_mark.line), fmt::format("not YAML: {}", parser_.problem == nullptr ? "unreadable" : parser_.problem));
  }

  // The event under the cursor is the node's first one.
  Result<Node> node(int depth) {
    if (depth > kMaxDepth) return wrong(line(), fmt::format("nested deeper than {}", kMaxDepth));
    Node out;
    out.line = line();
    switch (event_.type) {
      case YAML_SCALAR_EVENT: {
        const auto& scalar = event_.data.scalar;
        if (scalar.anchor != nullptr || scalar.tag != nullptr) return wrong(out.line, "anchors and tags are not allowed");
        out.text.assign(reinterpret_cast<const char*>(scalar.value), scalar.length);
        return out;
      }
      case YAML_SEQUENCE_START_EVENT: return list(std::move(out), depth);
      case YAML_MAPPING_START_EVENT: return map(std::move(out), depth);
      case YAML_ALIAS_EVENT: return wrong(out.line, "aliases are not allowed");
      default: return wrong(out.line, "expected a value");
    }
  }

  Result<Node> list(Node out, int depth) {
    if (event_.data.sequence_start.anchor != nullptr || event_.data.sequence_start.tag != nullptr) return wrong(out.line, "anchors and tags are not allowed");
    out.kind = Node::Kind::list;
    for (;;) {
      CLAW_TRY(next());
      if (event_.type == YAML_SEQUENCE_END_EVENT) return out;
      CLAW_TRY_ASSIGN(Node item, node(depth + 1));
      out.items.push_back(std::move(item));
    }
  }

  Result<Node> map(Node out, int depth) {
    if (event_.data.mapping_start.anchor != nullptr || event_.data.mapping_start.tag != nullptr) return wrong(out.line, "anchors and tags are not allowed");
    out.kind = Node::Kind::map;
    std::unordered_map<std::string, int> lines;  // key → where it was first
    for (;;) {
      CLAW_TRY(next());
      if (event_.type == YAML_MAPPING_END_EVENT) return out;
      CLAW_TRY_ASSIGN(const Node key, node(depth + 1));
      if (key.kind != Node::Kind::scalar || key.text.empty()) return wrong(key.line, "expected a plain key");
      if (key.text == "<<") return wrong(key.line, "merge keys are not allowed");
      if (const auto [first, fresh] = lines.emplace(key.text, key.line); !fresh)
        return wrong(key.line, fmt::format("'{}' is there twice, first on line {}", escape(key.text, 60), first->second));
      CLAW_TRY(next());
      CLAW_TRY_ASSIGN(Node value, node(depth + 1));
      if (value.kind == Node::Kind::scalar) value.line = key.line;
      out.entries.emplace_back(key.text, std::move(value));
    }
  }

  yaml_parser_t parser_{};
  yaml_event_t event_{};
  const Source& source_;
};

}  // namespace

Result<Node> parse(std::string_view text, const Source& source) {
  if (text.size() > kMaxBytes) return make_error(Code::invalid, source.op, fmt::format("{}:{}: larger than 4 MiB", source.file, source.first_line));
  return Reader(text, source).document();
}

}  // namespace claw::yaml
