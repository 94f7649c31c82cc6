#include "model/queue.h"

#include <algorithm>
#include <cstdlib>

namespace claw {

std::string_view name(QueueType type) {
  switch (type) {
    case QueueType::stream: return "stream";
    case QueueType::list: return "list";
    case QueueType::classic: return "classic";
    case QueueType::quorum: return "quorum";
    case QueueType::standard: return "standard";
    case QueueType::fifo: return "fifo";
  }
  std::abort();
}

std::string_view name(ListEnd end) {
  switch (end) {
    case ListEnd::tail: return "tail";
    case ListEnd::head: return "head";
  }
  std::abort();
}

std::optional<QueueType> queue_type(std::string_view text) {
  for (const QueueType type : {QueueType::stream, QueueType::list, QueueType::classic, QueueType::quorum, QueueType::standard, QueueType::fifo})
    if (name(type) == text) return type;
  return std::nullopt;
}

std::string_view name(Tier tier) {
  switch (tier) {
    case Tier::critical: return "critical";
    case Tier::standard: return "standard";
    case Tier::batch: return "batch";
  }
  std::abort();
}

std::string_view name(Autonomy autonomy) {
  switch (autonomy) {
    case Autonomy::observe: return "observe";
    case Autonomy::propose: return "propose";
    case Autonomy::act: return "act";
  }
  std::abort();
}

namespace {

// Matches one [..] class at the front of `pattern`; `used` is its length, 0 when it is not closed.
bool class_match(std::string_view pattern, char c, std::size_t& used) {
  std::size_t i = 1;
  const bool negated = i < pattern.size() && (pattern[i] == '!' || pattern[i] == '^');
  if (negated) ++i;
  bool found = false;
  for (const std::size_t start = i; i < pattern.size() && (pattern[i] != ']' || i == start); ++i) {
    if (i + 2 < pattern.size() && pattern[i + 1] == '-' && pattern[i + 2] != ']') {
      found |= pattern[i] <= c && c <= pattern[i + 2];
      i += 2;
    } else {
      found |= pattern[i] == c;
    }
  }
  used = i < pattern.size() ? i + 1 : 0;
  return found != negated;
}

}  // namespace

bool is_plain_name(std::string_view text) {
  if (text.empty() || text.size() > 64) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
  });
}

std::optional<TenantId> capture_tenant(std::string_view pattern, std::string_view queue) {
  const std::size_t at = pattern.find(kTenantMark);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view before = pattern.substr(0, at), after = pattern.substr(at + kTenantMark.size());
  if (queue.size() <= before.size() + after.size() || !queue.starts_with(before) || !queue.ends_with(after)) return std::nullopt;
  const std::string_view id = queue.substr(before.size(), queue.size() - before.size() - after.size());
  if (!is_plain_name(id)) return std::nullopt;
  return TenantId(id);
}

bool glob_match(std::string_view pattern, std::string_view name) {
  // One pass with a single point to come back to (the last *): linear times the length of the pattern.
  std::size_t p = 0, n = 0, star = std::string_view::npos, resume = 0;
  while (n < name.size()) {
    std::size_t used = 1;
    bool hit = false;
    if (p < pattern.size()) {
      if (pattern[p] == '*') {
        star = p++;
        resume = n;
        continue;
      }
      if (pattern[p] == '?') hit = true;
      else if (pattern[p] == '[') {
        hit = class_match(pattern.substr(p), name[n], used);
        if (used == 0) {  // an open bracket without an end is a plain character
          used = 1;
          hit = name[n] == '[';
        }
      } else {
        hit = pattern[p] == name[n];
      }
    }
    if (hit) {
      p += used;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace claw
