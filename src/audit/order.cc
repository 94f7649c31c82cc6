#include "audit/order.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/text.h"

namespace claw::audit {

using nlohmann::json;

struct OrderCheck::Record {
  const json& fields;

  std::optional<std::int64_t> number(const char* key) const {
    const auto it = fields.find(key);
    if (it == fields.end() || !it->is_number_integer()) return std::nullopt;
    return it->get<std::int64_t>();
  }
  std::string text(const char* key) const {
    const auto it = fields.find(key);
    return it == fields.end() || !it->is_string() ? std::string() : it->get<std::string>();
  }
};

namespace {

std::int64_t may_touch(const std::map<std::int64_t, std::int64_t>& intents) {
  std::int64_t sum = 0;
  for (const auto& [wave, messages] : intents) sum += messages;
  return sum;
}

}  // namespace

// A crash between the log and the journal repeats a record: legal wherever its first writing was.

std::string OrderCheck::opened(Execution& execution, const Record&) {
  execution.open = true;
  return {};
}

std::string OrderCheck::plan(Execution& execution, const Record& record) {
  const std::string hash = record.text("plan_hash");
  const auto messages = record.number("messages"), queues = record.number("queues");
  if (hash.empty() || !messages || !queues || *messages < 0 || *queues < 0) return "a plan without plan_hash, messages and queues";
  if (!execution.plan_hash.empty() && execution.plan_hash != hash) return "a second plan with another hash";
  execution.plan_hash = hash;
  execution.planned = *messages;
  execution.queues = *queues;
  return {};
}

std::string OrderCheck::approval(Execution& execution, const Record& record) {
  if (record.text("plan_hash") == execution.plan_hash && !execution.plan_hash.empty()) return {};
  return "an approval of another plan than the one carried out";
}

std::string OrderCheck::snapshot(Execution& execution, const Record& record) {
  if (execution.plan_hash.empty()) return "a snapshot before the plan";
  execution.snapshots.insert(record.text("queue_hex"));
  return {};
}

std::string OrderCheck::intent(Execution& execution, const Record& record) {
  if (std::cmp_less(execution.snapshots.size(), std::max<std::int64_t>(1, execution.queues)))
    return fmt::format("an intent before its snapshot: {} of {} queues have one", execution.snapshots.size(), execution.queues);
  if (execution.closed) return "an intent after the close";
  const auto wave = record.number("wave"), messages = record.number("messages");
  if (!wave || !messages || *messages < 0) return "an intent without wave and messages";
  execution.intents[*wave] = *messages;
  if (may_touch(execution.intents) <= execution.planned) return {};
  return fmt::format("intents for {} messages, the plan names {}", may_touch(execution.intents), execution.planned);
}

std::string OrderCheck::result(Execution& execution, const Record& record) {
  const auto wave = record.number("wave"), planned = record.number("planned");
  if (!wave || !execution.intents.contains(*wave)) return "a result without an intent before it";
  if (planned && *planned > may_touch(execution.intents)) return "a result for more messages than its intents";
  return {};
}

std::string OrderCheck::guard(Execution&, const Record&) { return {}; }

std::string OrderCheck::rollback(Execution& execution, const Record& record) {
  execution.restored += record.number("restored").value_or(0);
  // Of a wave that was cut off only the intent is known.
  const std::int64_t most = execution.closed ? execution.removed : may_touch(execution.intents);
  if (execution.restored <= most) return {};
  return fmt::format("{} messages restored, at most {} were removed", execution.restored, most);
}

std::string OrderCheck::close(Execution& execution, const Record& record) {
  const auto planned = record.number("planned"), removed = record.number("removed"), gone = record.number("gone"), failed = record.number("failed");
  if (!planned || !removed || !gone || !failed) return "a close without planned, removed, gone and failed";
  if (*planned != *removed + *gone + *failed) return fmt::format("planned {} is not removed {} + gone {} + failed {}", *planned, *removed, *gone, *failed);
  if (record.text("plan_hash") != execution.plan_hash) return "a close of another plan than the one carried out";
  if (*removed > may_touch(execution.intents)) return fmt::format("{} messages removed, the intents name {}", *removed, may_touch(execution.intents));
  execution.closed = true;
  execution.removed = *removed;
  return {};
}

std::string OrderCheck::take(std::string_view entry) {
  using Rule = std::string (*)(Execution&, const Record&);
  static constexpr std::array<std::pair<std::string_view, Rule>, 9> kRules = {{{"open", opened}, {"plan", plan}, {"approval", approval},
    {"snapshot", snapshot}, {"intent", intent}, {"result", result}, {"guard", guard}, {"rollback", rollback}, {"close", close}}};

  const auto parsed = parse_json(entry, "audit entry");
  if (!parsed.ok()) return parsed.error().message();
  const auto bytes = canonical(*parsed);
  if (!bytes.ok() || *bytes != entry) return "the entry is not canonical JSON";
  if (!parsed->is_object() || !parsed->contains("type") || !parsed->at("type").is_string()) return "the entry has no type";
  if (!parsed->contains("execution")) return {};
  if (!parsed->at("execution").is_string()) return "execution is not a string";
  const Record record{*parsed};
  const std::string id = record.text("execution"), type = record.text("type");
  const auto rule = std::find_if(kRules.begin(), kRules.end(), [&](const auto& r) { return r.first == type; });
  if (rule == kRules.end()) return fmt::format("{} is no type of record of an execution", escape(type));

  Execution& execution = executions_[id];
  const auto n = record.number("n");
  if (!n || *n != execution.next) return fmt::format("n of {} is {}, expected {}", escape(id), n.value_or(-1), execution.next);
  ++execution.next;
  if (type != "open" && !execution.open) return fmt::format("{}: {} before it was opened", escape(id), type);
  const std::string why = rule->second(execution, record);
  return why.empty() ? why : fmt::format("{}: {}", escape(id), why);
}

}  // namespace claw::audit
