#include "sqs/looks.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace claw::sqs {
namespace {

using nlohmann::json;

constexpr Millis kLongestLook = std::chrono::hours(12);
constexpr Millis kClocksDiffer = std::chrono::seconds(5);  // theirs and ours
constexpr Millis kCountsSettle = std::chrono::minutes(2);  // SQS's counts are late by about a minute

}  // namespace

Result<Looks> Looks::open(Disk& disk, std::string path) {
  Looks looks(disk, std::move(path));
  if (looks.path_.empty()) return looks;
  const Result<std::string> text = disk.read_all(looks.path_, 4u << 20);
  if (!text && text.error().code == Code::not_found) return looks;
  if (!text) return text.error();
  CLAW_TRY_ASSIGN(const json value, parse_json(*text, looks.path_));
  try {
    for (const json& look : value.at("looks"))
      looks.looks_.push_back({look.at("queue").get<std::string>(), WallTime(Millis(look.at("from_ms").get<std::int64_t>())), WallTime(Millis(look.at("to_ms").get<std::int64_t>()))});
  } catch (const json::exception&) {
    return make_error(Code::corrupt, looks.path_, "expected {\"looks\": [{\"queue\", \"from_ms\", \"to_ms\"}]}; without it nobody knows how often we looked");
  }
  return looks;
}

Result<std::uint64_t> Looks::begin(const std::string& queue, WallTime now) {
  if (looks_.size() >= kMostLooks) looks_.erase(looks_.begin());
  looks_.push_back({queue, now, now + kLongestLook, ++last_});
  CLAW_TRY(save());
  return last_;
}

Status Looks::end(std::uint64_t look, WallTime now) {
  for (Look& one : looks_)
    if (one.number == look) one.to = now;
  return save();
}

std::uint32_t Looks::since(const std::string& queue, WallTime sent, std::uint64_t except) const {
  const auto may_have_taken = [&](const Look& look) { return (except == 0 || look.number != except) && look.queue == queue && look.to + kClocksDiffer >= sent; };
  return static_cast<std::uint32_t>(std::count_if(looks_.begin(), looks_.end(), may_have_taken));
}

Status Looks::forget(const std::string& queue, WallTime now) {
  const auto passed = [&](const Look& look) { return look.queue == queue && look.to + kCountsSettle < now; };
  if (std::none_of(looks_.begin(), looks_.end(), passed)) return {};
  std::erase_if(looks_, passed);
  return save();
}

Status Looks::save() {
  if (path_.empty()) return {};
  json list = json::array();
  for (const Look& look : looks_) list.push_back({{"queue", look.queue}, {"from_ms", look.from.time_since_epoch().count()}, {"to_ms", look.to.time_since_epoch().count()}});
  CLAW_TRY(disk_->make_dirs(std::filesystem::path(path_).parent_path().string()));
  return disk_->write_atomically(path_, json{{"looks", std::move(list)}}.dump(1), Mode::owner_only);
}

}  // namespace claw::sqs
