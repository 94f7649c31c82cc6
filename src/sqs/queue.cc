#include "sqs/queue.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/text.h"
#include "sqs/message.h"

namespace claw::sqs {
namespace {

using nlohmann::json;

constexpr std::string_view kQuarantine = "-deployclaw-quarantine";
constexpr std::string_view kFifo = ".fifo";
constexpr std::size_t kLongestName = 80;
constexpr std::uint32_t kFourteenDays = 14 * 24 * 3600;
constexpr std::size_t kCallsAtATime = 64;
constexpr int kMostTries = 3;

std::string name_of_url(std::string_view url) { return std::string(url.substr(url.rfind('/') + 1)); }
std::string name_of_arn(std::string_view arn) { return std::string(arn.substr(arn.rfind(':') + 1)); }

std::string attribute(const json& attributes, const char* key) {
  const auto found = attributes.find(key);
  return found != attributes.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::uint64_t number(const json& attributes, const char* key, std::uint64_t otherwise) {
  const std::string text = attribute(attributes, key);
  std::uint64_t value = otherwise;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// maxReceiveCount comes as a number or as text.
Status read_redrive(const std::string& text, Queue& queue) {
  if (text.empty()) return {};
  const json policy = json::parse(text, nullptr, false);
  if (!policy.is_object()) return make_error(Code::corrupt, queue.name, "RedrivePolicy is not a JSON object: " + escape(text, 80));
  queue.dead_letter = name_of_arn(attribute(policy, "deadLetterTargetArn"));
  const auto limit = policy.find("maxReceiveCount");
  if (limit != policy.end() && limit->is_number_unsigned()) queue.most_receives = limit->get<std::uint32_t>();
  else queue.most_receives = static_cast<std::uint32_t>(number(policy, "maxReceiveCount", 1));  // there is a limit; unreadable: the strictest
  return {};
}

Status read_attributes(const json& a, Queue& queue) {
  queue.fifo = attribute(a, "FifoQueue") == "true" || queue.name.ends_with(kFifo);
  queue.visible = number(a, "ApproximateNumberOfMessages", 0);
  queue.held = number(a, "ApproximateNumberOfMessagesNotVisible", 0);
  queue.delayed = number(a, "ApproximateNumberOfMessagesDelayed", 0);
  queue.visibility = std::chrono::seconds(number(a, "VisibilityTimeout", 30));
  queue.retention = std::chrono::seconds(number(a, "MessageRetentionPeriod", 4 * 24 * 3600));
  queue.largest_message = number(a, "MaximumMessageSize", 262'144);
  queue.kms_key = attribute(a, "KmsMasterKeyId");
  queue.sse = attribute(a, "SqsManagedSseEnabled") == "true";
  return read_redrive(attribute(a, "RedrivePolicy"), queue);
}

// One round of batches over the entries of `which`.
void call_once(Client& client, const std::string& action, const std::string& url, const std::vector<std::string>& entries, const std::vector<std::size_t>& which,
               Repeat repeat, Deadline deadline, std::vector<Result<std::string>>& out) {
  std::vector<Client::Call> calls;
  std::vector<std::vector<std::size_t>> members;
  for (std::size_t k = 0; k < which.size();) {
    std::string body = json{{"QueueUrl", url}}.dump();
    body.back() = ',';
    body += "\"Entries\":[";
    std::size_t bytes = 0;
    std::vector<std::size_t> in;
    for (; k < which.size() && in.size() < kBatchEntries && (in.empty() || bytes + entries[which[k]].size() <= kBatchBytes); ++k) {
      const std::string& entry = entries[which[k]];
      body += fmt::format("{}{{\"Id\":\"{}\"{}{}", in.empty() ? "" : ",", in.size(), entry.size() > 2 ? "," : "", std::string_view(entry).substr(1));
      bytes += entry.size();
      in.push_back(which[k]);
    }
    body += "]}";
    calls.push_back({.action = action, .body = std::move(body), .repeat = repeat});
    members.push_back(std::move(in));
  }
  const auto answers = client.call_all(std::move(calls), deadline);
  for (std::size_t c = 0; c < answers.size(); ++c) {
    const auto fail = [&](const Error& error) { for (const std::size_t i : members[c]) out[i] = error; };
    if (!answers[c]) { fail(answers[c].error()); continue; }
    const Result<json> value = parse_answer(action, *answers[c]);
    if (!value) { fail(value.error()); continue; }
    fail(make_error(Code::outcome_unknown, action, "the answer does not mention the entry"));
    const auto each = [&](const char* list, auto&& use) {
      const auto found = value->find(list);
      if (found == value->end() || !found->is_array()) return;
      for (const json& element : *found) {
        if (!element.is_object()) continue;
        const std::uint64_t place = number(element, "Id", kBatchEntries);
        if (place < members[c].size()) use(members[c][place], element);
      }
    };
    each("Successful", [&](std::size_t i, const json& element) { out[i] = element.dump(-1, ' ', false, json::error_handler_t::replace); });
    each("Failed", [&](std::size_t i, const json& element) {
      const std::string type = attribute(element, "Code");
      const Code code = type == "InternalError" || type == "InternalFailure" ? Code::unavailable : code_of(type, 400);
      out[i] = make_error(code, action, type + ": " + escape(attribute(element, "Message"), 200));
    });
  }
}

}  // namespace

Result<std::vector<Queue>> list_queues(Client& client, const std::string& prefix, Deadline deadline) {
  std::vector<Queue> out;
  json request = {{"MaxResults", 1000}};
  if (!prefix.empty()) request["QueueNamePrefix"] = prefix;
  for (;;) {
    CLAW_TRY_ASSIGN(const json page, client.call("ListQueues", request, deadline));
    if (const auto urls = page.find("QueueUrls"); urls != page.end() && urls->is_array())
      for (const json& url : *urls)
        if (url.is_string()) out.push_back({.name = name_of_url(url.get_ref<const std::string&>()), .url = url.get<std::string>()});
    if (out.size() > kMostQueues) return make_error(Code::full, "ListQueues", fmt::format("more than {} queues start with '{}'; claim them by longer names", kMostQueues, escape(prefix, 80)));
    const std::string next = attribute(page, "NextToken");
    if (next.empty()) return out;
    request["NextToken"] = next;
  }
}

Result<Queue> find_queue(Client& client, const std::string& name, Deadline deadline) {
  CLAW_TRY_ASSIGN(const json answer, client.call("GetQueueUrl", {{"QueueName", name}}, deadline));
  return Queue{.name = name, .url = attribute(answer, "QueueUrl")};
}

Status describe(Client& client, std::vector<Queue>& queues, Deadline deadline) {
  for (std::size_t first = 0; first < queues.size(); first += kCallsAtATime) {
    const std::size_t count = std::min(kCallsAtATime, queues.size() - first);
    std::vector<Client::Call> calls;
    for (std::size_t i = 0; i < count; ++i)
      calls.push_back({.action = "GetQueueAttributes", .body = json{{"QueueUrl", queues[first + i].url}, {"AttributeNames", {"All"}}}.dump()});
    const auto answers = client.call_all(std::move(calls), deadline);
    for (std::size_t i = 0; i < count; ++i) {
      Queue& queue = queues[first + i];
      if (!answers[i] && answers[i].error().code == Code::not_found) {
        queue.url.clear();
        continue;
      }
      if (!answers[i]) return make_error(answers[i].error().code, answers[i].error().op + ", queue " + escape(queue.name, 90), answers[i].error().detail);
      CLAW_TRY_ASSIGN(const json value, parse_answer("GetQueueAttributes", *answers[i]));
      CLAW_TRY(read_attributes(value.value("Attributes", json::object()), queue));
    }
  }
  return {};
}

Result<Queue> described(Client& client, const std::string& name, Deadline deadline) {
  std::vector<Queue> one(1);
  CLAW_TRY_ASSIGN(one[0], find_queue(client, name, deadline));
  CLAW_TRY(describe(client, one, deadline));
  if (one[0].url.empty()) return make_error(Code::not_found, "queue " + escape(name, 90), "was deleted meanwhile");
  return one[0];
}

std::string quarantine_of(const std::string& name) {
  const bool fifo = name.ends_with(kFifo);
  std::string base = fifo ? name.substr(0, name.size() - kFifo.size()) : name;
  const std::size_t room = kLongestName - kQuarantine.size() - (fifo ? kFifo.size() : 0);
  if (base.size() > room) base = base.substr(0, room - 9) + "-" + hex(sha256(name)).substr(0, 8);
  return base + std::string(kQuarantine) + (fifo ? std::string(kFifo) : "");
}

bool is_quarantine(const std::string& name) { return name.ends_with(kQuarantine) || name.ends_with(std::string(kQuarantine) + std::string(kFifo)); }

Result<Queue> open_quarantine(Client& client, const Queue& source, const std::string& name, Deadline deadline) {
  Result<Queue> there = described(client, name, deadline);
  if (!there && there.error().code == Code::not_found) {
    json attributes = {{"MessageRetentionPeriod", std::to_string(kFourteenDays)}, {"MaximumMessageSize", std::to_string(source.largest_message > 262'144 ? 1'048'576 : 262'144)}};
    if (source.fifo) attributes["FifoQueue"] = "true";
    if (!source.kms_key.empty()) attributes["KmsMasterKeyId"] = source.kms_key;
    else if (source.sse) attributes["SqsManagedSseEnabled"] = "true";
    CLAW_TRY(client.call("CreateQueue", {{"QueueName", name}, {"Attributes", attributes}, {"tags", {{"deployclaw", "quarantine"}}}}, deadline));
    there = described(client, name, deadline);
  }
  if (there && there->most_receives)
    return make_error(Code::refused, "quarantine " + name, fmt::format("has a RedrivePolicy (maxReceiveCount {}): reading it would dead-letter what it keeps; remove the policy", *there->most_receives));
  if (there && there->fifo != source.fifo) return make_error(Code::refused, "quarantine " + name, "is of another type than its source");
  return there;
}

std::vector<Result<std::string>> call_batches(Client& client, const std::string& action, const std::string& url, std::vector<std::string> entries, Repeat repeat,
                                              Deadline deadline) {
  std::vector<Result<std::string>> out(entries.size(), make_error(Code::unavailable, action, "not tried"));
  std::vector<std::size_t> which(entries.size());
  for (std::size_t i = 0; i < which.size(); ++i) which[i] = i;
  for (int tries = 0; !which.empty() && tries < kMostTries && (tries == 0 || !deadline.expired(client.clock())); ++tries) {
    call_once(client, action, url, entries, which, repeat, deadline, out);
    // What failed as a whole was tried enough by the client; what was refused for no fault of ours goes again.
    std::erase_if(which, [&](std::size_t i) { return out[i].ok() || (out[i].error().code != Code::unavailable && out[i].error().code != Code::throttled); });
  }
  return out;
}

}  // namespace claw::sqs
