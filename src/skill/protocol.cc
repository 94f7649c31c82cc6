#include "skill/protocol.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <set>
#include <span>
#include <utility>

#include "base/text.h"

namespace claw::skill {
namespace {

using yaml::Node;

constexpr std::size_t kMostProblems = 50;
constexpr std::size_t kMostStages = 32;
constexpr std::size_t kMostConditions = 16;
constexpr std::int64_t kWhole = 10'000;        // basis points
constexpr std::int64_t kFirstWaveBps = 100;
constexpr std::int64_t kGrowth = 10;

template <class T>
using Words = std::span<const std::pair<std::string_view, T>>;

constexpr std::pair<std::string_view, Verb> kVerbs[] = {
    {"observe", Verb::observe}, {"classify", Verb::classify}, {"plan", Verb::plan},       {"approve", Verb::approve},
    {"snapshot", Verb::snapshot}, {"remove", Verb::remove},   {"redrive", Verb::redrive}, {"release", Verb::release},
    {"restart", Verb::restart},   {"verify", Verb::verify},   {"wait", Verb::wait}};
constexpr std::pair<std::string_view, Metric> kMetrics[] = {
    {"queue.sla_breach_bps", Metric::sla_breach_bps}, {"queue.redelivered_bps", Metric::redelivered_bps}, {"queue.poison_bps", Metric::poison_bps},
    {"queue.backlog", Metric::backlog}, {"queue.oldest_age_s", Metric::oldest_age_s}, {"queue.stalled_consumers", Metric::stalled_consumers}};
constexpr std::pair<std::string_view, Comparison> kComparisons[] = {{"gt", Comparison::gt}, {"gte", Comparison::gte}, {"lt", Comparison::lt}, {"lte", Comparison::lte}};
constexpr std::pair<std::string_view, Precondition> kPreconditions[] = {
    {"broker.reachable", Precondition::broker_reachable}, {"broker.not_partitioned", Precondition::broker_not_partitioned},
    {"audit.writable", Precondition::audit_writable}, {"brake.off", Precondition::brake_off}, {"no_other_execution", Precondition::no_other_execution}};
constexpr std::pair<std::string_view, Guard> kGuards[] = {{"conservation", Guard::conservation}, {"redelivery-falls", Guard::redelivery_falls},
                                                          {"consumers-back", Guard::consumers_back}, {"backlog-falls", Guard::backlog_falls}};
constexpr std::pair<std::string_view, Undo> kUndo[] = {{"guard_failed", Undo::guard_failed}, {"breaker_open", Undo::breaker_open}, {"limit_hit", Undo::limit_hit},
                                                       {"operator_abort", Undo::operator_abort}, {"crash_recovery", Undo::crash_recovery}};
constexpr std::pair<std::string_view, Source> kSources[] = {{"quarantine", Source::quarantine}, {"dead-letter", Source::dead_letter}};
constexpr std::pair<std::string_view, bool> kOrders[] = {{"original", true}, {"tail", false}};
constexpr std::pair<std::string_view, bool> kTargets[] = {{"quarantine", true}};

// A number as a person writes it: no sign, no leading zero, at most 12 digits.
std::optional<std::int64_t> plain_number(std::string_view text) {
  if (text.empty() || text.size() > 12 || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  std::int64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

bool plain_id(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

// Types and bounds: everything that one place alone can tell.
class Reader {
 public:
  Protocol read(const Node& root) {
    Protocol out;
    if (!keys(root, "protocol", {"protocol", "trigger", "preconditions", "limits", "approvals", "retry", "stages", "rollback"})) return out;
    if (const Node* version = need(root, "protocol"); version != nullptr && version->text != "claw-protocol/v1")
      problem(version->line, "schema.protocol", fmt::format("expected claw-protocol/v1, got '{}'", escape(version->text, 40)));
    if (const Node* node = get(root, "trigger")) trigger(*node, out);
    if (const Node* node = need(root, "preconditions")) out.preconditions = words<Precondition>(*node, "preconditions", kPreconditions);
    if (const Node* node = need(root, "limits")) limits(*node, out);
    if (const Node* node = get(root, "approvals")) approvals(*node, out);
    if (const Node* node = get(root, "retry")) retry(*node, out);
    if (const Node* node = need(root, "stages")) stages(*node, out);
    if (const Node* node = get(root, "rollback")) rollback(*node, out);
    return out;
  }

  void problem(int line, std::string rule, std::string text) {
    if (problems.size() < kMostProblems) problems.push_back({line, std::move(rule), std::move(text)});
  }
  std::vector<Problem> problems;

 private:
  static const Node* get(const Node& map, std::string_view key) {
    for (const auto& [name, value] : map.entries)
      if (name == key) return &value;
    return nullptr;
  }
  const Node* need(const Node& map, std::string_view key) {
    const Node* node = get(map, key);
    if (node == nullptr) problem(map.line, "schema.missing", fmt::format("'{}' is missing", key));
    return node;
  }

  bool keys(const Node& node, std::string_view where, std::initializer_list<std::string_view> known) {
    if (node.kind != Node::Kind::map) {
      problem(node.line, "schema.type", fmt::format("{}: expected a map", where));
      return false;
    }
    for (const auto& [name, value] : node.entries)
      if (std::find(known.begin(), known.end(), name) == known.end())
        problem(value.line, "schema.unknown-key", fmt::format("{}: unknown key '{}'; expected one of: {}", where, escape(name, 40), fmt::join(known, ", ")));
    return true;
  }

  std::int64_t number(const Node& map, std::string_view key, std::int64_t least, std::int64_t most, std::int64_t fallback) {
    const Node* node = get(map, key);
    if (node == nullptr) return fallback;
    const auto value = node->kind == Node::Kind::scalar ? plain_number(node->text) : std::nullopt;
    if (value && *value >= least && *value <= most) return *value;
    problem(node->line, "schema.number", fmt::format("{}: expected a whole number from {} to {}, got '{}'", key, least, most, escape(node->text, 40)));
    return fallback;
  }
  std::int64_t needed_number(const Node& map, std::string_view key, std::int64_t least, std::int64_t most) {
    return need(map, key) == nullptr ? least : number(map, key, least, most, least);
  }
  Seconds seconds(const Node& map, std::string_view key, std::int64_t least, std::int64_t most, Seconds fallback) {
    return Seconds(number(map, key, least, most, fallback.count()));
  }

  template <class T>
  T word(const Node& node, std::string_view where, Words<T> known) {
    const auto found = std::find_if(known.begin(), known.end(), [&](const auto& w) { return node.kind == Node::Kind::scalar && w.first == node.text; });
    if (found != known.end()) return found->second;
    std::string expected;
    for (const auto& [text, value] : known) expected += (expected.empty() ? "" : ", ") + std::string(text);
    problem(node.line, "schema.word", fmt::format("{}: expected one of: {}; got '{}'", where, expected, escape(node.text, 40)));
    return known.front().second;
  }
  template <class T>
  std::vector<T> words(const Node& node, std::string_view where, Words<T> known) {
    std::vector<T> out;
    if (node.kind != Node::Kind::list || node.items.empty() || node.items.size() > known.size()) {
      problem(node.line, "schema.list", fmt::format("{}: expected a list of 1 to {} words", where, known.size()));
      return out;
    }
    for (const Node& item : node.items) {
      const T value = word(item, where, known);
      if (std::find(out.begin(), out.end(), value) != out.end()) problem(item.line, "schema.list", fmt::format("{}: '{}' is there twice", where, escape(item.text, 40)));
      out.push_back(value);
    }
    return out;
  }

  void trigger(const Node& node, Protocol& out) {
    if (!keys(node, "trigger", {"any", "cooldown_s"})) return;
    out.cooldown = seconds(node, "cooldown_s", 60, 86'400, out.cooldown);
    const Node* any = need(node, "any");
    if (any == nullptr) return;
    if (any->kind != Node::Kind::list || any->items.empty() || any->items.size() > kMostConditions)
      return problem(any->line, "schema.list", fmt::format("trigger.any: expected a list of 1 to {} conditions", kMostConditions));
    for (const Node& item : any->items) {
      if (!keys(item, "condition", {"metric", "op", "value", "for_s"})) continue;
      Condition condition;
      if (const Node* metric = need(item, "metric")) condition.metric = word<Metric>(*metric, "metric", kMetrics);
      if (const Node* op = need(item, "op")) condition.op = word<Comparison>(*op, "op", kComparisons);
      condition.value = needed_number(item, "value", 0, 1'000'000'000);
      condition.held = seconds(item, "for_s", 0, 86'400, Seconds(0));
      out.trigger.push_back(condition);
    }
  }

  void limits(const Node& node, Protocol& out) {
    if (!keys(node, "limits", {"max_messages", "max_bps_of_queue", "max_bytes", "max_runtime_s"})) return;
    // The engine's own caps are the upper bounds: a skill cannot ask for more.
    const Limits engine;
    out.limits.max_messages = static_cast<std::uint64_t>(needed_number(node, "max_messages", 0, static_cast<std::int64_t>(engine.max_messages)));
    out.limits.max_queue_bps = number(node, "max_bps_of_queue", 1, engine.max_queue_bps, engine.max_queue_bps);
    out.limits.max_bytes = static_cast<std::uint64_t>(number(node, "max_bytes", 1, static_cast<std::int64_t>(engine.max_bytes), static_cast<std::int64_t>(engine.max_bytes)));
    out.max_runtime = seconds(node, "max_runtime_s", 1, 3'600, out.max_runtime);
  }

  void approvals(const Node& node, Protocol& out) {
    if (!keys(node, "approvals", {"required", "expires_s"})) return;
    out.approvals = needed_number(node, "required", 0, 5);
    out.approval_expires = seconds(node, "expires_s", 60, 900, out.approval_expires);
  }

  void retry(const Node& node, Protocol& out) {
    if (!keys(node, "retry", {"max_attempts", "base_ms", "cap_ms"})) return;
    out.max_attempts = number(node, "max_attempts", 1, 10, out.max_attempts);
    out.retry_base = Millis(number(node, "base_ms", 1, 60'000, out.retry_base.count()));
    out.retry_cap = Millis(number(node, "cap_ms", 1, 900'000, out.retry_cap.count()));
    if (out.retry_cap < out.retry_base) problem(node.line, "retry.cap", "cap_ms is smaller than base_ms");
  }

  void stages(const Node& node, Protocol& out) {
    if (node.kind != Node::Kind::list || node.items.empty() || node.items.size() > kMostStages)
      return problem(node.line, "schema.list", fmt::format("stages: expected a list of 1 to {} stages", kMostStages));
    std::set<std::string> ids;
    for (const Node& item : node.items) {
      Stage stage = this->stage(item);
      if (!ids.insert(stage.id).second) problem(item.line, "stages.id", fmt::format("the id '{}' is there twice", escape(stage.id, 40)));
      out.stages.push_back(std::move(stage));
    }
  }

  Stage stage(const Node& node) {
    Stage out;
    out.line = node.line;
    if (node.kind != Node::Kind::map) {
      problem(node.line, "schema.type", "stage: expected a map");
      return out;
    }
    if (const Node* id = need(node, "id")) {
      out.id = id->text;
      if (id->kind != Node::Kind::scalar || !plain_id(id->text)) problem(id->line, "stages.id", "expected an id of 1 to 64 of a-z, 0-9 and '-'");
    }
    const Node* verb = need(node, "do");
    if (verb == nullptr) return out;
    out.verb = word<Verb>(*verb, "do", kVerbs);
    arguments(node, out);
    return out;
  }

  void arguments(const Node& node, Stage& out) {
    switch (out.verb) {
      case Verb::observe:
        if (!keys(node, "observe", {"id", "do", "samples", "interval_s"})) return;
        out.samples = number(node, "samples", 1, 100, 1);
        out.interval = seconds(node, "interval_s", 0, 600, Seconds(0));
        return;
      case Verb::classify:
        if (!keys(node, "classify", {"id", "do", "confidence_bps"})) return;
        out.confidence_bps = needed_number(node, "confidence_bps", Limits{}.confidence_bps, kWhole);
        return;
      case Verb::approve:
        if (!keys(node, "approve", {"id", "do", "required"})) return;
        out.required = needed_number(node, "required", 1, 5);
        return;
      case Verb::remove:
        if (!keys(node, "remove", {"id", "do", "share_bps", "to"})) return;
        out.share_bps = needed_number(node, "share_bps", 1, kWhole);
        if (const Node* to = need(node, "to")) word<bool>(*to, "to", kTargets);
        return;
      case Verb::redrive:
        if (!keys(node, "redrive", {"id", "do", "share_bps", "rate_per_s", "from"})) return;
        out.share_bps = needed_number(node, "share_bps", 1, kWhole);
        out.rate_per_s = needed_number(node, "rate_per_s", 1, 500);
        if (const Node* from = need(node, "from")) out.source = word<Source>(*from, "from", kSources);
        return;
      case Verb::restart:
        if (!keys(node, "restart", {"id", "do", "entry"})) return;
        if (const Node* entry = need(node, "entry")) {
          out.entry = entry->text;
          if (entry->kind != Node::Kind::scalar || !plain_id(entry->text)) problem(entry->line, "restart.entry", "expected the name of an entry of the operator's allow-list, never a command");
        }
        return;
      case Verb::verify:
        if (!keys(node, "verify", {"id", "do", "soak_s", "guards"})) return;
        out.time = seconds(node, "soak_s", 0, 3'600, Seconds(0));
        if (const Node* guards = need(node, "guards")) out.guards = words<Guard>(*guards, "guards", kGuards);
        return;
      case Verb::wait:
        if (!keys(node, "wait", {"id", "do", "time_s"})) return;
        out.time = Seconds(needed_number(node, "time_s", 1, 3'600));
        return;
      case Verb::plan:
      case Verb::snapshot:
      case Verb::release: keys(node, name(out.verb), {"id", "do"}); return;
    }
    std::abort();
  }

  void rollback(const Node& node, Protocol& out) {
    if (!keys(node, "rollback", {"when", "order"})) return;
    if (const Node* when = need(node, "when")) out.undo_when = words<Undo>(*when, "when", kUndo);
    if (const Node* order = get(node, "order")) out.exact_order = word<bool>(*order, "order", kOrders);
  }
};

bool moves(const Stage& stage) { return stage.verb == Verb::remove || stage.verb == Verb::redrive; }

// What only the order of the stages can tell.
class Rules {
 public:
  Rules(const Protocol& protocol, Reader& out) : protocol_(protocol), out_(out) {}

  void check() {
    preconditions();
    before_the_first_remove();
    verify_after_each_move();
    shares(Verb::remove);
    shares(Verb::redrive);
    undo();
  }

 private:
  const Stage* first(Verb verb) const {
    const auto found = std::find_if(protocol_.stages.begin(), protocol_.stages.end(), [&](const Stage& s) { return s.verb == verb; });
    return found == protocol_.stages.end() ? nullptr : &*found;
  }

  void preconditions() {
    for (const Precondition needed : {Precondition::audit_writable, Precondition::brake_off})
      if (std::find(protocol_.preconditions.begin(), protocol_.preconditions.end(), needed) == protocol_.preconditions.end())
        out_.problem(1, "preconditions.mandatory", "audit.writable and brake.off are never optional");
  }

  void before_the_first_remove() {
    const Stage* remove = first(Verb::remove);
    if (remove == nullptr) return;
    const Stage* last = nullptr;
    for (const Verb verb : {Verb::observe, Verb::classify, Verb::plan, Verb::snapshot}) {
      const Stage* stage = first(verb);
      if (stage == nullptr || stage > remove)
        out_.problem(remove->line, fmt::format("stages.{}-before-remove", name(verb)), fmt::format("nothing is removed before a '{}' stage", name(verb)));
      else if (last != nullptr && stage < last)
        out_.problem(stage->line, "stages.order", fmt::format("'{}' comes before '{}'", name(verb), name(last->verb)));
      if (stage != nullptr) last = stage;
    }
    for (const Stage& stage : protocol_.stages)
      if ((stage.verb == Verb::classify || stage.verb == Verb::plan || stage.verb == Verb::snapshot) && &stage > remove)
        out_.problem(stage.line, "stages.order", fmt::format("'{}' after a remove: a plan is pinned before it is carried out", name(stage.verb)));
  }

  void verify_after_each_move() {
    for (std::size_t i = 0; i < protocol_.stages.size(); ++i) {
      const Stage& stage = protocol_.stages[i];
      if (!moves(stage)) continue;
      const Stage* next = i + 1 < protocol_.stages.size() ? &protocol_.stages[i + 1] : nullptr;
      if (next == nullptr || next->verb != Verb::verify)
        out_.problem(stage.line, "stages.verify-after-move", fmt::format("'{}' must be followed by a verify", escape(stage.id, 40)));
      else if (std::find(next->guards.begin(), next->guards.end(), Guard::conservation) == next->guards.end())
        out_.problem(next->line, "guards.conservation", fmt::format("'{}' must have the guard conservation", escape(next->id, 40)));
    }
  }

  void shares(Verb verb) {
    std::int64_t before = 0;
    const Stage* last = nullptr;
    for (const Stage& stage : protocol_.stages) {
      if (stage.verb != verb) continue;
      if (before == 0 && stage.share_bps > kFirstWaveBps)
        out_.problem(stage.line, "waves.first", fmt::format("the first wave is {} basis points, expected at most {}", stage.share_bps, kFirstWaveBps));
      if (before != 0 && (stage.share_bps <= before || stage.share_bps > before * kGrowth))
        out_.problem(stage.line, "waves.growth", fmt::format("{} basis points after {}: a wave grows, and at most {} times", stage.share_bps, before, kGrowth));
      before = stage.share_bps;
      last = &stage;
    }
    if (last != nullptr && last->share_bps != kWhole)
      out_.problem(last->line, "waves.last", fmt::format("the last wave ends at {} basis points, expected {}: what a plan names is carried out", last->share_bps, kWhole));
  }

  void undo() {
    if (!protocol_.removes()) return;
    for (const Undo needed : {Undo::guard_failed, Undo::limit_hit, Undo::operator_abort})
      if (std::find(protocol_.undo_when.begin(), protocol_.undo_when.end(), needed) == protocol_.undo_when.end())
        return out_.problem(first(Verb::remove)->line, "rollback.declared", "a skill that removes declares a rollback when guard_failed, limit_hit and operator_abort");
  }

  const Protocol& protocol_;
  Reader& out_;
};

// The plan's limits as the waves and the classifier of the skill tighten them.
void tighten(Protocol& protocol) {
  std::vector<std::int64_t> waves;
  for (const Stage& stage : protocol.stages) {
    if (stage.verb == Verb::classify) protocol.limits.confidence_bps = std::max(protocol.limits.confidence_bps, stage.confidence_bps);
    if (stage.verb == Verb::remove) waves.push_back(stage.share_bps);
  }
  if (!waves.empty()) protocol.limits.waves_bps = std::move(waves);
  else protocol.limits.max_messages = 0;  // nothing in it removes
}

}  // namespace

std::string_view name(Verb verb) {
  for (const auto& [text, value] : kVerbs)
    if (value == verb) return text;
  std::abort();
}

bool Protocol::removes() const {
  return std::any_of(stages.begin(), stages.end(), [](const Stage& s) { return s.verb == Verb::remove; });
}

Checked check_protocol(const yaml::Node& root) {
  Reader reader;
  Protocol protocol = reader.read(root);
  if (reader.problems.empty()) Rules(protocol, reader).check();
  std::stable_sort(reader.problems.begin(), reader.problems.end(), [](const Problem& a, const Problem& b) { return a.line < b.line; });
  if (!reader.problems.empty()) return {.protocol = {}, .problems = std::move(reader.problems)};
  tighten(protocol);
  return {.protocol = std::move(protocol), .problems = {}};
}

}  // namespace claw::skill
