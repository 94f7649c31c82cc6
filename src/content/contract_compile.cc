#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <deque>
#include <functional>

#include "content/contract_program.h"
#include "content/read_json.h"
#include "content/uri.h"
#include "content/utf8.h"

namespace claw::content {
namespace {

constexpr std::size_t kMaxSchemaBytes = 4u << 20;
constexpr std::size_t kMaxSchemas = 100'000;
constexpr std::size_t kMaxShown = 80;
constexpr std::string_view kNoBase = "contract:///schema";  // base of a document without an $id

std::string shown(std::string_view text) { return std::string(text.substr(0, kMaxShown)); }

Error bad(Value place, std::string what, Code code = Code::invalid) { return make_error(code, "contract " + place.pointer(), std::move(what)); }
Error expected(Value place, std::string_view what) { return bad(place, fmt::format("is {}, expected {}", value_class(place), what)); }

// Which values below a schema are schemas themselves.
enum class Holds { schema, list, map, schema_or_list, schema_or_names };
struct Applicator {
  std::string_view keyword;
  Holds holds;
  int since, until;
};
constexpr std::array<Applicator, 23> kApplicators = {{
    {"additionalProperties", Holds::schema, 7, 2020}, {"not", Holds::schema, 7, 2020}, {"if", Holds::schema, 7, 2020},
    {"then", Holds::schema, 7, 2020}, {"else", Holds::schema, 7, 2020}, {"contains", Holds::schema, 7, 2020},
    {"propertyNames", Holds::schema, 7, 2020}, {"additionalItems", Holds::schema, 7, 2019}, {"items", Holds::schema_or_list, 7, 2019},
    {"items", Holds::schema, 2020, 2020}, {"prefixItems", Holds::list, 2020, 2020}, {"allOf", Holds::list, 7, 2020},
    {"anyOf", Holds::list, 7, 2020}, {"oneOf", Holds::list, 7, 2020}, {"properties", Holds::map, 7, 2020},
    {"patternProperties", Holds::map, 7, 2020}, {"dependencies", Holds::schema_or_names, 7, 2020}, {"dependentSchemas", Holds::map, 2019, 2020},
    {"definitions", Holds::map, 7, 2020}, {"$defs", Holds::map, 2019, 2020}, {"unevaluatedItems", Holds::schema, 2019, 2020},
    {"unevaluatedProperties", Holds::schema, 2019, 2020}, {"contentSchema", Holds::schema, 2019, 2020},
}};

bool is_schema(Value value) { return value.kind() == Kind::object || value.kind() == Kind::boolean; }

// Calls `use` with each subschema that stands directly below this one.
template <class Use>
Status each_subschema(Value schema, int draft, Use&& use) {
  if (schema.kind() != Kind::object) return {};
  for (const Value member : schema)
    for (const Applicator& known : kApplicators) {
      if (known.keyword != member.key() || draft < known.since || draft > known.until) continue;
      const bool many = known.holds == Holds::list || (known.holds == Holds::schema_or_list && member.kind() == Kind::array);
      if (many && member.kind() != Kind::array) return expected(member, "a list of schemas");
      if ((known.holds == Holds::map || known.holds == Holds::schema_or_names) && member.kind() != Kind::object)
        return expected(member, "an object of schemas");
      if (!many && known.holds != Holds::map && known.holds != Holds::schema_or_names) {
        CLAW_TRY(use(member));
        continue;
      }
      for (const Value inner : member)
        if (known.holds != Holds::schema_or_names || inner.kind() != Kind::array) CLAW_TRY(use(inner));
    }
  return {};
}

std::optional<int> known_draft(std::string_view uri) {
  if (uri.ends_with('#')) uri.remove_suffix(1);
  if (uri == "http://json-schema.org/draft-07/schema" || uri == "https://json-schema.org/draft-07/schema") return 7;
  if (uri == "https://json-schema.org/draft/2019-09/schema") return 2019;
  if (uri == "https://json-schema.org/draft/2020-12/schema") return 2020;
  return std::nullopt;
}

std::optional<std::uint64_t> as_count(Value value) {
  const auto number = value.kind() == Kind::number ? Decimal::parse(value.text()) : std::nullopt;
  if (!number || number->is_negative() || !number->is_integer()) return std::nullopt;
  std::uint64_t count = 0;
  for (std::uint64_t bit = 1ull << 62; bit > 0; bit >>= 1)
    if (!(*number < *Decimal::parse(fmt::format_int(count + bit).str()))) count += bit;
  return count;
}

class Compiler {
 public:
  Compiler(Contract::Program& program, const Contract::Options& options) : program_(program), options_(options) {}

  Status compile(std::string_view text) {
    CLAW_TRY_ASSIGN(const std::uint32_t root, load(text, std::string(kNoBase), 2020));
    CLAW_TRY_ASSIGN(program_.root, schema_at(program_.resources[root].root));
    while (!pending_.empty() || anchored_ < program_.resources.size()) {
      if (anchored_ < program_.resources.size()) {
        CLAW_TRY(compile_anchors(anchored_++));
        continue;
      }
      const auto [value, id] = pending_.front();
      pending_.pop_front();
      CLAW_TRY(compile_schema(value, id));
    }
    return refuse_endless_references();
  }

 private:
  using Place = std::pair<const Document*, std::uint32_t>;

  // Documents and resources ------------------------------------------------------------------------------------------

  Result<std::uint32_t> load(std::string_view text, const std::string& uri, int draft) {
    if (text.size() > kMaxSchemaBytes) return make_error(Code::invalid, "contract " + uri, "is larger than 4 MiB");
    auto document = std::make_unique<Document>();
    if (const Decoding flaw = read_json(text, *document))
      return make_error(Code::invalid, "contract", fmt::format("{} at byte {}, expected JSON", flaw->what, flaw->at));
    const Value root = document->root();
    program_.documents.push_back(std::move(document));
    const auto index = static_cast<std::uint32_t>(program_.resources.size());
    CLAW_TRY(enter_resource(root, uri, draft));
    by_uri_.emplace(uri, index);
    CLAW_TRY(index_schema(root, index));
    return index;
  }

  // Makes `root` a resource. Its own $schema may change the draft, its $id the URI.
  Status enter_resource(Value root, const std::string& base, int draft) {
    if (!is_schema(root)) return expected(root, "a schema: an object, true or false");
    Resource resource{.uri = base, .root = root, .draft = draft};
    if (const auto dialect = root.find("$schema")) {
      if (dialect->kind() != Kind::string) return expected(*dialect, "the URI of a draft");
      CLAW_TRY(choose_dialect(*dialect, resource));
    } else if (!program_.resources.empty()) {
      resource.validates = program_.resources.front().validates;
    }
    if (const auto id = own_id(root, resource.draft)) resource.uri = std::string(split_fragment(resolve_uri(base, *id)).first);
    const auto anchor = root.find("$recursiveAnchor");
    resource.recursive_anchor = resource.draft == 2019 && anchor && anchor->kind() == Kind::boolean && anchor->truth();
    const auto index = static_cast<std::uint32_t>(program_.resources.size());
    by_uri_.emplace(resource.uri, index);
    program_.resources.push_back(std::move(resource));
    return {};
  }

  // A metaschema that is no draft's own may be among the documents given; it says which vocabularies hold.
  Status choose_dialect(Value dialect, Resource& resource) {
    if (const auto draft = known_draft(dialect.text())) {
      resource.draft = *draft;
      return {};
    }
    const auto given = options_.documents.find(std::string(split_fragment(dialect.text()).first));
    Document meta;
    if (given == options_.documents.end() || read_json(given->second, meta))
      return bad(dialect, fmt::format("'{}' is not known, expected draft-07, 2019-09 or 2020-12", shown(dialect.text())), Code::unsupported);
    if (const auto base = meta.root().find("$schema"))
      if (const auto draft = known_draft(base->text())) resource.draft = *draft;
    if (const auto vocabularies = meta.root().find("$vocabulary")) {
      resource.validates = false;
      for (const Value member : *vocabularies) resource.validates |= member.key().ends_with("/vocab/validation");
    }
    return {};
  }

  // The $id that makes a schema a resource of its own; in draft-07 not beside $ref, and not "#name".
  static std::optional<std::string_view> own_id(Value schema, int draft) {
    const auto id = schema.find("$id");
    if (!id || id->kind() != Kind::string || (draft == 7 && (schema.find("$ref") || id->text().starts_with('#')))) return std::nullopt;
    return id->text();
  }

  // Notes resources and anchors of all schemas below, without recursion beyond the document's depth.
  Status index_schema(Value schema, std::uint32_t resource) {
    if (!is_schema(schema)) return expected(schema, "a schema: an object, true or false");
    if (!home_.emplace(place(schema), resource).second) return {};
    if (home_.size() > kMaxSchemas) return bad(schema, "more than 100,000 schemas");
    const bool is_root = program_.resources[resource].root == schema;
    if (!is_root && own_id(schema, program_.resources[resource].draft)) {
      const auto inner = static_cast<std::uint32_t>(program_.resources.size());
      CLAW_TRY(enter_resource(schema, program_.resources[resource].uri, program_.resources[resource].draft));
      home_[place(schema)] = resource = inner;
    }
    note_anchors(schema, program_.resources[resource]);
    return each_subschema(schema, program_.resources[resource].draft, [&](Value inner) { return index_schema(inner, resource); });
  }

  static void note_anchors(Value schema, Resource& resource) {
    const auto name = [&](std::string_view keyword) -> std::optional<std::string> {
      const auto value = schema.find(keyword);
      if (!value || value->kind() != Kind::string) return std::nullopt;
      return std::string(value->text());
    };
    if (resource.draft == 7) {
      if (const auto id = name("$id"); id && id->starts_with('#') && !schema.find("$ref")) resource.anchors.emplace(id->substr(1), schema);
      return;
    }
    if (const auto anchor = name("$anchor")) resource.anchors.emplace(*anchor, schema);
    if (const auto anchor = name("$dynamicAnchor"); anchor && resource.draft == 2020) {
      resource.anchors.emplace(*anchor, schema);
      resource.dynamic_anchors.emplace(*anchor, schema);
    }
  }

  Status compile_anchors(std::uint32_t index) {
    const auto anchors = program_.resources[index].dynamic_anchors;
    for (const auto& [anchor, value] : anchors) {
      CLAW_TRY_ASSIGN(const std::uint32_t id, schema_at(value));
      program_.resources[index].dynamic_schemas.emplace(anchor, id);
    }
    if (!program_.resources[index].recursive_anchor) return {};
    CLAW_TRY_ASSIGN(const std::uint32_t id, schema_at(program_.resources[index].root));
    program_.resources[index].root_schema = id;
    return {};
  }

  // References -------------------------------------------------------------------------------------------------------

  Result<Value> resolve(Value reference, std::uint32_t from) {
    if (reference.kind() != Kind::string) return expected(reference, "a URI reference");
    const std::string target = resolve_uri(program_.resources[from].uri, reference.text());
    const auto [uri, raw_fragment] = split_fragment(target);
    CLAW_TRY_ASSIGN(const std::uint32_t resource, resource_of(reference, std::string(uri), program_.resources[from].draft));
    const std::string fragment = percent_decode(raw_fragment);
    if (fragment.empty()) return program_.resources[resource].root;
    if (fragment.starts_with('/')) return follow(reference, fragment, resource);
    const auto& anchors = program_.resources[resource].anchors;
    const auto anchor = anchors.find(fragment);
    if (anchor == anchors.end()) return bad(reference, fmt::format("'{}' leads nowhere: no such anchor", shown(reference.text())));
    return anchor->second;
  }

  Result<std::uint32_t> resource_of(Value reference, const std::string& uri, int draft) {
    if (const auto found = by_uri_.find(uri); found != by_uri_.end()) return found->second;
    const auto given = options_.documents.find(uri);
    if (given == options_.documents.end())
      return bad(reference, fmt::format("'{}' leads out of the document; nothing is fetched", shown(reference.text())), Code::unsupported);
    return load(given->second, uri, draft);
  }

  // A JSON pointer may lead through resources and to places that no keyword calls a schema.
  Result<Value> follow(Value reference, std::string_view fragment, std::uint32_t resource) {
    Value at = program_.resources[resource].root;
    while (!fragment.empty()) {
      fragment.remove_prefix(1);
      const std::size_t end = std::min(fragment.find('/'), fragment.size());
      const auto next = child(at, fragment.substr(0, end));
      if (!next) return bad(reference, fmt::format("'{}' leads nowhere", shown(reference.text())));
      at = *next;
      fragment.remove_prefix(end);
      if (const auto home = home_.find(place(at)); home != home_.end()) resource = home->second;
    }
    CLAW_TRY(index_schema(at, resource));
    return at;
  }

  static std::optional<Value> child(Value parent, std::string_view token) {
    std::string name;
    for (std::size_t i = 0; i < token.size(); ++i) {
      if (token[i] == '~' && i + 1 < token.size() && (token[i + 1] == '0' || token[i + 1] == '1')) name += token[++i] == '0' ? '~' : '/';
      else name += token[i];
    }
    if (parent.kind() == Kind::object) return parent.find(name);
    if (parent.kind() != Kind::array || name.empty() || name.size() > 9 || name.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
    auto wanted = std::stoul(name);
    for (const Value element : parent)
      if (wanted-- == 0) return element;
    return std::nullopt;
  }

  // Compilation ------------------------------------------------------------------------------------------------------

  static Place place(Value value) { return {value.document(), value.index()}; }

  Result<std::uint32_t> schema_at(Value value) {
    if (!is_schema(value)) return expected(value, "a schema: an object, true or false");
    if (const auto known = ids_.find(place(value)); known != ids_.end()) return known->second;
    const auto id = static_cast<std::uint32_t>(program_.schemas.size());
    const auto home = home_.find(place(value));
    CLAW_CHECK(home != home_.end());
    program_.schemas.push_back({.resource = home->second});
    ids_.emplace(place(value), id);
    pending_.emplace_back(value, id);
    return id;
  }

  const Resource& resource() const { return program_.resources[resource_]; }
  int draft() const { return resource().draft; }

  Status compile_schema(Value value, std::uint32_t id) {
    resource_ = program_.schemas[id].resource;
    const auto first = static_cast<std::uint32_t>(program_.steps.size());
    if (value.kind() == Kind::boolean) {
      if (!value.truth()) add({.rule = Rule::nothing, .source = value, .keyword = "false schema"});
    } else if (const auto ref = value.find("$ref"); ref && draft() == 7) {
      CLAW_TRY(reference(*ref, Rule::reference));
    } else {
      CLAW_TRY(references(value));
      if (resource().validates) CLAW_TRY(assertions(value));
      CLAW_TRY(in_place(value));
      CLAW_TRY(children(value));
      CLAW_TRY(unevaluated(value, id));
    }
    program_.schemas[id].first = first;
    program_.schemas[id].last = static_cast<std::uint32_t>(program_.steps.size());
    return {};
  }

  Step& add(Step step) {
    if (step.keyword.empty()) step.keyword = std::string(step.source.key());
    program_.steps.push_back(std::move(step));
    return program_.steps.back();
  }

  Status references(Value value) {
    if (const auto ref = value.find("$ref")) CLAW_TRY(reference(*ref, Rule::reference));
    if (const auto ref = value.find("$dynamicRef"); ref && draft() == 2020) CLAW_TRY(reference(*ref, Rule::dynamic_reference));
    if (const auto ref = value.find("$recursiveRef"); ref && draft() == 2019) CLAW_TRY(reference(*ref, Rule::recursive_reference));
    return {};
  }

  Status reference(Value ref, Rule rule) {
    CLAW_TRY_ASSIGN(const Value target, resolve(ref, resource_));
    CLAW_TRY_ASSIGN(const std::uint32_t id, schema_at(target));
    Step step{.rule = rule, .source = ref, .schema = id};
    const Resource& home = program_.resources[home_.at(place(target))];
    if (rule == Rule::dynamic_reference) {
      const std::string anchor = percent_decode(split_fragment(ref.text()).second);
      const auto found = home.dynamic_anchors.find(anchor);
      if (found != home.dynamic_anchors.end() && found->second == target) step.names.push_back(anchor);
      else step.rule = Rule::reference;
    }
    if (rule == Rule::recursive_reference && !home.recursive_anchor) step.rule = Rule::reference;
    add(std::move(step));
    return {};
  }

  Status assertions(Value value) {
    for (const Value member : value) {
      const std::string_view key = member.key();
      if (key == "type") CLAW_TRY(types(member));
      else if (key == "enum") {
        if (member.kind() != Kind::array) return expected(member, "a list of values");
        add({.rule = Rule::one_of_values, .source = member});
      } else if (key == "const") add({.rule = Rule::one_value, .source = member});
      else if (const auto rule = limit_rule(key)) CLAW_TRY(limit(member, *rule));
      else if (const auto count = count_rule(key)) CLAW_TRY(length(member, *count));
      else if (key == "uniqueItems") {
        if (member.kind() != Kind::boolean) return expected(member, "true or false");
        if (member.truth()) add({.rule = Rule::unique_items, .source = member});
      } else if (key == "pattern") CLAW_TRY(pattern(member));
      else if (key == "format") CLAW_TRY(format(member));
      else if (key == "required") {
        CLAW_TRY_ASSIGN(auto list, names(member));
        add({.rule = Rule::required, .source = member, .names = std::move(list)});
      } else if (key == "dependentRequired" && draft() >= 2019) CLAW_TRY(dependent_required(member));
    }
    return {};
  }

  static std::optional<Rule> limit_rule(std::string_view key) {
    if (key == "minimum") return Rule::minimum;
    if (key == "maximum") return Rule::maximum;
    if (key == "exclusiveMinimum") return Rule::exclusive_minimum;
    if (key == "exclusiveMaximum") return Rule::exclusive_maximum;
    if (key == "multipleOf") return Rule::multiple_of;
    return std::nullopt;
  }
  static std::optional<Rule> count_rule(std::string_view key) {
    if (key == "minLength") return Rule::min_length;
    if (key == "maxLength") return Rule::max_length;
    if (key == "minItems") return Rule::min_items;
    if (key == "maxItems") return Rule::max_items;
    if (key == "minProperties") return Rule::min_properties;
    if (key == "maxProperties") return Rule::max_properties;
    return std::nullopt;
  }

  Status types(Value member) {
    Step step{.rule = Rule::type, .source = member};
    const auto one = [&](Value name) -> Status {
      constexpr std::array<std::string_view, 7> known = {"null", "boolean", "integer", "number", "string", "array", "object"};
      const auto found = name.kind() == Kind::string ? std::find(known.begin(), known.end(), name.text()) : known.end();
      if (found == known.end())
        return bad(name, name.kind() == Kind::string ? fmt::format("unknown type '{}'", shown(name.text())) : fmt::format("is {}, expected the name of a type", value_class(name)));
      step.types = static_cast<std::uint8_t>(step.types | 1u << (found - known.begin()));
      return {};
    };
    if (member.kind() == Kind::array) {
      for (const Value name : member) CLAW_TRY(one(name));
    } else {
      CLAW_TRY(one(member));
    }
    add(std::move(step));
    return {};
  }

  Status limit(Value member, Rule rule) {
    const auto number = member.kind() == Kind::number ? Decimal::parse(member.text()) : std::nullopt;
    if (!number) return expected(member, "a number");
    if (rule == Rule::multiple_of && !(Decimal() < *number)) return expected(member, "a number above zero");
    add({.rule = rule, .source = member, .limit = number});
    return {};
  }

  Status length(Value member, Rule rule) {
    const auto count = as_count(member);
    if (!count) return expected(member, "a count");
    add({.rule = rule, .source = member, .least = *count, .most = *count});
    return {};
  }

  Status pattern(Value member) {
    if (member.kind() != Kind::string) return expected(member, "a regular expression");
    CLAW_TRY_ASSIGN(Pattern compiled, regex(member, member.text()));
    add({.rule = Rule::pattern, .source = member, .pattern = std::move(compiled)});
    return {};
  }
  static Result<Pattern> regex(Value member, std::string_view text) {
    auto compiled = Pattern::compile(text);
    if (!compiled.ok()) return bad(member, fmt::format("pattern '{}': {}", shown(text), compiled.error().detail), compiled.error().code);
    return compiled;
  }

  // Only the shape is asserted, and only of the formats that a shape can settle.
  Status format(Value member) {
    if (member.kind() != Kind::string) return expected(member, "the name of a format");
    if (!options_.assert_formats) return {};
    constexpr std::array<std::pair<std::string_view, std::string_view>, 7> shapes = {{
        {"date", R"(^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$)"},
        {"time", R"(^([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?([zZ]|[+-]([01]\d|2[0-3]):[0-5]\d)$)"},
        {"date-time", R"(^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[tT]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?([zZ]|[+-]([01]\d|2[0-3]):[0-5]\d)$)"},
        {"uuid", R"(^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$)"},
        {"ipv4", R"(^((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.|$)){4}$)"},
        {"email", R"(^[^@\s]+@[^@\s]+$)"},
        {"hostname", R"(^([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$)"},
    }};
    for (const auto& [name, shape] : shapes) {
      if (name != member.text()) continue;
      CLAW_TRY_ASSIGN(Pattern compiled, regex(member, shape));
      add({.rule = Rule::format, .source = member, .pattern = std::move(compiled)});
    }
    return {};
  }

  static Result<std::vector<std::string>> names(Value list) {
    if (list.kind() != Kind::array) return expected(list, "a list of names");
    std::vector<std::string> out;
    for (const Value name : list) {
      if (name.kind() != Kind::string) return expected(name, "a name");
      out.emplace_back(name.text());
    }
    return out;
  }

  Status dependent_required(Value member) {
    if (member.kind() != Kind::object) return expected(member, "an object of lists of names");
    Step step{.rule = Rule::dependent_required, .source = member};
    for (const Value list : member) {
      if (list.kind() != Kind::array && member.key() == "dependencies") continue;
      CLAW_TRY_ASSIGN(step.lists[std::string(list.key())], names(list));
    }
    if (!step.lists.empty()) add(std::move(step));
    return {};
  }

  // Rules that apply schemas to the same value.
  Status in_place(Value value) {
    constexpr std::array<std::pair<std::string_view, Rule>, 3> lists = {{{"allOf", Rule::all_of}, {"anyOf", Rule::any_of}, {"oneOf", Rule::one_of}}};
    for (const auto& [key, rule] : lists)
      if (const auto member = value.find(key)) {
        Step step{.rule = rule, .source = *member};
        CLAW_TRY(compile_list(*member, step.schemas));
        if (step.schemas.empty()) return expected(*member, "at least one schema");
        add(std::move(step));
      }
    if (const auto member = value.find("not")) {
      CLAW_TRY_ASSIGN(const std::uint32_t inner, schema_at(*member));
      add({.rule = Rule::negation, .source = *member, .schema = inner});
    }
    if (const auto member = value.find("if")) {
      Step step{.rule = Rule::condition, .source = *member};
      CLAW_TRY_ASSIGN(step.schema, schema_at(*member));
      CLAW_TRY(optional(value, "then", step.then));
      CLAW_TRY(optional(value, "else", step.otherwise));
      add(std::move(step));
    }
    if (const auto member = value.find("dependentSchemas"); member && draft() >= 2019) CLAW_TRY(dependent_schemas(*member));
    if (const auto member = value.find("dependencies")) {
      if (resource().validates) CLAW_TRY(dependent_required(*member));
      CLAW_TRY(dependent_schemas(*member));
    }
    return {};
  }

  Status compile_list(Value list, std::vector<std::uint32_t>& out) {
    if (list.kind() != Kind::array) return expected(list, "a list of schemas");
    for (const Value inner : list) {
      CLAW_TRY_ASSIGN(const std::uint32_t id, schema_at(inner));
      out.push_back(id);
    }
    return {};
  }
  Status optional(Value value, std::string_view key, std::uint32_t& out) {
    const auto member = value.find(key);
    if (!member) return {};
    CLAW_TRY_ASSIGN(out, schema_at(*member));
    return {};
  }

  Status dependent_schemas(Value member) {
    Step step{.rule = Rule::dependent_schemas, .source = member};
    for (const Value inner : member) {
      if (inner.kind() == Kind::array && member.key() == "dependencies") continue;
      CLAW_TRY_ASSIGN(const std::uint32_t id, schema_at(inner));
      step.named.push_back({std::string(inner.key()), id});
    }
    if (!step.named.empty()) add(std::move(step));
    return {};
  }

  // Rules that apply schemas to members and elements.
  Status children(Value value) {
    CLAW_TRY(properties(value));
    if (const auto member = value.find("propertyNames")) {
      CLAW_TRY_ASSIGN(const std::uint32_t inner, schema_at(*member));
      add({.rule = Rule::property_names, .source = *member, .schema = inner});
    }
    CLAW_TRY(items(value));
    const auto member = value.find("contains");
    return member ? contains(value, *member) : Status();
  }

  Status properties(Value value) {
    const auto named = value.find("properties"), matched = value.find("patternProperties"), rest = value.find("additionalProperties");
    if (!named && !matched && !rest) return {};
    Step step{.rule = Rule::properties, .source = rest ? *rest : named ? *named : *matched};
    if (named)
      for (const Value inner : *named) {
        CLAW_TRY_ASSIGN(const std::uint32_t id, schema_at(inner));
        step.named.push_back({std::string(inner.key()), id});
      }
    std::stable_sort(step.named.begin(), step.named.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    if (matched)
      for (const Value inner : *matched) {
        CLAW_TRY_ASSIGN(Pattern key, regex(inner, inner.key()));
        CLAW_TRY_ASSIGN(const std::uint32_t id, schema_at(inner));
        step.matched.push_back({std::move(key), id});
      }
    if (rest) {
      CLAW_TRY_ASSIGN(step.schema, schema_at(*rest));
    }
    add(std::move(step));
    return {};
  }

  Status items(Value value) {
    const bool modern = draft() == 2020;
    const auto list = value.find("items");
    const auto prefix = modern ? value.find("prefixItems") : list && list->kind() == Kind::array ? list : std::nullopt;
    const auto rest = modern ? list : prefix ? value.find("additionalItems") : list;
    if (!prefix && !rest) return {};
    Step step{.rule = Rule::items, .source = rest ? *rest : *prefix};
    if (prefix) CLAW_TRY(compile_list(*prefix, step.schemas));
    if (rest) {
      CLAW_TRY_ASSIGN(step.schema, schema_at(*rest));
    }
    add(std::move(step));
    return {};
  }

  Status contains(Value value, Value member) {
    Step step{.rule = Rule::contains, .source = member, .least = 1, .counts = draft() == 2020};
    CLAW_TRY_ASSIGN(step.schema, schema_at(member));
    if (draft() >= 2019 && resource().validates)
      for (auto [key, bound] : {std::pair("minContains", &step.least), std::pair("maxContains", &step.most)})
        if (const auto given = value.find(key)) {
          const auto count = as_count(*given);
          if (!count) return expected(*given, "a count");
          *bound = *count;
        }
    add(std::move(step));
    return {};
  }

  // Last, for they look at what all others evaluated.
  Status unevaluated(Value value, std::uint32_t id) {
    if (draft() == 7) return {};
    for (const auto& [key, rule] : {std::pair("unevaluatedItems", Rule::unevaluated_items), std::pair("unevaluatedProperties", Rule::unevaluated_properties)})
      if (const auto member = value.find(key)) {
        CLAW_TRY_ASSIGN(const std::uint32_t inner, schema_at(*member));
        add({.rule = rule, .source = *member, .schema = inner});
        program_.schemas[id].collects = true;
      }
    return {};
  }

  // A schema that applies itself to the same value again would never end. Dynamic references are bounded when checking.
  Status refuse_endless_references() {
    enum class Mark : char { fresh, open, done };
    std::vector<Mark> marks(program_.schemas.size(), Mark::fresh);
    for (std::uint32_t start = 0; start < marks.size(); ++start) {
      std::vector<std::pair<std::uint32_t, std::vector<std::uint32_t>>> path;
      const auto enter = [&](std::uint32_t id) {
        marks[id] = Mark::open;
        path.emplace_back(id, same_value(id));
      };
      if (marks[start] == Mark::fresh) enter(start);
      while (!path.empty()) {
        auto& [id, next] = path.back();
        if (next.empty()) {
          marks[id] = Mark::done;
          path.pop_back();
          continue;
        }
        const std::uint32_t to = next.back();
        next.pop_back();
        if (marks[to] == Mark::open) return bad(program_.steps[program_.schemas[to].first].source, "leads back to itself without looking at a part of the value");
        if (marks[to] == Mark::fresh) enter(to);
      }
    }
    return {};
  }

  std::vector<std::uint32_t> same_value(std::uint32_t id) const {
    std::vector<std::uint32_t> out;
    for (std::uint32_t s = program_.schemas[id].first; s < program_.schemas[id].last; ++s) {
      const Step& step = program_.steps[s];
      switch (step.rule) {
        case Rule::reference: case Rule::negation: out.push_back(step.schema); break;
        case Rule::condition:
          for (const std::uint32_t part : {step.schema, step.then, step.otherwise})
            if (part != kNone) out.push_back(part);
          break;
        case Rule::all_of: case Rule::any_of: case Rule::one_of: out.insert(out.end(), step.schemas.begin(), step.schemas.end()); break;
        case Rule::dependent_schemas:
          for (const NamedSchema& part : step.named) out.push_back(part.schema);
          break;
        default: break;
      }
    }
    return out;
  }

  Contract::Program& program_;
  const Contract::Options& options_;
  std::map<std::string, std::uint32_t> by_uri_;
  std::map<Place, std::uint32_t> home_;  // schema → resource
  std::map<Place, std::uint32_t> ids_;   // schema → compiled
  std::deque<std::pair<Value, std::uint32_t>> pending_;
  std::uint32_t anchored_ = 0;           // resources whose dynamic anchors are compiled
  std::uint32_t resource_ = 0;
};

}  // namespace

Result<Contract> Contract::compile(std::string_view schema, const Options& options) {
  auto program = std::make_shared<Program>();
  CLAW_TRY(Compiler(*program, options).compile(schema));
  Contract out;
  out.program_ = std::move(program);
  return out;
}

}  // namespace claw::content
