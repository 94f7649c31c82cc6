#include "content/avro.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <map>

#include "content/byte_reader.h"
#include "content/number_text.h"
#include "content/utf8.h"

namespace claw::content {
namespace {

constexpr std::size_t kMaxSchemaBytes = 1u << 20;
constexpr std::size_t kMaxShown = 64;

bool is_name(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !text.empty() && letter(text[0]) && std::all_of(text.begin(), text.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

bool is_full_name(std::string_view text) {
  for (std::size_t dot; (dot = text.find('.')) != std::string_view::npos; text.remove_prefix(dot + 1))
    if (!is_name(text.substr(0, dot))) return false;
  return is_name(text);
}

std::int64_t unzigzag(std::uint64_t bits) { return static_cast<std::int64_t>(bits >> 1) ^ -static_cast<std::int64_t>(bits & 1); }

constexpr std::uint64_t kEmptyFingerprint = 0xc15d213aa4d7a795u;

std::uint64_t crc64_avro(std::string_view text) {
  static const auto table = [] {
    std::array<std::uint64_t, 256> rows{};
    for (std::uint64_t i = 0; i < rows.size(); ++i) {
      std::uint64_t row = i;
      for (int bit = 0; bit < 8; ++bit) row = (row >> 1) ^ (kEmptyFingerprint & (0 - (row & 1)));
      rows[i] = row;
    }
    return rows;
  }();
  std::uint64_t crc = kEmptyFingerprint;
  for (const char c : text) crc = (crc >> 8) ^ table[(crc ^ static_cast<std::uint8_t>(c)) & 0xff];
  return crc;
}

}  // namespace

AvroSchema::Type AvroSchema::primitive(std::string_view name, bool& known) {
  constexpr std::array<std::string_view, 8> names = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"};
  const auto found = std::find(names.begin(), names.end(), name);
  known = found != names.end();
  return known ? static_cast<Type>(found - names.begin()) : Type::null;
}

std::string_view AvroSchema::type_name(Type type) {
  switch (type) {
    case Type::null: return "null";
    case Type::boolean: return "boolean";
    case Type::int32: return "int";
    case Type::int64: return "long";
    case Type::float32: return "float";
    case Type::float64: return "double";
    case Type::bytes: return "bytes";
    case Type::string: return "string";
    case Type::fixed: return "fixed";
    case Type::enumeration: return "enum";
    case Type::array: return "array";
    case Type::map: return "map";
    case Type::unions: return "union";
    case Type::record: return "record";
  }
  return {};
}

// The schema's depth is bounded by that of its JSON.
class AvroSchema::Parser {
 public:
  explicit Parser(AvroSchema& schema) : schema_(schema) {}

  Result<std::uint32_t> type(Value value, const std::string& space, const std::string& path) {
    switch (value.kind()) {
      case Kind::string: return named(value.text(), space, path);
      case Kind::array: return unions(value, space, path);
      case Kind::object: return object(value, space, path);
      default: return bad(path, fmt::format("is {}, expected a type name, a list or an object", value_class(value)));
    }
  }

 private:
  static Error bad(const std::string& path, std::string what) {
    return make_error(Code::invalid, path.empty() ? "Avro schema" : "Avro schema " + path, std::move(what));
  }
  static std::string shown(std::string_view text) { return std::string(text.substr(0, kMaxShown)); }

  std::uint32_t add(Node node) {
    schema_.nodes_.push_back(std::move(node));
    return static_cast<std::uint32_t>(schema_.nodes_.size() - 1);
  }

  Result<std::uint32_t> named(std::string_view name, const std::string& space, const std::string& path) {
    bool known = false;
    const Type type = primitive(name, known);
    if (known) return add({.type = type});
    const auto found = names_.find(full(name, space));
    if (found == names_.end()) return bad(path, fmt::format("unknown type '{}', expected a primitive or a name defined before", shown(name)));
    return found->second;
  }

  static std::string full(std::string_view name, const std::string& space) {
    if (name.find('.') != std::string_view::npos || space.empty()) return std::string(name);
    return space + "." + std::string(name);
  }

  Result<std::uint32_t> unions(Value value, const std::string& space, const std::string& path) {
    Node node{.type = Type::unions};
    for (const Value branch : value) {
      CLAW_TRY_ASSIGN(const std::uint32_t inner, type(branch, space, fmt::format("{}[{}]", path, node.parts.size())));
      if (schema_.nodes_[inner].type == Type::unions) return bad(path, "a union directly inside a union");
      node.parts.push_back({.node = inner});
    }
    if (node.parts.empty()) return bad(path, "an empty union");
    return add(std::move(node));
  }

  Result<std::uint32_t> object(Value value, const std::string& space, const std::string& path) {
    const auto kind = value.find("type");
    if (!kind) return bad(path, "without 'type'");
    if (kind->kind() != Kind::string) return type(*kind, space, path + ".type");
    const std::string_view name = kind->text();
    if (name == "array") return container(value, Type::array, "items", space, path);
    if (name == "map") return container(value, Type::map, "values", space, path);
    if (name == "record" || name == "error") return definition(value, Type::record, space, path);
    if (name == "enum") return definition(value, Type::enumeration, space, path);
    if (name == "fixed") return definition(value, Type::fixed, space, path);
    return named(name, space, path + ".type");
  }

  Result<std::uint32_t> container(Value value, Type kind, std::string_view member, const std::string& space, const std::string& path) {
    const auto inner = value.find(member);
    if (!inner) return bad(path, fmt::format("without '{}'", member));
    CLAW_TRY_ASSIGN(const std::uint32_t node, type(*inner, space, fmt::format("{}.{}", path, member)));
    return add({.type = kind, .parts = {{.node = node}}});
  }

  Result<std::uint32_t> definition(Value value, Type kind, std::string space, const std::string& path) {
    const auto name = value.find("name");
    if (!name || name->kind() != Kind::string || !is_full_name(name->text())) return bad(path, "without a 'name' of letters, digits and _");
    if (const auto given = value.find("namespace"); given && given->kind() == Kind::string) space = given->text();
    if (!space.empty() && !is_full_name(space)) return bad(path, "'namespace' is not a dotted name");
    const std::string full_name = full(name->text(), space);
    const auto dot = full_name.rfind('.');
    space = dot == std::string::npos ? std::string() : full_name.substr(0, dot);
    const std::uint32_t node = add({.type = kind, .name = full_name});
    if (!names_.emplace(full_name, node).second) return bad(path, fmt::format("'{}' is defined twice", shown(full_name)));
    if (kind == Type::record) CLAW_TRY(fields(value, node, space, path));
    if (kind == Type::enumeration) CLAW_TRY(symbols(value, node, path));
    if (kind == Type::fixed) CLAW_TRY(size(value, node, path));
    return node;
  }

  Status fields(Value value, std::uint32_t node, const std::string& space, const std::string& path) {
    const auto list = value.find("fields");
    if (!list || list->kind() != Kind::array) return bad(path, "a record without a list of 'fields'");
    std::size_t i = 0;
    for (const Value field : *list) {
      const std::string place = fmt::format("{}fields[{}]", path.empty() ? "" : path + ".", i++);
      const auto name = field.find("name");
      const auto inner = field.find("type");
      if (!name || name->kind() != Kind::string || !is_name(name->text())) return bad(place, "without a 'name' of letters, digits and _");
      if (!inner) return bad(place, "without 'type'");
      CLAW_TRY_ASSIGN(const std::uint32_t child, type(*inner, space, place + ".type"));
      schema_.nodes_[node].parts.push_back({.name = std::string(name->text()), .node = child});
    }
    return {};
  }

  Status symbols(Value value, std::uint32_t node, const std::string& path) {
    const auto list = value.find("symbols");
    if (!list || list->kind() != Kind::array || list->size() == 0) return bad(path, "an enum without 'symbols'");
    for (const Value symbol : *list) {
      if (symbol.kind() != Kind::string || !is_name(symbol.text())) return bad(path, "a symbol that is not a name");
      schema_.nodes_[node].symbols.emplace_back(symbol.text());
    }
    return {};
  }

  Status size(Value value, std::uint32_t node, const std::string& path) {
    const auto given = value.find("size");
    const std::string_view digits = given && given->kind() == Kind::number ? given->text() : "";
    if (digits.empty() || digits.size() > 9 || digits.find_first_not_of("0123456789") != std::string_view::npos)
      return bad(path, "a fixed whose 'size' is not a number of bytes");
    for (const char c : digits) schema_.nodes_[node].size = schema_.nodes_[node].size * 10 + static_cast<std::uint64_t>(c - '0');
    return {};
  }

  AvroSchema& schema_;
  std::map<std::string, std::uint32_t> names_;
};

Result<AvroSchema> AvroSchema::parse(std::string_view json) {
  if (json.size() > kMaxSchemaBytes) return make_error(Code::invalid, "Avro schema", "is larger than 1 MiB");
  Document document;
  if (const Decoding flaw = read_json(json, document))
    return make_error(Code::invalid, "Avro schema", fmt::format("{} at byte {}, expected JSON", flaw->what, flaw->at));
  AvroSchema schema;
  CLAW_TRY_ASSIGN(schema.root_, Parser(schema).type(document.root(), "", ""));
  return schema;
}

void AvroSchema::append_canonical(std::string& out, std::uint32_t index, std::vector<bool>& defined) const {
  const Node& node = nodes_[index];
  if (!node.name.empty() && defined[index]) {
    out += fmt::format("\"{}\"", node.name);
    return;
  }
  defined[index] = true;
  const auto list = [&](const auto& items, auto&& one) {
    out += '[';
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out += ',';
      one(items[i]);
    }
    out += ']';
  };
  switch (node.type) {
    case Type::array:
    case Type::map:
      out += fmt::format(R"({{"type":"{}","{}":)", type_name(node.type), node.type == Type::array ? "items" : "values");
      append_canonical(out, node.parts[0].node, defined);
      out += '}';
      return;
    case Type::unions: return list(node.parts, [&](const Part& part) { append_canonical(out, part.node, defined); });
    case Type::fixed: out += fmt::format(R"({{"name":"{}","type":"fixed","size":{}}})", node.name, node.size); return;
    case Type::enumeration:
      out += fmt::format(R"({{"name":"{}","type":"enum","symbols":)", node.name);
      list(node.symbols, [&](const std::string& symbol) { out += fmt::format("\"{}\"", symbol); });
      out += '}';
      return;
    case Type::record:
      out += fmt::format(R"({{"name":"{}","type":"record","fields":)", node.name);
      list(node.parts, [&](const Part& part) {
        out += fmt::format(R"({{"name":"{}","type":)", part.name);
        append_canonical(out, part.node, defined);
        out += '}';
      });
      out += '}';
      return;
    default: out += fmt::format("\"{}\"", type_name(node.type));
  }
}

std::string AvroSchema::canonical_form() const {
  std::string out;
  std::vector<bool> defined(nodes_.size());
  append_canonical(out, root_, defined);
  return out;
}

std::uint64_t AvroSchema::fingerprint() const { return crc64_avro(canonical_form()); }

// Recursion is bounded by the emitter: whatever recurses opens an object or an array first (a union cannot hold a union).
class AvroSchema::Reader {
 public:
  Reader(const AvroSchema& schema, std::string_view body, std::size_t skip, Emitter& out) : schema_(schema), in_(body), out_(out) { in_.take(skip); }

  Decoding read() {
    if (!datum(schema_.root_)) return flaw_ ? flaw_ : out_.flaw();
    if (!in_.done()) return Flaw{"bytes after the end", in_.at()};
    return std::nullopt;
  }

 private:
  bool fail(std::string_view what) {
    flaw_ = Flaw{what, in_.at()};
    return false;
  }

  bool datum(std::uint32_t index) {
    const Node& node = schema_.nodes_[index];
    const std::size_t at = in_.at();
    switch (node.type) {
      case Type::null: return out_.null(at);
      case Type::boolean: return boolean(at);
      case Type::int32: return integer(true, at);
      case Type::int64: return integer(false, at);
      case Type::float32: {
        const auto bits = in_.little_endian(4);
        return bits ? out_.number(number_text(std::bit_cast<float>(static_cast<std::uint32_t>(*bits))), at) : fail("cut off");
      }
      case Type::float64: {
        const auto bits = in_.little_endian(8);
        return bits ? out_.number(number_text(std::bit_cast<double>(*bits)), at) : fail("cut off");
      }
      case Type::bytes: {
        const auto piece = sized();
        return piece && out_.bytes(*piece, at);
      }
      case Type::string: {
        const auto piece = sized();
        if (piece && !is_utf8(*piece)) return fail("string that is not UTF-8");
        return piece && out_.string(*piece, at);
      }
      case Type::fixed: {
        const auto piece = in_.take(node.size);
        return piece ? out_.bytes(*piece, at) : fail("cut off");
      }
      case Type::enumeration: {
        const auto which = below(node.symbols.size(), "symbol that the schema does not have");
        return which && out_.string(node.symbols[*which], at);
      }
      case Type::unions: {
        const auto which = below(node.parts.size(), "branch that the schema does not have");
        return which && datum(node.parts[*which].node);
      }
      case Type::array:
      case Type::map: return blocks(node, at);
      case Type::record: return record(node, at);
    }
    return false;
  }

  bool record(const Node& node, std::size_t at) {
    if (!out_.begin_object(at)) return false;
    for (const Part& part : node.parts)
      if (!out_.key(part.name, in_.at()) || !datum(part.node)) return false;
    return out_.end_object(in_.at());
  }

  // Entries of no bytes (null, an empty record) are bounded by the emitter's count of events.
  bool blocks(const Node& node, std::size_t at) {
    const bool map = node.type == Type::map;
    if (!(map ? out_.begin_object(at) : out_.begin_array(at))) return false;
    for (;;) {
      const auto count = block();
      if (!count) return false;
      if (*count == 0) break;
      for (std::uint64_t i = 0; i < *count; ++i)
        if ((map && !key()) || !datum(node.parts[0].node)) return false;
    }
    return map ? out_.end_object(in_.at()) : out_.end_array(in_.at());
  }

  std::optional<std::uint64_t> block() {
    const auto count = in_.varint();
    if (!count) return fail("cut off"), std::nullopt;
    const std::int64_t entries = unzigzag(*count);
    if (entries >= 0) return static_cast<std::uint64_t>(entries);
    if (!in_.varint()) return fail("cut off"), std::nullopt;  // the block's size in bytes
    return -static_cast<std::uint64_t>(entries);
  }

  bool key() {
    const std::size_t at = in_.at();
    const auto text = sized();
    if (!text) return false;
    if (!is_utf8(*text)) return fail("key that is not UTF-8");
    return out_.key(*text, at);
  }

  bool boolean(std::size_t at) {
    const auto value = in_.byte();
    if (!value) return fail("cut off");
    if (*value > 1) return fail("boolean that is neither 0 nor 1");
    return out_.boolean(*value == 1, at);
  }

  bool integer(bool narrow, std::size_t at) {
    const auto bits = in_.varint();
    if (!bits) return fail("not a variable-length integer");
    const std::int64_t value = unzigzag(*bits);
    if (narrow && (value < INT32_MIN || value > INT32_MAX)) return fail("int beyond 32 bits");
    return out_.number(fmt::format_int(value).str(), at);
  }

  std::optional<std::string_view> sized() {
    const auto size = in_.varint();
    if (!size || unzigzag(*size) < 0) return fail("not a length"), std::nullopt;
    const auto piece = in_.take(static_cast<std::uint64_t>(unzigzag(*size)));
    if (!piece) return fail("longer than the body"), std::nullopt;
    return piece;
  }

  std::optional<std::size_t> below(std::size_t count, std::string_view otherwise) {
    const auto bits = in_.varint();
    const std::int64_t which = bits ? unzigzag(*bits) : -1;
    if (which < 0 || static_cast<std::uint64_t>(which) >= count) return fail(otherwise), std::nullopt;
    return static_cast<std::size_t>(which);
  }

  const AvroSchema& schema_;
  ByteReader in_;
  Emitter& out_;
  Decoding flaw_;
};

Decoding AvroSchema::read(std::string_view body, Emitter& out) const { return Reader(*this, body, 0, out).read(); }

Decoding AvroSchema::read_single_object(std::string_view body, Emitter& out) const {
  ByteReader head(body);
  if (head.take(2) != kAvroSingleObject) return Flaw{"does not begin with C3 01", 0};
  const auto named = head.little_endian(8);
  if (named != fingerprint()) return Flaw{"written with another schema", 2};
  return Reader(*this, body, head.at(), out).read();
}

}  // namespace claw::content
