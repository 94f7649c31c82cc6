#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "content/contract_program.h"
#include "content/utf8.h"

namespace claw::content {
namespace {

constexpr std::uint64_t kMaxWork = 2'000'000;  // comparisons and visits of one check: a few tens of milliseconds
constexpr std::size_t kMaxCalls = 2'000;       // nested applications of schemas
constexpr std::size_t kMaxShown = 64;

std::string shown(std::string_view text) { return text.size() <= kMaxShown ? std::string(text) : fmt::format("{}…", text.substr(0, kMaxShown)); }

std::uint8_t types_of(Value value) {
  switch (value.kind()) {
    case Kind::null: return kNull;
    case Kind::boolean: return kBoolean;
    case Kind::number: {
      const auto number = Decimal::parse(value.text());
      return !number ? 0 : number->is_integer() ? kInteger | kNumber : kNumber;
    }
    case Kind::string: return kString;
    case Kind::bytes: return 0;
    case Kind::array: return kArray;
    case Kind::object: return kObject;
  }
  return 0;
}

std::string type_names(std::uint8_t types) {
  constexpr std::string_view names[] = {"null", "boolean", "integer", "number", "string", "array", "object"};
  std::string out;
  for (std::size_t i = 0; i < std::size(names); ++i)
    if (types & 1u << i) out.append(out.empty() ? "" : " or ").append(names[i]);
  return out.empty() ? "nothing" : out;
}

// Whether two equal values may be equal; equal values have equal hashes.
std::uint64_t value_hash(Value value) {
  constexpr std::uint64_t kPrime = 0x100000001b3;
  std::uint64_t hash = 0xcbf29ce484222325 ^ static_cast<std::uint64_t>(value.kind());
  const auto mix = [&](std::uint64_t bits) { hash = (hash ^ bits) * kPrime; };
  switch (value.kind()) {
    case Kind::null: break;
    case Kind::boolean: mix(value.truth()); break;
    case Kind::number: {
      const auto number = Decimal::parse(value.text());
      mix(number ? number->hash() : 0);
      break;
    }
    case Kind::string:
    case Kind::bytes:
      for (const char c : value.text()) mix(static_cast<unsigned char>(c));
      break;
    case Kind::array:
      for (const Value element : value) mix(value_hash(element));
      break;
    case Kind::object: {
      std::uint64_t sum = 0;  // members have no order
      for (const Value member : value) {
        std::uint64_t key = 0xcbf29ce484222325;
        for (const char c : member.key()) key = (key ^ static_cast<unsigned char>(c)) * kPrime;
        sum += (key ^ value_hash(member)) * kPrime;
      }
      mix(sum);
      break;
    }
  }
  return hash;
}

// Which members or elements of one value were evaluated, by position.
using Seen = std::vector<bool>;

class Checker {
 public:
  Checker(const Contract::Program& program, std::vector<Violation>* report, std::size_t most) : program_(program), report_(report), most_(most) {}

  Contract::Answer answer(Value body) {
    const bool meets = apply(program_.root, body, nullptr);
    if (exhausted_) return Contract::Answer::undecided;
    return meets ? Contract::Answer::meets : Contract::Answer::violates;
  }

 private:
  bool spend(std::uint64_t work) {
    if (work > work_left_) exhausted_ = true;
    if (exhausted_) return false;
    work_left_ -= work;
    return true;
  }
  bool reports() const { return report_ != nullptr; }
  // With a report all rules are looked at; without one the first violation settles it.
  bool enough() const { return exhausted_ || !reports() || report_->size() >= most_; }

  bool violated(const Step& step, Value value, std::string_view what) {
    if (reports() && report_->size() < most_)
      report_->push_back({.instance = value.pointer(), .keyword = step.keyword, .schema = step.source.pointer(), .what = std::string(what)});
    return false;
  }
  template <class What>
  bool require(bool holds, const Step& step, Value value, What&& what) {
    return holds || violated(step, value, reports() ? std::string(what()) : std::string());
  }

  // Runs without words: what fails inside is not by itself a violation.
  bool applies(std::uint32_t schema, Value value, Seen* seen) {
    std::vector<Violation>* const report = std::exchange(report_, nullptr);
    const bool holds = apply(schema, value, seen);
    report_ = report;
    return holds;
  }

  // `seen`, when somebody asks, gains what this schema evaluated; only if the value meets it.
  bool apply(std::uint32_t id, Value value, Seen* seen) {
    if (!spend(1)) return false;
    if (calls_ == kMaxCalls) return exhausted_ = true, false;
    const Schema& schema = program_.schemas[id];
    const bool enters = scope_.empty() || scope_.back() != schema.resource;
    if (enters) scope_.push_back(schema.resource);
    ++calls_;
    Seen own;
    const bool collects = schema.collects || seen != nullptr;
    if (collects) own.assign(value.size(), false);
    bool holds = true;
    for (std::uint32_t s = schema.first; s < schema.last && (holds || !enough()); ++s)
      holds &= step(program_.steps[s], value, collects ? &own : nullptr);
    if (holds && seen != nullptr) merge(*seen, own);
    --calls_;
    if (enters) scope_.pop_back();
    return holds && !exhausted_;
  }
  static void merge(Seen& into, const Seen& from) {
    for (std::size_t i = 0; i < from.size(); ++i)
      if (from[i]) into[i] = true;
  }

  bool step(const Step& s, Value v, Seen* seen) {
    switch (s.rule) {
      case Rule::nothing: return violated(s, v, "is not allowed here");
      case Rule::reference: return apply(s.schema, v, seen);
      case Rule::dynamic_reference: return apply(dynamic_target(s), v, seen);
      case Rule::recursive_reference: return apply(recursive_target(s), v, seen);
      case Rule::type: return require((types_of(v) & s.types) != 0, s, v, [&] { return fmt::format("expected {}, is {}", type_names(s.types), value_class(v)); });
      case Rule::one_of_values: return one_of_values(s, v);
      case Rule::one_value: return require(equal(s.source, v), s, v, [&] { return fmt::format("expected one certain value, is {}", another(v)); });
      case Rule::minimum: case Rule::maximum: case Rule::exclusive_minimum: case Rule::exclusive_maximum: case Rule::multiple_of: return number(s, v);
      case Rule::min_length: case Rule::max_length: case Rule::pattern: case Rule::format: return text(s, v);
      case Rule::min_items: return v.kind() != Kind::array || require(v.size() >= s.least, s, v, [&] { return fmt::format("expected at least {} elements, is {}", s.least, value_class(v)); });
      case Rule::max_items: return v.kind() != Kind::array || require(v.size() <= s.most, s, v, [&] { return fmt::format("expected at most {} elements, is {}", s.most, value_class(v)); });
      case Rule::min_properties: return v.kind() != Kind::object || require(v.size() >= s.least, s, v, [&] { return fmt::format("expected at least {} members, has {}", s.least, v.size()); });
      case Rule::max_properties: return v.kind() != Kind::object || require(v.size() <= s.most, s, v, [&] { return fmt::format("expected at most {} members, has {}", s.most, v.size()); });
      case Rule::unique_items: return v.kind() != Kind::array || unique(s, v);
      case Rule::items: return v.kind() != Kind::array || items(s, v, seen);
      case Rule::contains: return v.kind() != Kind::array || contains(s, v, seen);
      case Rule::required: return v.kind() != Kind::object || has_all(s, v, s.names);
      case Rule::properties: return v.kind() != Kind::object || properties(s, v, seen);
      case Rule::property_names: return v.kind() != Kind::object || property_names(s, v);
      case Rule::dependent_required: return v.kind() != Kind::object || dependent_required(s, v);
      case Rule::dependent_schemas: return v.kind() != Kind::object || dependent_schemas(s, v, seen);
      case Rule::all_of: return all_of(s, v, seen);
      case Rule::any_of: return any_of(s, v, seen);
      case Rule::one_of: return one_of(s, v, seen);
      case Rule::negation: return require(!applies(s.schema, v, nullptr), s, v, [&] { return fmt::format("is {} of a kind that is excluded", value_class(v)); });
      case Rule::condition: return condition(s, v, seen);
      case Rule::unevaluated_items: return v.kind() != Kind::array || rest(s, v, *seen, "element");
      case Rule::unevaluated_properties: return v.kind() != Kind::object || rest(s, v, *seen, "member");
    }
    return false;
  }

  static std::string another(Value v) {
    return v.kind() == Kind::boolean || v.kind() == Kind::null ? value_class(v) : fmt::format("another: {}", value_class(v));
  }

  std::uint32_t dynamic_target(const Step& s) const {
    for (const std::uint32_t resource : scope_) {
      const auto& anchors = program_.resources[resource].dynamic_schemas;
      if (const auto found = anchors.find(s.names[0]); found != anchors.end()) return found->second;
    }
    return s.schema;
  }
  std::uint32_t recursive_target(const Step& s) const {
    for (const std::uint32_t resource : scope_)
      if (program_.resources[resource].recursive_anchor) return program_.resources[resource].root_schema;
    return s.schema;
  }

  // Values -----------------------------------------------------------------------------------------------------------

  bool equal(Value a, Value b) {
    if (a.kind() != b.kind() || !spend(1)) return false;
    switch (a.kind()) {
      case Kind::null: return true;
      case Kind::boolean: return a.truth() == b.truth();
      case Kind::number: {
        const auto x = Decimal::parse(a.text()), y = Decimal::parse(b.text());
        return x && y ? *x == *y : a.text() == b.text();
      }
      case Kind::string: case Kind::bytes: return a.text() == b.text();
      case Kind::array:
        if (a.size() != b.size()) return false;
        for (auto x = a.begin(), y = b.begin(); x != a.end(); ++x, ++y)
          if (!equal(*x, *y)) return false;
        return true;
      case Kind::object:
        if (a.size() != b.size()) return false;
        for (const Value member : a) {
          const auto other = find(b, member.key());
          if (!other || !equal(member, *other)) return false;
        }
        return true;
    }
    return false;
  }

  std::optional<Value> find(Value object, std::string_view key) {
    if (!spend(object.size())) return std::nullopt;
    return object.find(key);
  }

  bool one_of_values(const Step& s, Value v) {
    for (const Value allowed : s.source)
      if (equal(allowed, v)) return true;
    return require(false, s, v, [&] { return fmt::format("expected one of {} values, is {}", s.source.size(), another(v)); });
  }

  bool number(const Step& s, Value v) {
    if (v.kind() != Kind::number) return true;
    const auto n = Decimal::parse(v.text());
    if (!n) return violated(s, v, "expected a number, is none");
    if (!spend(v.text().size() / 16)) return false;
    const auto limit = [&](bool holds, std::string_view words) {
      return require(holds, s, v, [&] { return fmt::format("expected {} {}, is {}", words, shown(s.source.text()), value_class(v)); });
    };
    switch (s.rule) {
      case Rule::minimum: return limit(*n >= *s.limit, "at least");
      case Rule::maximum: return limit(*n <= *s.limit, "at most");
      case Rule::exclusive_minimum: return limit(*n > *s.limit, "more than");
      case Rule::exclusive_maximum: return limit(*n < *s.limit, "less than");
      default: return limit(n->is_multiple_of(*s.limit), "a multiple of");
    }
  }

  bool text(const Step& s, Value v) {
    if (v.kind() != Kind::string || !spend(v.text().size() / 16)) return v.kind() != Kind::string;
    const auto length = [&](std::string_view bound, std::uint64_t limit, std::uint64_t is) {
      return fmt::format("expected {} {} characters, is {} of {}", bound, limit, value_class(v), is);
    };
    switch (s.rule) {
      case Rule::min_length: {
        const std::size_t count = count_code_points(v.text());
        return require(count >= s.least, s, v, [&] { return length("at least", s.least, count); });
      }
      case Rule::max_length: {
        const std::size_t count = count_code_points(v.text());
        return require(count <= s.most, s, v, [&] { return length("at most", s.most, count); });
      }
      case Rule::pattern: return require(s.pattern->matches(v.text()), s, v, [&] { return fmt::format("expected a match of {}, is {}", shown(s.source.text()), value_class(v)); });
      default: return require(s.pattern->matches(v.text()), s, v, [&] { return fmt::format("expected the format {}, is {}", shown(s.source.text()), value_class(v)); });
    }
  }

  // Arrays -----------------------------------------------------------------------------------------------------------

  bool unique(const Step& s, Value v) {
    if (!spend(std::uint64_t{v.size()} * 4)) return false;
    std::vector<std::pair<std::uint64_t, Value>> hashed;
    for (const Value element : v) hashed.emplace_back(value_hash(element), element);
    std::stable_sort(hashed.begin(), hashed.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (std::size_t i = 0; i < hashed.size(); ++i)
      for (std::size_t j = i + 1; j < hashed.size() && hashed[j].first == hashed[i].first; ++j)
        if (equal(hashed[i].second, hashed[j].second)) return violated(s, v, "two elements are equal");
    return !exhausted_;
  }

  bool items(const Step& s, Value v, Seen* seen) {
    bool holds = true;
    std::size_t i = 0;
    for (const Value element : v) {
      if (!holds && enough()) return false;
      const std::uint32_t schema = i < s.schemas.size() ? s.schemas[i] : s.schema;
      if (schema == kNone) break;
      holds &= apply(schema, element, nullptr);
      if (seen) (*seen)[i] = true;
      ++i;
    }
    return holds;
  }

  bool contains(const Step& s, Value v, Seen* seen) {
    std::uint64_t found = 0;
    std::size_t i = 0;
    for (const Value element : v) {
      if (applies(s.schema, element, nullptr)) {
        ++found;
        if (seen && s.counts) (*seen)[i] = true;
      }
      if (exhausted_) return false;
      ++i;
    }
    return require(found >= s.least && found <= s.most, s, v, [&] {
      return s.most == UINT64_MAX ? fmt::format("expected at least {} elements of a certain kind, has {}", s.least, found)
                                  : fmt::format("expected {} to {} elements of a certain kind, has {}", s.least, s.most, found);
    });
  }

  // Objects ----------------------------------------------------------------------------------------------------------

  bool has_all(const Step& s, Value v, const std::vector<std::string>& names) {
    bool holds = true;
    for (const std::string& name : names) {
      if (!holds && enough()) return false;
      holds &= require(find(v, name).has_value(), s, v, [&] { return fmt::format("member '{}' is missing", shown(name)); });
    }
    return holds;
  }

  bool properties(const Step& s, Value v, Seen* seen) {
    bool holds = true;
    std::size_t i = 0;
    for (const Value member : v) {
      if (!holds && enough()) return false;
      bool matched = false;
      const auto use = [&](std::uint32_t schema) {
        matched = true;
        holds &= apply(schema, member, nullptr);
      };
      if (const std::uint32_t schema = named(s.named, member.key()); schema != kNone) use(schema);
      for (const MatchedSchema& candidate : s.matched)
        if (spend(1 + member.key().size() / 16) && candidate.pattern.matches(member.key())) use(candidate.schema);
      if (!matched && s.schema != kNone) {
        if (is_false(s.schema)) matched = true, holds &= require(false, s, v, [&] { return fmt::format("member '{}' is not allowed", shown(member.key())); });
        else use(s.schema);
      }
      if (seen && matched) (*seen)[i] = true;
      ++i;
    }
    return holds && !exhausted_;
  }
  static std::uint32_t named(const std::vector<NamedSchema>& sorted, std::string_view name) {
    const auto at = std::lower_bound(sorted.begin(), sorted.end(), name, [](const NamedSchema& a, std::string_view b) { return a.name < b; });
    return at != sorted.end() && at->name == name ? at->schema : kNone;
  }
  bool is_false(std::uint32_t id) const {
    const Schema& schema = program_.schemas[id];
    return schema.first < schema.last && program_.steps[schema.first].rule == Rule::nothing;
  }

  bool property_names(const Step& s, Value v) {
    bool holds = true;
    for (const Value member : v) {
      if (!holds && enough()) return false;
      Document name;
      name.string(member.key(), 0);
      holds &= require(applies(s.schema, name.root(), nullptr), s, v, [&] { return fmt::format("member '{}' has a name that is not allowed", shown(member.key())); });
    }
    return holds;
  }

  bool dependent_required(const Step& s, Value v) {
    bool holds = true;
    for (const auto& [name, needed] : s.lists) {
      if (!holds && enough()) return false;
      if (find(v, name)) holds &= has_all(s, v, needed);
    }
    return holds;
  }

  bool dependent_schemas(const Step& s, Value v, Seen* seen) {
    bool holds = true;
    for (const NamedSchema& dependent : s.named) {
      if (!holds && enough()) return false;
      if (find(v, dependent.name)) holds &= apply(dependent.schema, v, seen);
    }
    return holds;
  }

  // Combinations: with `seen` every branch must be looked at, for any of them may evaluate more. ------------------------

  bool all_of(const Step& s, Value v, Seen* seen) {
    bool holds = true;
    for (const std::uint32_t schema : s.schemas) {
      if (!holds && enough()) return false;
      holds &= apply(schema, v, seen);
    }
    return holds;
  }

  bool any_of(const Step& s, Value v, Seen* seen) {
    bool any = false;
    for (const std::uint32_t schema : s.schemas) {
      any |= applies(schema, v, seen);
      if (any && !seen) return true;
    }
    return require(any, s, v, [&] { return fmt::format("is {} and meets none of {} alternatives", value_class(v), s.schemas.size()); });
  }

  bool one_of(const Step& s, Value v, Seen* seen) {
    std::size_t count = 0;
    for (const std::uint32_t schema : s.schemas) {
      count += applies(schema, v, seen);
      if (count > 1) break;
    }
    return require(count == 1, s, v, [&] {
      return fmt::format("is {} and meets {} of {} alternatives, expected exactly one", value_class(v), count == 0 ? "none" : "several", s.schemas.size());
    });
  }

  bool condition(const Step& s, Value v, Seen* seen) {
    const std::uint32_t branch = applies(s.schema, v, seen) ? s.then : s.otherwise;
    return branch == kNone || apply(branch, v, seen);
  }

  bool rest(const Step& s, Value v, Seen& seen, std::string_view what) {
    bool holds = true;
    std::size_t i = 0;
    for (const Value child : v) {
      if (!holds && enough()) return false;
      if (!seen[i]) {
        seen[i] = true;
        if (!is_false(s.schema)) holds &= apply(s.schema, child, nullptr);
        else holds &= require(false, s, v, [&] {
          return v.kind() == Kind::object ? fmt::format("{} '{}' is not allowed", what, shown(child.key())) : fmt::format("{} {} is not allowed", what, i);
        });
      }
      ++i;
    }
    return holds;
  }

  const Contract::Program& program_;
  std::vector<Violation>* report_;
  std::size_t most_;
  std::vector<std::uint32_t> scope_;  // resources, outermost first
  std::uint64_t work_left_ = kMaxWork;
  std::size_t calls_ = 0;
  bool exhausted_ = false;
};

}  // namespace

Contract::Answer Contract::check(Value body) const { return Checker(*program_, nullptr, 0).answer(body); }

std::vector<Violation> Contract::explain(Value body, std::size_t most) const {
  std::vector<Violation> found;
  if (Checker(*program_, &found, most).answer(body) == Answer::undecided) found.clear();
  return found;
}

std::string Violation::sentence() const {
  std::string place = instance.empty() ? "body" : instance.substr(1);
  std::replace(place.begin(), place.end(), '/', '.');
  return fmt::format("{}: {}", place, what);
}

}  // namespace claw::content
