#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "broker/claims.h"
#include "sqs/look_policy.h"
#include "sqs/operations.h"
#include "sqs/queue.h"

#include <nlohmann/json.hpp>

namespace claw::sqs {
namespace {

using nlohmann::json;

constexpr std::string_view kTenantTag = "deployclaw-tenant";

// What every name starts with that the glob or tenant pattern can match; no name has a brace.
std::string literal_start(const std::string& glob) { return glob.substr(0, glob.find_first_of("*?[{")); }

std::string common_start(std::span<const Claim> claims) {
  std::string start = claims.empty() ? "" : literal_start(claims.front().match.match);
  for (const Claim& claim : claims) {
    const std::string other = literal_start(claim.match.match);
    start.resize(static_cast<std::size_t>(std::mismatch(start.begin(), start.end(), other.begin(), other.end()).first - start.begin()));
  }
  return start;
}

// Who may not list may still name: plain names are looked up one by one.
Result<std::vector<Queue>> named_queues(Client& client, std::span<const Claim> claims, const Error& why, Deadline deadline) {
  std::vector<Queue> out;
  for (const Claim& claim : claims) {
    if (!names_one_queue(claim)) return make_error(why.code, why.op, why.detail + "; globs need sqs:ListQueues, plain names do not");
    Result<Queue> one = find_queue(client, claim.match.match, deadline);
    if (!one && one.error().code == Code::not_found) continue;
    if (!one) return one.error();
    if (std::none_of(out.begin(), out.end(), [&](const Queue& known) { return known.name == one->name; })) out.push_back(std::move(*one));
  }
  return out;
}

// A tag may name the tenant: one that contradicts the config is a mistake that would mix tenants. Tags that may not be
// read are not known and say nothing.
Status check_tags(Client& client, const std::vector<Queue>& queues, const std::vector<std::string>& owners, Deadline deadline) {
  std::vector<Client::Call> calls;
  for (const Queue& queue : queues) calls.push_back({.action = "ListQueueTags", .body = json{{"QueueUrl", queue.url}}.dump()});
  const auto answers = client.call_all(std::move(calls), deadline);
  for (std::size_t i = 0; i < queues.size(); ++i) {
    if (!answers[i]) continue;
    const Result<json> value = parse_answer("ListQueueTags", *answers[i]);
    if (!value || !value->contains("Tags") || !(*value)["Tags"].is_object()) continue;
    const auto tag = (*value)["Tags"].find(kTenantTag);
    if (tag != (*value)["Tags"].end() && tag->is_string() && tag->get<std::string>() != owners[i])
      return make_error(Code::conflict, "discover " + escape(queues[i].name, 90),
                        fmt::format("its tag {} says '{}', the config says '{}'", kTenantTag, escape(tag->get<std::string>(), 60), owners[i]));
  }
  return {};
}

void add_caveat(QueueView& view, const std::string& words) { view.look.caveat += (view.look.caveat.empty() ? "" : "; ") + words; }

QueueView view_of(State& state, const Queue& queue, const TenantId& tenant) {
  QueueView view;
  view.id = {state.options.name, queue.name};
  view.tenant = tenant;
  view.type = queue.fifo ? QueueType::fifo : QueueType::standard;
  view.backlog = queue.visible;
  view.entries = queue.visible + queue.held;  // a look waits for what consumers hold
  view.held = queue.held;
  view.dead_letter = queue.dead_letter;
  if (state.ages && queue.visible > 0) view.oldest_age = state.ages->of(queue.name);
  view.node = state.client.endpoint().host;
  const std::uint32_t own = state.looks.since(queue.name, state.client.clock().now() - queue.retention);
  const LookRuling ruling = rule({.queue = queue, .own_looks = own, .wanted = state.options.look});
  view.look = {.kind = LookKind::take, .sees_all = !queue.fifo && state.options.look != LookMode::sample, .keeps_order = queue.fifo,
               .looks_left = looks_left(queue, own), .caveat = ruling.caveat, .refusal = ruling.refusal, .no_removal = {}};
  if (queue.fifo) add_caveat(view, "only the head of each message group can be seen");
  if (state.ages && !state.ages->problem().empty()) add_caveat(view, "age unknown, CloudWatch: " + state.ages->problem());
  return view;
}

void refresh_ages(State& state, const std::vector<Queue>& queues, Deadline deadline) {
  if (!state.ages) return;
  std::vector<std::string> names;
  for (const Queue& queue : queues)
    if (!queue.url.empty() && queue.visible > 0) names.push_back(queue.name);
  state.ages->refresh(names, deadline);
}

// Nothing in it, nothing held: what we looked at before is gone.
Status turned_over(State& state, const Queue& queue) {
  if (queue.visible + queue.held + queue.delayed > 0) return {};
  return state.looks.forget(queue.name, state.client.clock().now());
}

}  // namespace

Result<std::vector<QueueView>> discover_queues(State& state, std::span<const Claim> claims, Deadline deadline) {
  Result<std::vector<Queue>> all = list_queues(state.client, common_start(claims), deadline);
  if (!all && all.error().code == Code::denied) all = named_queues(state.client, claims, all.error(), deadline);
  if (!all) return all.error();
  const Claims index(state.options.name, claims);
  std::vector<Queue> queues;
  std::vector<std::string> owners;
  for (Queue& queue : *all) {
    if (is_quarantine(queue.name)) continue;
    CLAW_TRY_ASSIGN(std::optional<Owner> owner, index.owner_of(queue.name));
    if (!owner) continue;
    queues.push_back(std::move(queue));
    owners.push_back(std::move(owner->tenant));
  }
  CLAW_TRY(describe(state.client, queues, deadline));
  CLAW_TRY(check_tags(state.client, queues, owners, deadline));
  refresh_ages(state, queues, deadline);
  std::vector<QueueView> views;
  for (std::size_t i = 0; i < queues.size(); ++i) {
    if (queues[i].url.empty()) continue;  // deleted meanwhile
    CLAW_TRY(turned_over(state, queues[i]));
    views.push_back(view_of(state, queues[i], owners[i]));
  }
  for (QueueView& view : views)  // the other end of a dead-letter link, among the queues that are ours
    for (const Queue& source : queues)
      if (source.dead_letter == view.id.name) add_caveat(view, "dead-letter queue of " + source.name);
  std::sort(views.begin(), views.end(), [](const QueueView& a, const QueueView& b) { return a.id < b.id; });
  return views;
}

Result<std::vector<QueueView>> measure_queues(State& state, std::span<const QueueView> known, Deadline deadline) {
  std::vector<Queue> queues;
  for (const QueueView& view : known) {
    Result<Queue> queue = find_queue(state.client, view.id.name, deadline);
    if (!queue && queue.error().code != Code::not_found) return queue.error();
    queues.push_back(queue ? std::move(*queue) : Queue{.name = view.id.name});
  }
  std::vector<Queue> there = queues;
  std::erase_if(there, [](const Queue& queue) { return queue.url.empty(); });
  CLAW_TRY(describe(state.client, there, deadline));
  refresh_ages(state, there, deadline);
  std::vector<QueueView> views;
  for (const QueueView& view : known) {
    const auto found = std::find_if(there.begin(), there.end(), [&](const Queue& queue) { return queue.name == view.id.name && !queue.url.empty(); });
    views.push_back(found == there.end() ? QueueView{.id = view.id, .tenant = view.tenant, .type = view.type} : view_of(state, *found, view.tenant));
  }
  return views;
}

}  // namespace claw::sqs
