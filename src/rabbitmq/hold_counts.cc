#include "rabbitmq/hold_counts.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace claw::rabbitmq {
namespace {

using nlohmann::json;

}  // namespace

Result<HoldCounts> HoldCounts::open(Disk& disk, std::string path) {
  HoldCounts out;
  out.disk_ = &disk;
  out.path_ = std::move(path);
  const Result<std::string> text = disk.read_all(out.path_, 16u << 20);
  if (!text && text.error().code == Code::not_found) return out;
  if (!text) return text.error();
  CLAW_TRY_ASSIGN(const json value, parse_json(*text, out.path_));
  try {
    for (const json& one : value.at("holds")) out.counts_[one.at("queue").get<std::string>()] = one.at("count").get<std::uint32_t>();
  } catch (const json::exception&) {
    return make_error(Code::corrupt, out.path_, "expected {\"holds\": [{\"queue\", \"count\"}]}; without it nobody knows how often we looked");
  }
  return out;
}

std::uint32_t HoldCounts::of(const std::string& queue) const {
  const auto known = counts_.find(queue);
  return known == counts_.end() ? 0 : known->second;
}

Status HoldCounts::add(const std::string& queue) {
  ++counts_[queue];
  return save();
}

Status HoldCounts::restart(const std::string& queue) {
  if (of(queue) <= 1) return {};
  counts_[queue] = 1;
  return save();
}

Status HoldCounts::save() {
  if (disk_ == nullptr) return {};
  json list = json::array();
  for (const auto& [queue, count] : counts_) list.push_back({{"queue", queue}, {"count", count}});
  CLAW_TRY(disk_->make_dirs(std::filesystem::path(path_).parent_path().string()));
  return disk_->write_atomically(path_, json{{"holds", std::move(list)}}.dump(1, ' ', false, json::error_handler_t::replace), Mode::owner_only);
}

}  // namespace claw::rabbitmq
