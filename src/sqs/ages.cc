#include "sqs/ages.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/text.h"

namespace claw::sqs {
namespace {

using nlohmann::json;

constexpr Millis kGrain = std::chrono::minutes(1);
constexpr Millis kLookBack = std::chrono::minutes(10);
constexpr std::size_t kMostQueries = 500;  // of one GetMetricData
constexpr double kLongestAge = 15 * 24 * 3600;  // SQS keeps a message for 14 days

std::int64_t seconds_of(WallTime at) { return std::chrono::duration_cast<std::chrono::seconds>(at.time_since_epoch()).count(); }

json query(std::size_t number, const std::string& queue) {
  const json metric = {{"Namespace", "AWS/SQS"}, {"MetricName", "ApproximateAgeOfOldestMessage"}, {"Dimensions", {{{"Name", "QueueName"}, {"Value", queue}}}}};
  return {{"Id", "q" + std::to_string(number)}, {"ReturnData", true}, {"MetricStat", {{"Metric", metric}, {"Period", 60}, {"Stat", "Maximum"}}}};
}

// {"Id": "q7", "Values": [newest, …]}
struct Figure {
  std::size_t number;
  std::optional<Millis> age;
};
std::optional<Figure> read_figure(const json& result) {
  if (!result.is_object() || !result.contains("Id") || !result["Id"].is_string()) return std::nullopt;
  const std::string& id = result["Id"].get_ref<const std::string&>();
  Figure out{.number = 0, .age = {}};
  const auto end = std::from_chars(id.data() + std::min<std::size_t>(1, id.size()), id.data() + id.size(), out.number);
  if (end.ec != std::errc() || end.ptr != id.data() + id.size()) return std::nullopt;
  const auto values = result.find("Values");
  if (values == result.end() || !values->is_array() || values->empty() || !values->front().is_number()) return out;
  const double seconds = values->front().get<double>();
  if (std::isfinite(seconds) && seconds >= 0 && seconds <= kLongestAge) out.age = Millis(static_cast<std::int64_t>(seconds * 1000));
  return out;
}

}  // namespace

Status Ages::ask(std::span<const std::string> queues, Deadline deadline) {
  const WallTime now = client_.clock().now();
  json request = {{"StartTime", seconds_of(now - kLookBack)}, {"EndTime", seconds_of(now)}, {"ScanBy", "TimestampDescending"}, {"MetricDataQueries", json::array()}};
  for (std::size_t i = 0; i < queues.size(); ++i) request["MetricDataQueries"].push_back(query(i, queues[i]));
  for (;;) {
    CLAW_TRY_ASSIGN(const json page, client_.call("GetMetricData", request, deadline));
    const auto results = page.find("MetricDataResults");
    if (results == page.end() || !results->is_array()) return make_error(Code::corrupt, "GetMetricData", "the answer has no MetricDataResults");
    for (const json& result : *results) {
      const std::optional<Figure> figure = read_figure(result);
      if (!figure || figure->number >= queues.size() || !figure->age) continue;
      std::optional<Millis>& age = known_[queues[figure->number]].age;
      if (!age) age = figure->age;  // the newest comes first
    }
    const auto next = page.find("NextToken");
    if (next == page.end() || !next->is_string()) return {};
    if (deadline.expired(client_.clock())) return make_error(Code::timed_out, "GetMetricData", "it goes on giving pages");
    request["NextToken"] = *next;
  }
}

Status Ages::check(Deadline deadline) {
  const std::string none = "deployclaw-check";
  return ask(std::span(&none, 1), deadline);
}

void Ages::refresh(std::span<const std::string> queues, Deadline deadline) {
  const MonoTime now = client_.clock().mono();
  std::vector<std::string> stale;
  for (const std::string& queue : queues) {
    const auto found = known_.find(queue);
    if (found != known_.end() && elapsed(found->second.asked, now) < kGrain) continue;
    known_[queue] = {.asked = now, .age = {}};
    stale.push_back(queue);
  }
  for (std::size_t first = 0; first < stale.size(); first += kMostQueries) {
    const Status asked = ask(std::span(stale).subspan(first, std::min(kMostQueries, stale.size() - first)), deadline);
    problem_ = asked ? "" : asked.error().detail;
    if (!asked) return;
  }
}

std::optional<Millis> Ages::of(const std::string& queue) const {
  const auto found = known_.find(queue);
  return found == known_.end() ? std::nullopt : found->second.age;
}

}  // namespace claw::sqs
