#include "audit/order.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/text.h"

namespace claw::audit {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 9> kTypes = {"open",   "plan",  "approval", "snapshot", "intent",
                                                    "result", "guard", "rollback", "close"};

std::optional<std::int64_t> integer(const json& record, const char* key) {
  const auto it = record.find(key);
  if (it == record.end() || !it->is_number_integer()) return std::nullopt;
  return it->get<std::int64_t>();
}

std::string sums(const json& record) {
  const auto planned = integer(record, "planned");
  const auto removed = integer(record, "removed");
  const auto gone = integer(record, "gone");
  const auto failed = integer(record, "failed");
  if (!planned || !removed || !gone || !failed || *planned == *removed + *gone + *failed) return {};
  return fmt::format("planned {} is not removed {} + gone {} + failed {}", *planned, *removed, *gone, *failed);
}

}  // namespace

std::string OrderCheck::take(std::string_view entry) {
  const auto record = parse_json(entry, "audit entry");
  if (!record.ok()) return record.error().message();
  const auto bytes = canonical(*record);
  if (!bytes.ok() || *bytes != entry) return "the entry is not canonical JSON";
  if (!record->is_object() || !record->contains("type") || !record->at("type").is_string()) return "the entry has no type";
  const std::string type = record->at("type").get<std::string>();
  if (!record->contains("execution")) return {};
  if (!record->at("execution").is_string()) return "execution is not a string";
  const std::string id = record->at("execution").get<std::string>();
  if (std::find(kTypes.begin(), kTypes.end(), type) == kTypes.end())
    return fmt::format("{} is no type of record of an execution", escape(type));
  Execution& execution = executions_[id];
  const auto n = integer(*record, "n");
  if (!n || *n != execution.next) return fmt::format("n of {} is {}, expected {}", escape(id), n.value_or(-1), execution.next);
  ++execution.next;
  if (type == "snapshot") execution.snapshot = true;
  if (type == "intent" && !execution.snapshot) return fmt::format("an intent of {} before its snapshot", escape(id));
  // A crash between the log and the journal repeats a record: legal, as long as its intent came first.
  const std::int64_t wave = integer(*record, "wave").value_or(-1);
  if (type == "intent") execution.intents.insert(wave);
  if (type == "result" && !execution.intents.contains(wave))
    return fmt::format("a result of {} without an intent before it", escape(id));
  return type == "close" ? sums(*record) : std::string();
}

}  // namespace claw::audit
