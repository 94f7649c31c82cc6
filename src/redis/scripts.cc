#include <openssl/evp.h>

#include <charconv>

#include "base/digest.h"
#include "base/text.h"
#include "redis/operations.h"

namespace claw::redis {
namespace {

// Redis names scripts by SHA-1; nothing here trusts it for more than a name.
std::string script_name(std::string_view script) {
  unsigned char digest[20];
  unsigned size = 0;
  CLAW_CHECK(EVP_Digest(script.data(), script.size(), digest, &size, EVP_sha1(), nullptr) == 1);
  return hex(std::string_view(reinterpret_cast<const char*>(digest), size));
}

}  // namespace

Result<Reply> run_script(Connection& connection, std::string_view script, std::span<const std::string> keys, std::span<const std::string> arguments, Deadline deadline) {
  const std::string name = script_name(script), count = std::to_string(keys.size());
  std::vector<std::string_view> words = {"EVALSHA", name, count};
  words.insert(words.end(), keys.begin(), keys.end());
  words.insert(words.end(), arguments.begin(), arguments.end());
  Result<Reply> reply = connection.call(words, deadline);
  if (!reply && reply.error().detail.starts_with("NOSCRIPT")) {  // safe to repeat: nothing ran
    words[0] = "EVAL";
    words[1] = script;
    reply = connection.call(words, deadline);
  }
  if (!reply) return make_error(reply.error().code, "script on " + (keys.empty() ? "" : escape(keys[0], 120)), reply.error().detail);
  return reply;
}

Deadline call_deadline(Connection& connection, Deadline whole) { return whole.or_sooner(Deadline::in(connection.clock(), Millis(30'000))); }

std::string stream_id(MessageKey key) { return std::to_string(key.high) + "-" + std::to_string(key.low); }

namespace {

// The digits at `at`, which is moved behind them. Two for every message: 19 digits cannot overflow, more are left to the library.
bool number(const char*& at, const char* end, std::uint64_t& value) {
  const char* const start = at;
  for (value = 0; at != end && *at >= '0' && *at <= '9' && at - start < 19; ++at) value = value * 10 + static_cast<unsigned>(*at - '0');
  if (at == end || *at < '0' || *at > '9') return at != start;
  const auto [last, problem] = std::from_chars(start, end, value);
  at = last;
  return problem == std::errc();
}

}  // namespace

Result<MessageKey> parse_stream_id(std::string_view text) {
  MessageKey key;
  const char* at = text.data();
  const char* const end = at + text.size();
  const bool parsed = number(at, end, key.high) && at != end && *at++ == '-' && number(at, end, key.low) && at == end;
  if (!parsed) return make_error(Code::corrupt, "stream id", "expected ms-seq");
  return key;
}

std::string quarantine_key(std::string_view queue_key) {
  const std::size_t open = queue_key.find('{');
  const std::size_t close = open == std::string_view::npos ? open : queue_key.find('}', open + 1);
  const bool tagged = close != std::string_view::npos && close > open + 1;
  if (!tagged) return "{" + std::string(queue_key) + "}:quarantine";
  // "{x}" and "x" are two queues.
  const bool all_tag = open == 0 && close == queue_key.size() - 1;
  return std::string(queue_key) + (all_tag ? "::quarantine" : ":quarantine");
}

bool is_quarantine_key(std::string_view key) { return key.ends_with(":quarantine") && key.find('{') != std::string_view::npos; }

}  // namespace claw::redis
