#include "model/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/text.h"

namespace claw {
namespace {

using nlohmann::json;

constexpr std::int64_t kPlanVersion = 3;

json limits_json(const Limits& limits) {
  return {{"max_messages", limits.max_messages},     {"max_queue_bps", limits.max_queue_bps},
          {"max_bytes", limits.max_bytes},           {"refuse_above_bps", limits.refuse_above_bps},
          {"confidence_bps", limits.confidence_bps}, {"waves_bps", limits.waves_bps},
          {"block_budget_ms", limits.block_budget.count()}};
}

Limits limits_of(const json& value) {
  Limits limits;
  limits.max_messages = value.at("max_messages").get<std::uint64_t>();
  limits.max_queue_bps = value.at("max_queue_bps").get<std::int64_t>();
  limits.max_bytes = value.at("max_bytes").get<std::uint64_t>();
  limits.refuse_above_bps = value.at("refuse_above_bps").get<std::int64_t>();
  limits.confidence_bps = value.at("confidence_bps").get<std::int64_t>();
  limits.waves_bps = value.at("waves_bps").get<std::vector<std::int64_t>>();
  limits.block_budget = Millis(value.at("block_budget_ms").get<std::int64_t>());
  return limits;
}

// Names and ids come from brokers and may be any bytes: they are pinned in hexadecimal, shown escaped.
std::string bytes_text(std::string_view bytes) { return hex(bytes); }

std::string text_bytes(const json& value) {
  Result<std::string> bytes = unhex(value.get<std::string>());
  if (!bytes) throw std::invalid_argument(bytes.error().detail);
  return std::move(bytes).value();
}

// One message as "SIGNATURE ATTEMPTS KEY_HIGH KEY_LOW DIGEST ID": one short text each, because there may be very many.
PlannedMessage message_of(const std::string& line) {
  std::uint64_t numbers[5] = {};
  const char* at = line.data();
  const char* const end = at + line.size();
  for (std::uint64_t& number : numbers) {
    const auto [next, problem] = std::from_chars(at, end, number);
    if (problem != std::errc() || next == end || *next != ' ') throw std::invalid_argument("a message is not \"signature attempts high low digest id\"");
    at = next + 1;
  }
  if (numbers[0] > UINT32_MAX || at == end) throw std::invalid_argument("a message is not \"signature attempts high low digest id\"");
  return {.id = std::string(at, end), .key = {numbers[2], numbers[3]}, .signature = static_cast<std::uint32_t>(numbers[0]), .attempts = numbers[1], .digest = numbers[4]};
}

json queue_json(const PlannedQueue& queue) {
  json messages = json::array();
  for (const PlannedMessage& m : queue.messages)
    messages.push_back(fmt::format("{} {} {} {} {} {}", m.signature, m.attempts, m.key.high, m.key.low, m.digest, m.id));
  json out = {{"broker", queue.queue.broker},
              {"name_hex", bytes_text(queue.queue.name)},
              {"type", std::string(name(queue.type))},
              {"entries", queue.entries},
              {"quarantine_hex", bytes_text(queue.quarantine)},
              {"poison", queue.poison},
              {"messages", std::move(messages)}};
  if (queue.type == QueueType::list) out["takes_from"] = std::string(name(queue.takes_from));
  return out;
}

PlannedQueue queue_of(const json& value) {
  PlannedQueue queue;
  queue.queue = {value.at("broker").get<std::string>(), text_bytes(value.at("name_hex"))};
  const auto type = queue_type(value.at("type").get<std::string>());
  if (!type) throw std::invalid_argument("unknown queue type");
  queue.type = *type;
  queue.entries = value.at("entries").get<std::uint64_t>();
  queue.quarantine = text_bytes(value.at("quarantine_hex"));
  const std::string end = value.value("takes_from", "tail");
  if (end != "tail" && end != "head") throw std::invalid_argument("takes_from is neither tail nor head");
  queue.takes_from = end == "head" ? ListEnd::head : ListEnd::tail;
  queue.poison = value.at("poison").get<std::uint64_t>();
  for (const json& line : value.at("messages")) queue.messages.push_back(message_of(line.get<std::string>()));
  return queue;
}

// What decides which messages are touched, and nothing else: no clock, no names of people.
json pinned_json(const Plan& plan) {
  json signatures = json::array();
  for (const PlannedSignature& s : plan.signatures) {
    signatures.push_back({{"kind", s.signature.kind},
                          {"path_hex", bytes_text(s.signature.path)},
                          {"text", escape(s.signature.text)},
                          {"count", s.count},
                          {"confidence_bps", s.confidence_bps},
                          {"lower_bound_bps", s.lower_bound_bps},
                          {"explanation", escape(s.explanation)}});
  }
  json queues = json::array();
  for (const PlannedQueue& queue : plan.queues) queues.push_back(queue_json(queue));
  return {{"version", kPlanVersion},
          {"tenant", plan.tenant},
          {"skill", plan.skill},
          {"protocol", plan.protocol},
          {"detector", plan.detector},
          {"limits", limits_json(plan.limits)},
          {"messages_seen", plan.messages_seen},
          {"poison", plan.poison},
          {"bytes", plan.bytes},
          {"signatures", std::move(signatures)},
          {"queues", std::move(queues)}};
}

Plan plan_of(const json& document) {
  const json& value = document.at("plan");
  if (value.at("version").get<std::int64_t>() != kPlanVersion) throw std::invalid_argument("unknown plan version");
  Plan plan;
  plan.tenant = value.at("tenant").get<std::string>();
  plan.skill = value.at("skill").get<std::string>();
  plan.protocol = value.at("protocol").get<std::string>();
  plan.detector = value.at("detector").get<std::string>();
  plan.limits = limits_of(value.at("limits"));
  plan.messages_seen = value.at("messages_seen").get<std::uint64_t>();
  plan.poison = value.at("poison").get<std::uint64_t>();
  plan.bytes = value.at("bytes").get<std::uint64_t>();
  for (const json& s : value.at("signatures")) {
    plan.signatures.push_back({.signature = {s.at("kind").get<std::string>(), text_bytes(s.at("path_hex")), s.at("text").get<std::string>()},
                               .count = s.at("count").get<std::uint64_t>(),
                               .confidence_bps = s.at("confidence_bps").get<std::int64_t>(),
                               .lower_bound_bps = s.at("lower_bound_bps").get<std::int64_t>(),
                               .explanation = s.at("explanation").get<std::string>()});
  }
  for (const json& queue : value.at("queues")) plan.queues.push_back(queue_of(queue));
  for (const PlannedQueue& queue : plan.queues)
    for (const PlannedMessage& message : queue.messages)
      if (message.signature >= plan.signatures.size()) throw std::invalid_argument("a message names a signature that is not there");
  const auto time = [&document](const char* key) {
    Result<WallTime> at = parse_rfc3339(document.at(key).get<std::string>());
    if (!at) throw std::invalid_argument(at.error().detail);
    return at.value();
  };
  plan.created = time("created");
  plan.expires = time("expires");
  plan.requester = document.at("requester").get<std::string>();
  return plan;
}

}  // namespace

std::string Signature::id() const { return hex(sha256(kind + '\0' + path)).substr(0, 12); }

Limits Limits::tightened(const Limits& other) const {
  Limits out;
  out.max_messages = std::min(max_messages, other.max_messages);
  out.max_queue_bps = std::min(max_queue_bps, other.max_queue_bps);
  out.max_bytes = std::min(max_bytes, other.max_bytes);
  out.refuse_above_bps = std::min(refuse_above_bps, other.refuse_above_bps);
  out.confidence_bps = std::max(confidence_bps, other.confidence_bps);
  out.block_budget = std::min(block_budget, other.block_budget);
  // The stricter waves are those that begin with the smaller one; when both begin alike, those that are more. None is one of all.
  const auto first_wave = [](const Limits& limits) { return limits.waves_bps.empty() ? std::int64_t{10'000} : limits.waves_bps.front(); };
  const std::int64_t mine = first_wave(*this), theirs = first_wave(other);
  const bool other_first = theirs != mine ? theirs < mine : other.waves_bps.size() > waves_bps.size();
  out.waves_bps = other_first ? other.waves_bps : waves_bps;
  return out;
}

std::uint64_t Plan::total() const {
  std::uint64_t sum = 0;
  for (const PlannedQueue& queue : queues) sum += queue.messages.size();
  return sum;
}

std::uint64_t Plan::waiting() const { return poison - std::min(poison, total()); }

namespace {

std::string hash_of(const json& pinned) {
  const Result<std::string> text = canonical(pinned);
  CLAW_CHECK(text.ok());
  return sha256_label(*text);
}

}  // namespace

std::string plan_hash(const Plan& plan) { return hash_of(pinned_json(plan)); }

PlanText pin(const Plan& plan) {
  json pinned = pinned_json(plan);
  const std::string hash = hash_of(pinned);
  const json document = {{"plan", std::move(pinned)}, {"hash", hash}, {"created", rfc3339(plan.created)}, {"expires", rfc3339(plan.expires)}, {"requester", plan.requester}};
  return {hash, document.dump(1) + "\n"};
}

std::string plan_to_text(const Plan& plan) { return pin(plan).text; }

Result<Plan> plan_from_text(std::string_view text, std::string_view file) {
  CLAW_TRY_ASSIGN(const json document, parse_json(text, file));
  try {
    Plan plan = plan_of(document);
    const auto stated = document.at("hash").get<std::string>();
    const Result<std::string> pinned = canonical(pinned_json(plan));
    if (!pinned) return make_error(Code::invalid, std::string(file), "not a plan of this program: " + pinned.error().detail);
    if (sha256_label(*pinned) != stated)
      return make_error(Code::conflict, std::string(file), "the plan was edited: its content does not have the hash it states; make a new plan");
    return plan;
  } catch (const std::exception& error) {
    return make_error(Code::invalid, std::string(file), std::string("not a plan of this program: ") + escape(error.what(), 200));
  }
}

std::string_view name(StageStatus status) {
  switch (status) {
    case StageStatus::complete: return "complete";
    case StageStatus::skipped: return "skipped";
    case StageStatus::refused: return "refused";
    case StageStatus::failed: return "failed";
    case StageStatus::rolled_back: return "rolled_back";
  }
  std::abort();
}

std::string execution_to_json(const ExecutionRecord& record, int indent) {
  using ordered = nlohmann::ordered_json;
  ordered stages = ordered::array();
  for (const StageRecord& stage : record.stages) {
    stages.push_back(ordered{{"stage", stage.stage},
                             {"duration_ms", stage.duration.count()},
                             {"status", std::string(name(stage.status))},
                             {"output", escape(stage.output)}});
  }
  const RemediationRecord& r = record.record;
  const ordered document = {
      {"execution_id", record.execution_id},
      {"timestamp", rfc3339(record.timestamp)},
      {"tenant_id", record.tenant},
      {"stages", std::move(stages)},
      {"remediation_record",
       ordered{{"messages_removed", r.messages_removed},
               {"messages_preserved", r.messages_preserved},
               {"messages_left", r.messages_left},
               {"estimated_downtime_prevented", r.estimated_downtime_prevented},
               {"compliance_fingerprint", r.compliance_fingerprint},
               {"rollback_key", r.rollback_key}}},
      {"state", record.state},
      {"reason", escape(record.reason)},
      {"plan_hash", record.plan_hash}};
  return document.dump(indent);
}

Result<ExecutionRecord> execution_from_json(std::string_view text) {
  CLAW_TRY_ASSIGN(const json document, parse_json(text, "execution record"));
  try {
    ExecutionRecord record;
    record.execution_id = document.at("execution_id").get<std::string>();
    CLAW_TRY_ASSIGN(record.timestamp, parse_rfc3339(document.at("timestamp").get<std::string>()));
    record.tenant = document.at("tenant_id").get<std::string>();
    record.plan_hash = document.at("plan_hash").get<std::string>();
    record.state = document.at("state").get<std::string>();
    record.reason = document.at("reason").get<std::string>();
    for (const json& s : document.at("stages")) {
      StageRecord stage{.stage = s.at("stage").get<std::string>(),
                        .duration = Millis(s.at("duration_ms").get<std::int64_t>()),
                        .status = StageStatus::complete,
                        .output = s.at("output").get<std::string>()};
      const auto status = s.at("status").get<std::string>();
      for (const StageStatus known : {StageStatus::complete, StageStatus::skipped, StageStatus::refused,
                                      StageStatus::failed, StageStatus::rolled_back})
        if (name(known) == status) stage.status = known;
      record.stages.push_back(std::move(stage));
    }
    const json& r = document.at("remediation_record");
    record.record = {.messages_removed = r.at("messages_removed").get<std::uint64_t>(),
                     .messages_preserved = r.at("messages_preserved").get<std::uint64_t>(),
                     .messages_left = r.value("messages_left", std::uint64_t{0}),
                     .estimated_downtime_prevented = r.at("estimated_downtime_prevented").get<std::string>(),
                     .compliance_fingerprint = r.at("compliance_fingerprint").get<std::string>(),
                     .rollback_key = r.at("rollback_key").get<std::string>()};
    return record;
  } catch (const std::exception& error) {
    return make_error(Code::corrupt, "execution record", escape(error.what(), 200));
  }
}

namespace {
constexpr std::string_view kExecutionPrefix = "queue_remediation_";
constexpr std::string_view kRollbackPrefix = "remediation_";
constexpr std::string_view kRollbackSuffix = "_rollback";
}  // namespace

std::string rollback_key_of(std::string_view execution_id) {
  CLAW_CHECK(execution_id.starts_with(kExecutionPrefix));
  return std::string(kRollbackPrefix) + std::string(execution_id.substr(kExecutionPrefix.size())) + std::string(kRollbackSuffix);
}

Result<std::string> execution_of_rollback_key(std::string_view key) {
  const std::size_t fixed = kRollbackPrefix.size() + kRollbackSuffix.size();
  const bool shaped = key.starts_with(kRollbackPrefix) && key.ends_with(kRollbackSuffix) && key.size() > fixed;
  const std::string number(shaped ? key.substr(kRollbackPrefix.size(), key.size() - fixed) : "");
  if (number.empty() || number.size() > 18 || number.find_first_not_of("0123456789") != std::string::npos)
    return make_error(Code::invalid, "rollback key", "expected a key like remediation_84729_rollback");
  return std::string(kExecutionPrefix) + number;
}

}  // namespace claw
