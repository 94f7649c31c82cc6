// What is wrong with a body, if anything: the first defect, with its place.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "model/message.h"

namespace claw::content {

struct Defect {
  std::string kind;  // as in strict_json.h
  std::string path;  // "transaction_id", "metadata#json.id" for JSON inside a string, "" = the whole body
  std::string what;  // "string not closed"
  std::uint64_t offset = 0;  // into `inner`, or into the field's value when `inner` is empty
  std::string inner;         // JSON inside a string: that string's text, unescaped
  std::size_t field = 0;
};

// Reusable; one a thread. A value that begins with { or [ is held to be JSON and is checked strictly; anything else is not
// judged. Strings inside that hold an object are checked too. Values beyond 16 MiB are walked without a tree.
class Inspector {
 public:
  Inspector();
  ~Inspector();
  std::optional<Defect> inspect(std::span<const Field> fields);

 private:
  struct Parser;
  std::optional<Defect> inspect_value(std::string_view value);
  std::unique_ptr<Parser> parser_;
};

}  // namespace claw::content
