// Text that is safe to show, and JSON with one form only.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace claw {

// Makes foreign bytes safe for a terminal or a log line: C0, DEL, C1, line separators, bidi and
// zero-width controls become visible \n, \x1b, \u202e forms; invalid UTF-8 bytes become \xNN.
// The result is valid UTF-8 on one line.
std::string escape(std::string_view foreign);
// escape(), then cut at `columns` code points with an ellipsis.
std::string escape(std::string_view foreign, std::size_t columns);

// RFC 8785 (JCS) over I-JSON with integers only: |n| <= 2^53-1, no floats, no nulls, valid UTF-8,
// keys of [a-z0-9_] so that byte order is the standard's order. Code::invalid names the place.
Result<std::string> canonical(const nlohmann::json& value);

// Strict parse of our own files and of users' JSON: duplicate keys, trailing bytes, invalid UTF-8 and
// depth above 64 are errors. `what` names the document in the error.
Result<nlohmann::json> parse_json(std::string_view text, std::string_view what);

// "847,293"
std::string grouped(std::uint64_t number);
// "1 queue", "3 queues", "847,293 messages".
std::string counted(std::uint64_t count, std::string_view one);

}  // namespace claw
