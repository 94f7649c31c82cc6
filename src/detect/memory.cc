#include "detect/memory.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "base/digest.h"
#include "content/byte_reader.h"
#include "detect/detect.h"

namespace claw::detect {
namespace {

using nlohmann::json;

// Thousands of numbers, little-endian, one after another: as JSON values each would cost an allocation.
class Packer {
 public:
  void number(std::uint64_t value, std::size_t size) {
    std::array<std::uint8_t, sizeof value> bytes;
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(value >> 8 * i);
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
  }
  json take() { return json::binary(std::move(bytes_)); }

 private:
  std::vector<std::uint8_t> bytes_;
};

content::ByteReader packed(const json& value) {
  const std::vector<std::uint8_t>& bytes = value.get_binary();
  return content::ByteReader({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

constexpr unsigned kName = 8, kRow = 4, kGone = 1;  // bytes

// The first byte of a memory.
constexpr char kCompares = 'c', kComparesNoMore = 'n';

}  // namespace

struct Memory::Look {
  std::uint64_t mask = 0;
  std::unordered_set<std::uint64_t> here;  // sampled, whatever became of them
  std::unordered_set<Name> known;
  std::vector<std::vector<Name>> rows;
  struct Hash {
    std::size_t operator()(const std::vector<Name>& names) const {
      std::uint64_t hash = 0;
      for (const Name name : names) hash = stable_hash(hash, name);
      return hash;
    }
  };
  std::unordered_map<std::vector<Name>, std::uint32_t, Hash> numbers;  // of rows
  std::unordered_map<std::string, std::uint32_t> by_content;           // the same, by what was kept of a message
  std::vector<Was> messages;  // sampled, those that did not fail so far
  std::set<Name> failing;

  std::uint32_t row_of(const std::vector<Name>& names) {
    const auto [at, fresh] = numbers.try_emplace(names, static_cast<std::uint32_t>(rows.size()));
    if (fresh) rows.push_back(names);
    return at->second;
  }
};

Memory::Name Memory::name_of(std::string_view kind, std::string_view path, std::string_view detail, std::uint64_t number) const {
  return stable_hash(stable_hash(stable_hash(salt_ ^ number, kind), path), detail);
}

Memory::Name Memory::name_of(const Atom& atom, const std::string& sub) const {
  return name_of(std::string(1, static_cast<char>('a' + static_cast<int>(atom.kind))) + sub, atom.path, atom.detail, atom.number);
}

Memory::Name Memory::condition_of(const Atom& atom, const Population& population, const Population::Queue& of) const {
  switch (atom.kind) {
    case Atom::Kind::odd:
    case Atom::Kind::absent:
    case Atom::Kind::code: {
      const auto usual = of.usual.find(atom.path);
      return name_of("usual", atom.path, usual == of.usual.end() ? "" : usual->second);
    }
    case Atom::Kind::novel:
    case Atom::Kind::value: return name_of("column", atom.path, "");
    case Atom::Kind::contract: return name_of("contract", "", population.contract);
    default: return name_of_form(of);
  }
}

void Memory::age(WallTime now) {
  const auto age = static_cast<double>(std::max(Millis(0), std::chrono::duration_cast<Millis>(now - aged_)).count());
  const double left = std::exp2(-age / static_cast<double>(kHalfLife.count()));
  total_ *= left;
  for (auto& [name, passes] : passed_) passes *= left;
  for (auto& [name, before] : known_) before *= left;
  std::erase_if(passed_, [](const auto& one) { return one.second < 0.01; });
  aged_ = now;
}

double Memory::counted_for(Name known) const {
  const auto found = known_.find(known);
  return found == known_.end() ? 0 : std::max(0.0, total_ - found->second);
}

void Memory::tell(Population& population, std::uint32_t queue) const {
  population.remembered.resize(population.atoms.size());
  const Population::Queue& of = population.queues[queue];
  const double all = counted_for(name_of_form(of));
  for (std::size_t a = 0; a < population.atoms.size(); ++a) {
    const Atom& atom = population.atoms[a];
    Remembered& told = population.remembered[a];
    told.by_sub.resize(population.subs[a].size());
    const double counted = std::min(all, counted_for(condition_of(atom, population, of)));
    bool failed = atom.kind == Atom::Kind::queue;
    for (std::size_t s = 0; s < population.subs[a].size(); ++s) {
      if (atom.kind == Atom::Kind::queue) {
        told.by_sub[s] += atom.number == queue ? static_cast<std::uint64_t>(counted) : 0;
        continue;
      }
      // That those with it passed is told in any case.
      const Name name = name_of(atom, population.subs[a][s]);
      if (const auto found = passed_.find(name); found != passed_.end()) told.by_sub[s] += static_cast<std::uint64_t>(std::ceil(found->second - 0.05));
      failed = failed || failed_before_.contains(name);
    }
    if (failed && counted >= static_cast<double>(kLeastPasses) && fresh_ >= kLeastFresh) told.all += std::min(fresh_, static_cast<std::uint64_t>(counted));
  }
}

Memory::Look Memory::see(Population& population, std::uint32_t queue) const {
  Look look;
  Population::Queue& of = population.queues[queue];
  look.mask = of.sampled;
  look.known.insert(name_of_form(of));
  look.known.insert(name_of("contract", "", population.contract));
  for (const auto& [path, words] : of.usual) look.known.insert(name_of("usual", path, words));
  std::vector<std::vector<Name>> named(population.atoms.size());
  for (std::size_t a = 0; a < named.size(); ++a)
    for (const std::string& sub : population.subs[a]) named[a].push_back(name_of(population.atoms[a], sub));
  const auto names_of = [&](const Seen& seen, const content::Values& values) {
    std::vector<Name> names;
    const auto add = [&](const std::vector<Has>& has) {
      for (const Has& h : has)
        if (population.atoms[h.atom].kind != Atom::Kind::queue) names.push_back(named[h.atom][h.sub]);
    };
    add(population.rows[seen.row]);
    for (std::size_t c = 0; c < of.columns; ++c) add(of.values[c][values[c]]);
    return names;
  };
  // Messages of which the same was kept have the same names.
  std::string content;
  const auto content_of = [&](const Seen& seen, const content::Values& values) -> const std::string& {
    return content.assign(reinterpret_cast<const char*>(&seen.row), sizeof seen.row).append(reinterpret_cast<const char*>(values.data()), of.columns);
  };
  std::unordered_set<std::string> failing;
  const auto keep = [&](std::uint64_t identity, const Seen& seen, const content::Values& values) {
    if (!look.here.insert(identity).second || seen.level >= kFailedLevel) return;
    const auto [at, fresh] = look.by_content.try_emplace(content_of(seen, values));
    if (fresh) {
      std::vector<Name> names = names_of(seen, values);
      std::sort(names.begin(), names.end());
      at->second = look.row_of(names);
    }
    look.messages.push_back({identity, at->second});
  };
  for (std::size_t c = 0; c < of.columns; ++c)
    for (const std::vector<Has>& has : of.values[c])
      for (const Has& h : has) look.known.insert(name_of("column", population.atoms[h.atom].path, ""));
  for (const Chunk* const chunk : of.chunks) {
    const Kept page = population.kept(*chunk);
    auto body = std::lower_bound(of.bodies.begin(), of.bodies.end(), SampledBody{.page = chunk->number, .index = 0, .identity = 0});
    for (std::size_t i = 0; i < page.size(); ++i) {
      const Seen seen = page.seen(i);
      const bool sampled = body != of.bodies.end() && body->page == chunk->number && body->index == i;
      const std::uint64_t identity = seen.by_digest ? (sampled ? body->identity : 0) : identity_of(seen.key);
      if (sampled) ++body;
      if (seen.level >= kFailedLevel && look.failing.size() < kMostNames && failing.insert(content_of(seen, page.values(i))).second)
        for (const Name name : names_of(seen, page.values(i))) look.failing.insert(name);
      if (seen.evidence_only || (seen.by_digest && !sampled) || (identity & look.mask) != 0) continue;
      keep(identity, seen, page.values(i));
    }
  }
  return look;
}

void Memory::count(const std::vector<Was>& passed) {
  bool full = false;
  for (const Was& was : passed)
    for (const Name name : rows_[was.row]) {
      full = full || (passed_.size() >= kMostNames && !passed_.contains(name));
      if (!full) passed_[name] += 1;
    }
  total_ += static_cast<double>(passed.size());
  if (full) passed_.clear(), known_.clear(), total_ = 0;  // so many different things pass that it cannot be told which do
}

void Memory::learn(Population& population, std::uint32_t queue, const QueueView& view, bool compares, WallTime now) {
  if (now < compared_ || now - compared_ > kStillFresh) fresh_ = 0, failed_before_.clear();
  if (looked_ != WallTime{} && now >= looked_ && now - looked_ < kSoon) return;
  Look look = see(population, queue);
  std::uint64_t acknowledged = UINT64_MAX, held = view.held;
  for (const GroupView& group : view.groups) acknowledged = std::min(acknowledged, group.acknowledged), held = std::max(held, group.pending);
  // What was given up is gone too; where its dead list can be seen, it is not taken for what passed.
  const std::unordered_set<std::uint64_t>& dead = population.queues[queue].dead;

  std::vector<Was> passed, missing;
  const bool comparable = compares && looked_ != WallTime{} && now >= looked_ && now - looked_ <= kComparable;
  if (comparable) {
    for (const Was& was : messages_) {
      if (look.here.contains(was.identity) || dead.contains(was.identity)) continue;
      if ((was.identity & look.mask) != 0) continue;  // this look sampled fewer
      // What a consumer holds is missing too where a broker hides it: so it must be missing twice. A stream shows all it has.
      (was.gone ? passed : missing).push_back({was.identity, was.row, true});
    }
    const std::uint64_t gone = missing.size() * (look.mask + 1);
    const bool accounted = view.groups.empty() || (acknowledged >= acknowledged_ && (acknowledged - acknowledged_) * 10 >= gone * 9);
    if (!accounted) missing.clear();  // something else took them: a purge, a limit, a time to live
    if (missing.size() >= kLeastFresh || now - compared_ > kStillFresh) {
      fresh_ = missing.size();
      failed_before_ = std::move(failing_);
      compared_ = now;
    }
    if (view.type == QueueType::stream) passed.swap(missing);
    else if (held * 10 > gone + passed.size() * (look.mask + 1)) missing.insert(missing.end(), passed.begin(), passed.end()), passed.clear();
  }
  age(now);
  count(passed);
  if (!compares) return;

  // What was missing once is remembered with this look's messages.
  for (const Was& was : missing) look.messages.push_back({was.identity, look.row_of(rows_[was.row]), was.gone});
  // What is known from now on, and what was and still is.
  std::erase_if(known_, [&](const auto& one) { return !look.known.contains(one.first); });
  for (const Name name : look.known) known_.try_emplace(name, total_);
  rows_ = std::move(look.rows);
  messages_ = std::move(look.messages);
  failing_ = std::move(look.failing);
  acknowledged_ = acknowledged == UINT64_MAX ? 0 : acknowledged;
  looked_ = now;
}

std::string Memory::to_bytes() const {
  Packer messages, rows;
  for (const Was& was : messages_) messages.number(was.identity, kName), messages.number(was.row, kRow), messages.number(was.gone, kGone);
  for (const std::vector<Name>& row : rows_) {
    rows.number(row.size(), kRow);
    for (const Name name : row) rows.number(name, kName);
  }
  const std::vector<std::uint8_t> bytes = json::to_cbor(json{{"detector", kDetectorVersion}, {"salt", salt_}, {"aged", aged_.time_since_epoch().count()}, {"total", total_}, {"passed", passed_}, {"known", known_},
                                                             {"fresh", fresh_}, {"failed_before", failed_before_}, {"compared", compared_.time_since_epoch().count()},
                                                             {"looked", looked_.time_since_epoch().count()}, {"acknowledged", acknowledged_}, {"rows", rows.take()}, {"messages", messages.take()}, {"failing", failing_}});
  std::string out(1, kCompares);
  return out.append(bytes.begin(), bytes.end());
}

void Memory::compare_no_more(std::string& bytes) {
  if (!bytes.empty()) bytes.front() = kComparesNoMore;
}

Result<Memory> Memory::from_bytes(std::string_view bytes) {
  const auto broken = [] { return make_error(Code::corrupt, "memory of a queue", "is not what was written; it is begun anew"); };
  if (!bytes.starts_with(kCompares) && !bytes.starts_with(kComparesNoMore)) return broken();
  const bool compares = bytes.front() == kCompares;
  bytes.remove_prefix(1);
  const json value = json::from_cbor(bytes, true, false);
  if (!value.is_object()) return broken();
  try {
    if (value.at("detector") != kDetectorVersion) return make_error(Code::unsupported, "memory of a queue", "another version of the detector made it; it is begun anew");
    const auto time = [&](const char* key) { return WallTime(Millis(value.at(key).get<std::int64_t>())); };
    Memory out(value.at("salt").get<std::uint64_t>());
    out.aged_ = time("aged");
    out.total_ = value.at("total").get<double>();
    value.at("passed").get_to(out.passed_);
    value.at("known").get_to(out.known_);
    value.at("fresh").get_to(out.fresh_);
    value.at("failed_before").get_to(out.failed_before_);
    out.compared_ = time("compared");
    out.looked_ = time("looked");
    value.at("acknowledged").get_to(out.acknowledged_);
    value.at("failing").get_to(out.failing_);
    for (content::ByteReader rows = packed(value.at("rows")); !rows.done();) {
      const auto names = rows.little_endian(kRow);
      if (!names || *names * kName > rows.left()) return broken();
      std::vector<Name>& row = out.rows_.emplace_back();
      while (row.size() < *names) row.push_back(*rows.little_endian(kName));
    }
    for (content::ByteReader messages = packed(value.at("messages")); !messages.done();) {
      const auto identity = messages.little_endian(kName), row = messages.little_endian(kRow), gone = messages.little_endian(kGone);
      if (!identity || !row || !gone || *row >= out.rows_.size()) return broken();
      out.messages_.push_back({*identity, static_cast<std::uint32_t>(*row), *gone != 0});
    }
    const auto sound = [](double count) { return std::isfinite(count) && count >= 0 && count < 1e15; };
    const auto all_sound = [&](const auto& counts) { return std::all_of(counts.begin(), counts.end(), [&](const auto& one) { return sound(one.second); }); };
    if (!sound(out.total_) || !all_sound(out.passed_) || !all_sound(out.known_)) return broken();
    if (!compares) out.messages_.clear(), out.rows_.clear(), out.looked_ = {};
    return out;
  } catch (const json::exception&) {
    return broken();
  }
}

}  // namespace claw::detect
