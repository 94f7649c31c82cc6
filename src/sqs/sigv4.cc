#include "sqs/sigv4.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <vector>

#include "base/digest.h"

namespace claw::sqs {
namespace {

// Runs of white space become one space, and none stays at the ends.
std::string squeezed(std::string_view value) {
  std::string out;
  bool gap = false;
  for (const char c : value) {
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
      gap = true;
      continue;
    }
    if (gap && !out.empty()) out += ' ';
    gap = false;
    out += c;
  }
  return out;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return out;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool encoded = text[i] == '%' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 && hex_value(text[i + 2]) >= 0;
    out += encoded ? static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2])) : text[i];
    if (encoded) i += 2;
  }
  return out;
}

template <class F>
void split(std::string_view text, char separator, F&& use) {
  for (std::size_t from = 0; from <= text.size();) {
    const std::size_t to = std::min(text.find(separator, from), text.size());
    use(text.substr(from, to - from));
    from = to + 1;
  }
}

// RFC 3986 dot segments away, and empty segments with them.
std::string normal_path(std::string_view path) {
  std::vector<std::string_view> segments;
  bool folder = false;
  split(path, '/', [&](std::string_view segment) {
    folder = segment.empty() || segment == "." || segment == "..";
    if (segment == ".." && !segments.empty()) segments.pop_back();
    if (!folder) segments.push_back(segment);
  });
  std::string out;
  for (const std::string_view segment : segments) out.append("/").append(segment);
  if (out.empty() || folder) out += '/';
  return out;
}

std::string canonical_query(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> pairs;
  split(query, '&', [&](std::string_view pair) {
    if (pair.empty()) return;
    const std::size_t equals = std::min(pair.find('='), pair.size());
    const std::string_view value = equals < pair.size() ? pair.substr(equals + 1) : std::string_view();
    pairs.emplace_back(percent_encode(percent_decode(pair.substr(0, equals)), false), percent_encode(percent_decode(value), false));
  });
  std::sort(pairs.begin(), pairs.end());
  std::string out;
  for (const auto& [name, value] : pairs) out += (out.empty() ? "" : "&") + name + "=" + value;
  return out;
}

// Lower-case names in order; a name that comes twice has its values joined by commas.
std::map<std::string, std::string> canonical_headers(std::span<const Header> headers) {
  std::map<std::string, std::string> out;
  for (const Header& header : headers) {
    const auto [place, fresh] = out.emplace(lower(header.name), squeezed(header.value));
    if (!fresh) place->second += "," + squeezed(header.value);
  }
  return out;
}

std::string signed_names(const std::map<std::string, std::string>& headers) {
  std::string out;
  for (const auto& [name, value] : headers) out += (out.empty() ? "" : ";") + name;
  return out;
}

// The four derivations of the signing key; every intermediate key is wiped.
Secret signing_key(const Credentials& credentials, const Scope& scope, std::string_view day) {
  Secret key("AWS4" + std::string(credentials.secret.reveal()));
  for (const std::string_view step : {day, std::string_view(scope.region), std::string_view(scope.service), std::string_view("aws4_request")})
    key = Secret(std::string(view(hmac_sha256(key.reveal(), step))));
  return key;
}

}  // namespace

std::string percent_encode(std::string_view text, bool keep_slash) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '~';
    if (plain || (keep_slash && c == '/')) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

std::string canonical_request(const Signable& request) {
  const auto headers = canonical_headers(request.headers);
  const std::string path = request.normalize_path ? normal_path(request.path) : std::string(request.path.empty() ? "/" : request.path);
  std::string out = fmt::format("{}\n{}\n{}\n", request.method, percent_encode(path, true), canonical_query(request.query));
  for (const auto& [name, value] : headers) out += name + ":" + value + "\n";
  return out + "\n" + signed_names(headers) + "\n" + hex(sha256(request.body));
}

std::string amz_date(WallTime time) {
  std::string out;
  for (const char c : rfc3339(time))
    if (c != '-' && c != ':') out += c;
  return out;
}

std::string authorization(const Credentials& credentials, const Scope& scope, std::string_view date, const Signable& request) {
  const std::string_view day = date.substr(0, 8);
  const std::string place = fmt::format("{}/{}/{}/aws4_request", day, scope.region, scope.service);
  const std::string to_sign = fmt::format("AWS4-HMAC-SHA256\n{}\n{}\n{}", date, place, hex(sha256(canonical_request(request))));
  const Secret key = signing_key(credentials, scope, day);
  return fmt::format("AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={}", credentials.key_id, place,
                     signed_names(canonical_headers(request.headers)), hex(hmac_sha256(key.reveal(), to_sign)));
}

}  // namespace claw::sqs
