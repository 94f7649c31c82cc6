// What a tenant's `contract` says its bodies are.
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "content/avro.h"
#include "content/contract.h"

namespace claw::content {

// Immutable, cheap to copy, shared by threads.
struct Agreed {
  std::optional<Contract> schema = {};          // a JSON Schema: every body is checked against it
  std::shared_ptr<const AvroSchema> avro = {};  // the Avro schema that bodies are written with

  // By the file's name: *.avsc is an Avro schema, anything else a JSON Schema. Code::invalid or Code::unsupported.
  static Result<Agreed> parse(std::string_view file, std::string_view text);
};

}  // namespace claw::content
