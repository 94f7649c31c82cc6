// The strict YAML subset that our files are written in: maps, lists and plain text, each with its line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace claw::yaml {

struct Entry;

struct Node {
  enum class Kind { scalar, list, map };
  Kind kind = Kind::scalar;
  int line = 0;
  std::string text;                                   // scalar, untyped: the schema decides what it means
  std::vector<Node> items;                            // list
  std::vector<Entry> entries;                         // map, in order
};

struct Entry {
  std::string first;  // key
  Node second;
};

struct Source {
  std::string file;      // for errors
  int first_line = 1;    // of the text within the file
  std::string op = "config";
};

// Refuses anchors, aliases, tags, merge keys, several documents, duplicate keys, depth above 16 and more than 4 MiB.
// The detail of the error begins with "FILE:LINE: ".
Result<Node> parse(std::string_view text, const Source& source);

}  // namespace claw::yaml
