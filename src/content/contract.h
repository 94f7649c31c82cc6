// A tenant's JSON Schema, compiled once, checked against every body: draft-07, 2019-09 and 2020-12.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "content/document.h"

namespace claw::content {

struct Violation {
  std::string instance;  // pointer to the value: "/items/3/amount"
  std::string keyword;   // "type", "required", …
  std::string schema;    // pointer to the keyword in its schema document: "/properties/items/items/type"
  std::string what;      // "expected integer, is a string of digits": never the value itself

  // "items.3.amount: expected integer, is a string of digits"
  std::string sentence() const;
};

// Immutable, cheap to copy, shared by threads. Reads no network and no file: a reference leads to this document or to
// one that was given with it. `format` is an annotation unless asked to assert.
class Contract {
 public:
  struct Options {
    bool assert_formats = false;
    std::map<std::string, std::string> documents = {};  // absolute URI → JSON text
  };
  // Code::invalid or Code::unsupported; names the place: "contract /properties/amount/minimum: is a string, …".
  static Result<Contract> compile(std::string_view schema, const Options& options);
  static Result<Contract> compile(std::string_view schema) { return compile(schema, {}); }

  // undecided: the work bound was reached (a schema can ask for exponential work); that is no evidence against a message.
  enum class Answer { meets, violates, undecided };
  Answer check(Value body) const;

  // The same walk once more, for words: the violations in document order, at most `most` of them.
  std::vector<Violation> explain(Value body, std::size_t most = 8) const;

  struct Program;

 private:
  std::shared_ptr<const Program> program_;
};

}  // namespace claw::content
