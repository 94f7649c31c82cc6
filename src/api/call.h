// Within src/api: what a handler is given, and how answers are made.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "api/api.h"
#include "api/who.h"
#include "api/shapes.h"

namespace claw::api {

struct Api::Call {
  const http::Request& request;
  std::vector<std::string> names;  // what stood in the places of the route's {…}, in order
  const Json& body;                // an object; empty for GET
  const Who& who;
  std::string actor;               // who.actor
};

http::Response json_answer(const Json& json, int status = 200);
http::Response problem(const Error& error);
http::Response problem(int status, std::string_view code, std::string_view detail);

// A member of the body: Code::invalid names it when it is missing, of another type or longer than 4,096 bytes.
Result<std::string> text_of(const Json& body, const char* key);
Result<std::string> text_or(const Json& body, const char* key, std::string fallback);
Result<std::vector<std::string>> texts_of(const Json& body, const char* key);
// A number in the query, `fallback` when absent, Code::invalid beyond `most`.
Result<std::uint64_t> number_of(const http::Request& request, const char* key, std::uint64_t fallback, std::uint64_t most);

}  // namespace claw::api
