// Avro binary with its writer's schema.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "content/document.h"
#include "content/visitor.h"

namespace claw::content {

// Immutable; shared by threads. Logical types stay what they are written as; unions are the value of their branch.
class AvroSchema {
 public:
  // The schema's JSON text. Code::invalid names the place: "fields[2].type: unknown type 'strin', …".
  static Result<AvroSchema> parse(std::string_view json);

  // CRC-64-AVRO of the Parsing Canonical Form.
  std::uint64_t fingerprint() const;
  std::string canonical_form() const;

  // One datum that is the whole body.
  Decoding read(std::string_view body, Emitter& out) const;
  // C3 01, the fingerprint, one datum.
  Decoding read_single_object(std::string_view body, Emitter& out) const;

 private:
  enum class Type : std::uint8_t { null, boolean, int32, int64, float32, float64, bytes, string, fixed, enumeration, array, map, unions, record };
  struct Part {
    std::string name;         // of a field; empty for a branch, an item, a value
    std::uint32_t node = 0;
  };
  struct Node {
    Type type = Type::null;
    std::string name;                  // full name of record, enum and fixed
    std::uint64_t size = 0;            // fixed
    std::vector<std::string> symbols;  // enum
    std::vector<Part> parts;           // fields, branches; one item or value
  };
  class Parser;
  class Reader;
  static Type primitive(std::string_view name, bool& known);
  static std::string_view type_name(Type type);
  void append_canonical(std::string& out, std::uint32_t node, std::vector<bool>& defined) const;

  std::vector<Node> nodes_;
  std::uint32_t root_ = 0;
};

inline constexpr std::string_view kAvroSingleObject = "\xc3\x01";

}  // namespace claw::content
