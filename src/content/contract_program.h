// What a JSON Schema is compiled to: schemas as ranges of rules in one flat list. Internal to contract_*.cc.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "content/contract.h"
#include "content/decimal.h"
#include "content/pattern.h"

namespace claw::content {

enum class Rule : std::uint8_t {
  nothing, reference, dynamic_reference, recursive_reference,
  type, one_of_values, one_value, minimum, maximum, exclusive_minimum, exclusive_maximum, multiple_of,
  min_length, max_length, pattern, format,
  min_items, max_items, unique_items, items, contains,
  min_properties, max_properties, required, properties, property_names, dependent_required, dependent_schemas,
  all_of, any_of, one_of, negation, condition, unevaluated_items, unevaluated_properties,
};

inline constexpr std::uint32_t kNone = UINT32_MAX;

struct NamedSchema {
  std::string name;
  std::uint32_t schema;
};

struct MatchedSchema {
  Pattern pattern;
  std::uint32_t schema;
};

// One keyword, or one group of keywords that only make sense together. Only what the rule needs is set.
struct Step {
  Rule rule;
  Value source;                           // the keyword's value, for words and for const and enum
  std::string keyword = {};
  std::uint32_t schema = kNone;           // the one subschema; additionalProperties, the rest of the items, if
  std::uint32_t then = kNone, otherwise = kNone;
  std::uint64_t least = 0, most = UINT64_MAX;  // lengths and counts; least and most of contains
  std::optional<Decimal> limit = {};
  std::uint8_t types = 0;                 // bit set of TypeBit
  bool counts = true;                     // contains: what matched is evaluated
  std::vector<std::uint32_t> schemas = {};     // allOf …, prefix items
  std::vector<NamedSchema> named = {};         // sorted by name
  std::vector<MatchedSchema> matched = {};
  std::vector<std::string> names = {};         // required; the anchor of a dynamic reference
  std::map<std::string, std::vector<std::string>> lists = {};  // dependentRequired
  std::optional<Pattern> pattern = {};
};

enum TypeBit : std::uint8_t { kNull = 1, kBoolean = 2, kInteger = 4, kNumber = 8, kString = 16, kArray = 32, kObject = 64 };

struct Schema {
  std::uint32_t first = 0, last = 0;  // steps
  std::uint32_t resource = 0;
  bool collects = false;              // has an unevaluated… rule, so it must know what its parts evaluated
};

// A schema with an $id of its own, or a whole document.
struct Resource {
  std::string uri;
  Value root;
  int draft = 0;           // 7, 2019, 2020
  bool validates = true;   // false: its metaschema leaves the validation vocabulary out
  bool recursive_anchor = false;
  std::map<std::string, Value> anchors = {};
  std::map<std::string, Value> dynamic_anchors = {};
  std::map<std::string, std::uint32_t> dynamic_schemas = {};
  std::uint32_t root_schema = kNone;
};

struct Contract::Program {
  std::vector<std::unique_ptr<const Document>> documents;
  std::vector<Resource> resources;
  std::vector<Schema> schemas;
  std::vector<Step> steps;
  std::uint32_t root = 0;
};

}  // namespace claw::content
