#include "api/site.h"

#include <charconv>
#include <map>

// CLAW_WEB_PACK is what web/pack.mjs wrote: "PATH TYPE ETAG SIZE" a line, an empty line, the gzipped files in that order.
asm(".section .rodata\n"
    ".global claw_web_begin\n.global claw_web_end\n"
    "claw_web_begin:\n.incbin \"" CLAW_WEB_PACK "\"\n"
    "claw_web_end:\n.byte 0\n"
    ".previous\n");
extern "C" const char claw_web_begin[];
extern "C" const char claw_web_end[];

namespace claw::api {
namespace {

std::string_view word(std::string_view& line) {
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view out = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return out;
}

std::map<std::string_view, Asset> unpack() {
  std::map<std::string_view, Asset> all;
  const std::string_view pack(claw_web_begin, static_cast<std::size_t>(claw_web_end - claw_web_begin));
  const std::size_t blank = pack.find("\n\n");
  if (blank == std::string_view::npos) return all;
  std::size_t at = blank + 2;
  for (std::string_view lines = pack.substr(0, blank + 1); !lines.empty();) {
    std::string_view line = lines.substr(0, lines.find('\n'));
    lines.remove_prefix(line.size() + 1);
    Asset one{word(line), word(line), word(line), {}};
    std::size_t size = 0;
    std::from_chars(line.data(), line.data() + line.size(), size);
    one.gzip = pack.substr(at, size);
    at += size;
    all.emplace(one.path, one);
  }
  return all;
}

}  // namespace

std::optional<Asset> asset(std::string_view path) {
  static const std::map<std::string_view, Asset> all = unpack();
  const auto it = all.find(path);
  return it == all.end() ? std::nullopt : std::optional(it->second);
}

}  // namespace claw::api
