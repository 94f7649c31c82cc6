#include "content/uri.h"

#include <algorithm>

namespace claw::content {
namespace {

struct Uri {
  std::string_view scheme, authority, path, query;  // with their marks: "http:", "//host", "/a", "?q"
};

Uri parse(std::string_view text) {
  Uri out;
  const auto take = [&](std::size_t count) {
    const std::string_view piece = text.substr(0, count);
    text.remove_prefix(piece.size());
    return piece;
  };
  const std::size_t colon = text.find(':');
  if (colon != std::string_view::npos && colon > 0 && colon < text.find_first_of("/?#")) out.scheme = take(colon + 1);
  if (text.starts_with("//")) out.authority = take(std::min(text.find_first_of("/?", 2), text.size()));
  out.path = take(std::min(text.find('?'), text.size()));
  out.query = text;
  return out;
}

std::string remove_dot_segments(std::string_view path) {
  std::string out;
  while (!path.empty()) {
    if (path.starts_with("/./") || path == "/.") {
      path = path.size() > 2 ? path.substr(2) : "/";
    } else if (path.starts_with("/../") || path == "/..") {
      path = path.size() > 3 ? path.substr(3) : "/";
      out.resize(out.rfind('/') == std::string::npos ? 0 : out.rfind('/'));
    } else {
      const std::size_t next = std::min(path.find('/', 1), path.size());
      out += path.substr(0, next);
      path.remove_prefix(next);
    }
  }
  return out;
}

std::string merge(const Uri& base, std::string_view path) {
  if (!base.authority.empty() && base.path.empty()) return "/" + std::string(path);
  const std::size_t slash = base.path.rfind('/');
  return std::string(slash == std::string_view::npos ? "" : base.path.substr(0, slash + 1)) + std::string(path);
}

std::string join(std::string_view scheme, std::string_view authority, std::string_view path, std::string_view query) {
  std::string out(scheme);
  out.append(authority).append(path).append(query);
  return out;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::pair<std::string_view, std::string_view> split_fragment(std::string_view uri) {
  const std::size_t mark = uri.find('#');
  if (mark == std::string_view::npos) return {uri, {}};
  return {uri.substr(0, mark), uri.substr(mark + 1)};
}

std::string resolve_uri(std::string_view base_text, std::string_view reference) {
  const auto [target, fragment] = split_fragment(reference);
  const Uri base = parse(split_fragment(base_text).first), ref = parse(target);
  std::string out;
  if (!ref.scheme.empty()) out = join(ref.scheme, ref.authority, remove_dot_segments(ref.path), ref.query);
  else if (!ref.authority.empty()) out = join(base.scheme, ref.authority, remove_dot_segments(ref.path), ref.query);
  else if (ref.path.empty()) out = join(base.scheme, base.authority, base.path, ref.query.empty() ? base.query : ref.query);
  else out = join(base.scheme, base.authority, remove_dot_segments(ref.path.starts_with('/') ? std::string(ref.path) : merge(base, ref.path)), ref.query);
  if (!fragment.empty()) out.append("#").append(fragment);
  return out;
}

std::string percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0) {
      out += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace claw::content
