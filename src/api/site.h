// The dashboard's files as they are in the program: a table, so no request can name anything else.
#pragma once

#include <optional>
#include <string_view>

namespace claw::api {

struct Asset {
  std::string_view path;  // "/assets/index-1a2b.js"
  std::string_view type;
  std::string_view etag;
  std::string_view gzip;  // the content, compressed
};

// nullopt when there is none; without a built dashboard there is none at all.
std::optional<Asset> asset(std::string_view path);

}  // namespace claw::api
