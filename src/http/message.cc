#include "http/message.h"

#include <fmt/format.h>

#include <algorithm>

namespace claw::http {
namespace {

constexpr std::size_t kMaxHeaders = 64;

Rejection bad(std::string why) { return {400, std::move(why)}; }

bool token(std::string_view text) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || kMarks.find(static_cast<char>(c)) != std::string_view::npos;
  });
}

bool visible(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c == '\t' || (c >= 0x20 && c != 0x7f); });
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> out;
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t end = std::min(text.find(at, start), text.size());
    out.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return out;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<Rejection> take_target(Request& request, std::string_view target) {
  if (target.empty() || target.front() != '/') return bad("the target must be a path");
  if (!std::all_of(target.begin(), target.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f && c != '#'; })) return bad("the target holds a character that must be encoded");
  request.target = target;
  const std::size_t mark = target.find('?');
  for (const std::string_view piece : split(target.substr(1, mark == std::string_view::npos ? mark : mark - 1), '/')) {
    Result<std::string> segment = percent_decode(piece);
    if (!segment) return bad("the path is not percent-encoded UTF-8");
    if (*segment == "." || *segment == "..") return bad("the path may not hold . or ..");
    request.path.push_back(std::move(*segment));
  }
  if (mark == std::string_view::npos) return std::nullopt;
  for (const std::string_view pair : split(target.substr(mark + 1), '&')) {
    if (pair.empty()) continue;
    const std::size_t equals = std::min(pair.find('='), pair.size());
    Result<std::string> name = percent_decode(pair.substr(0, equals));
    Result<std::string> value = percent_decode(equals < pair.size() ? pair.substr(equals + 1) : std::string_view());
    if (!name || !value) return bad("the query is not percent-encoded");
    request.query.emplace_back(std::move(*name), std::move(*value));
  }
  return std::nullopt;
}

std::optional<Rejection> take_length(Head& head, std::string_view value) {
  if (value.empty() || value.size() > 12 || !std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; })) return bad("Content-Length is not a number");
  head.content_length = 0;
  for (const char c : value) head.content_length = head.content_length * 10 + static_cast<std::uint64_t>(c - '0');
  return std::nullopt;
}

std::optional<Rejection> take_header(Head& head, std::string_view line, bool& has_length) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || !token(line.substr(0, colon))) return bad("a header line is malformed");
  const std::string_view value = trim(line.substr(colon + 1));
  if (!visible(value)) return bad("a header holds a control character");
  std::string name = lower(line.substr(0, colon));
  if (name == "transfer-encoding") return Rejection{501, "send the body with Content-Length"};
  if (name == "content-length") {
    if (has_length) return bad("two Content-Length headers");
    has_length = true;
    if (auto no = take_length(head, value)) return no;
  }
  if (name == "host" && !head.request.header("host").empty()) return bad("two Host headers");
  if (name == "expect") head.expects_continue = lower(value) == "100-continue";
  if (name == "connection") head.request.keep_alive = head.request.keep_alive && lower(value) != "close";
  head.request.headers.emplace_back(std::move(name), std::string(value));
  if (head.request.headers.size() > kMaxHeaders) return Rejection{431, fmt::format("more than {} headers", kMaxHeaders)};
  return std::nullopt;
}

}  // namespace

std::string_view Request::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return {};
}

std::string_view Request::param(std::string_view name) const {
  for (const auto& [key, value] : query)
    if (key == name) return value;
  return {};
}

std::expected<Head, Rejection> parse_head(std::string_view text) {
  Head head;
  std::size_t line_end = text.find("\r\n");
  if (line_end == std::string_view::npos || !text.ends_with("\r\n\r\n")) return std::unexpected(bad("the head is not complete"));
  const auto words = split(text.substr(0, line_end), ' ');
  if (words.size() != 3 || !token(words[0])) return std::unexpected(bad("the request line is malformed"));
  if (words[2] != "HTTP/1.1" && words[2] != "HTTP/1.0") return std::unexpected(Rejection{505, "HTTP/1.1 is spoken here"});
  head.request.keep_alive = words[2] == "HTTP/1.1";
  head.request.method = words[0];
  if (auto no = take_target(head.request, words[1])) return std::unexpected(*no);
  bool has_length = false;
  for (std::size_t at = line_end + 2; at + 2 < text.size();) {
    line_end = text.find("\r\n", at);
    if (auto no = take_header(head, text.substr(at, line_end - at), has_length)) return std::unexpected(*no);
    at = line_end + 2;
  }
  if (head.request.header("host").empty()) return std::unexpected(bad("no Host header"));
  return head;
}

Result<std::string> percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
    const int low = high >= 0 ? hex_value(text[i + 2]) : -1;
    if (low < 0) return make_error(Code::invalid, "percent encoding", "expected % and two hex digits");
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

std::string percent_encode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) out += c;
    else out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

std::string_view reason(int status) {
  switch (status) {
    case 200: return "OK";
    case 202: return "Accepted";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 421: return "Misdirected Request";
    case 422: return "Unprocessable Content";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return "Status";
  }
}

std::string head_of(const Response& response, std::optional<std::size_t> length, bool keep_alive) {
  std::string head = fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\n", response.status, reason(response.status), response.type);
  for (const auto& [name, value] : response.headers) head += fmt::format("{}: {}\r\n", name, value);
  if (length) head += fmt::format("Content-Length: {}\r\n", *length);
  return head + (keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n");
}

}  // namespace claw::http
