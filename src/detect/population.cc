#include "detect/population.h"

#include <algorithm>
#include <cstring>
#include <set>

namespace claw::detect {

void Counts::add(const Seen& seen) {
  const bool here = !seen.evidence_only;
  messages += here;
  passes += seen.passes > 0;
  waiting += seen.waiting && here;
  in_flight += seen.in_flight;
  if (seen.level == 0) return;
  for (std::size_t level = 1; level <= seen.level; ++level) ++stuck[level];
  if (seen.level >= kFailedLevel) attempts += std::min<std::uint64_t>(std::max<std::uint64_t>(seen.attempts, 1), 1'000);
}

void Counts::add(const Counts& other) {
  messages += other.messages, passes += other.passes, waiting += other.waiting, in_flight += other.in_flight, attempts += other.attempts;
  for (std::size_t i = 0; i < stuck.size(); ++i) stuck[i] += other.stuck[i];
}

void Counts::subtract(const Counts& other) {
  messages -= other.messages, passes -= other.passes, waiting -= other.waiting, in_flight -= other.in_flight, attempts -= other.attempts;
  for (std::size_t i = 0; i < stuck.size(); ++i) stuck[i] -= other.stuck[i];
}

// Atoms get their numbers from their sorted texts, never from the order in which they were met.
struct Population::Builder {
  Population& out;
  std::vector<Examiner>& examiners;
  std::map<Atom, std::set<std::string>> names;            // atom → subs
  std::vector<std::uint32_t> first_row;                   // of an examiner, in the merged numbering

  using Named = std::vector<std::pair<Atom, std::string>>;  // atom, sub

  // Paths that only chance gave a slot tell nothing.
  static bool counts(const Examiner& e, content::Slot slot, bool crowded) { return !crowded || slot < e.reader_.learnt_slots(); }

  struct Names {  // of one examiner, by number
    std::vector<const DefectName*> defects;
    std::vector<const ViolationName*> violations;
  };

  Named atoms_of(const Examiner& e, const Row& row, const Names& of, bool crowded) const {
    Named named{{Atom{.kind = Atom::Kind::queue, .number = e.queue_}, ""}};
    if (row.defect != kNone) {
      const DefectName& d = *of.defects[row.defect];
      named.push_back({{.kind = Atom::Kind::defect, .path = d.path, .detail = d.kind}, d.what});
      named.push_back({{.kind = Atom::Kind::any_defect, .detail = d.kind}, d.path + ": " + d.what});
    }
    if (row.violation != kNone) {
      const ViolationName& v = *of.violations[row.violation];
      named.push_back({{.kind = Atom::Kind::contract, .path = v.path, .detail = v.what}, ""});
    }
    for (const content::Deviation& d : row.deviations) {
      if (!counts(e, d.slot(), crowded)) continue;
      const std::string path = e.reader_.path(d.slot());
      if (d.code() == content::code::kAbsent) {
        named.push_back({{.kind = Atom::Kind::absent, .path = path}, ""});
        continue;
      }
      named.push_back({{.kind = Atom::Kind::code, .path = path, .number = d.code()}, ""});
      named.push_back({{.kind = Atom::Kind::odd, .path = path}, content::words_of(d.code())});
    }
    return named;
  }

  Named atoms_of_value(const std::vector<const Examiner*>& of_queue, std::size_t column, std::size_t id) const {
    const content::FeatureReader& reader = of_queue.front()->reader_;
    const std::string path = reader.path(reader.slot_of(column));
    if (id < content::kFirstNovel) {
      const std::string* text = reader.dictionary_value(column, static_cast<std::uint8_t>(id));
      return text == nullptr ? Named{} : Named{{{.kind = Atom::Kind::value, .path = path, .detail = *text}, ""}};
    }
    std::set<std::pair<std::string, bool>> texts;
    bool ambiguous = false;
    for (const Examiner* e : of_queue)
      if (const content::Novel* novel = e->reader_.novel_value(column, static_cast<std::uint8_t>(id))) {
        texts.insert({novel->text, novel->number});
        ambiguous = ambiguous || novel->ambiguous;
      }
    if (texts.empty()) return {};
    // Which of several values it is cannot be told from its hash: all of them are one thing.
    if (ambiguous || texts.size() > 1) return {{{.kind = Atom::Kind::novel, .path = path}, "several values #" + std::to_string(id)}};
    const auto& [text, number] = *texts.begin();
    const std::string spelt = number ? text : "\"" + text + "\"";
    return {{{.kind = Atom::Kind::novel, .path = path}, spelt}, {{.kind = Atom::Kind::value, .path = path, .detail = spelt}, ""}};
  }

  std::vector<Has> numbered(const Named& named) const {
    std::vector<Has> has;
    for (const auto& [atom, sub] : named) {
      const auto at = std::lower_bound(out.atoms.begin(), out.atoms.end(), atom) - out.atoms.begin();
      const std::vector<std::string>& of = out.subs[static_cast<std::size_t>(at)];
      has.push_back({static_cast<AtomId>(at), static_cast<std::uint32_t>(std::lower_bound(of.begin(), of.end(), sub) - of.begin())});
    }
    std::sort(has.begin(), has.end(), [](const Has& a, const Has& b) { return std::pair(a.atom, a.sub) < std::pair(b.atom, b.sub); });
    has.erase(std::unique(has.begin(), has.end(), [](const Has& a, const Has& b) { return a.atom == b.atom && a.sub == b.sub; }), has.end());
    return has;
  }
};

Kept Population::kept(const Chunk& chunk) {
  const Place& place = places_.at(&chunk);
  if (chunk.block != nullptr) return Kept(chunk.block, place.renumbered->data());
  if (!trouble_.ok()) return {};
  Result<std::string> bytes = place.store->read(chunk.offset, chunk.words * sizeof(std::uint64_t));
  if (!bytes) {
    trouble_ = std::move(bytes).error();
    return {};
  }
  page_.resize(chunk.words);
  std::memcpy(page_.data(), bytes->data(), bytes->size());
  return Kept(page_.data(), place.renumbered->data());
}

Population::Population(std::vector<Examiner>& examiners, std::size_t queue_count) : queues(queue_count) {
  Builder build{*this, examiners, {}, {}};
  std::vector<std::vector<const Examiner*>> of_queue(queue_count);
  std::vector<std::set<std::string>> new_paths(queue_count);
  std::vector<bool> crowded(queue_count);
  for (const Examiner& e : examiners) {
    of_queue[e.queue_].push_back(&e);
    for (std::size_t s = e.reader_.learnt_slots(); s < e.reader_.slots(); ++s) new_paths[e.queue_].insert(e.reader_.path(static_cast<content::Slot>(s)));
    if (e.reader_.learnt_slots() + new_paths[e.queue_].size() >= content::Paths::kMostSlots) crowded[e.queue_] = true;
    overflowed = overflowed || e.overflowed_;
    Queue& of = queues[e.queue_];
    for (std::size_t s = 2; s < e.reader_.learnt_slots(); ++s) of.usual.try_emplace(e.reader_.path(static_cast<content::Slot>(s)), e.reader_.usual_of(static_cast<content::Slot>(s)));
    of.opened = e.opener_.has_value();
    of.sampled = e.sampled_;
    of.bodies.insert(of.bodies.end(), e.bodies_.begin(), e.bodies_.end());
    of.dead.insert(e.dead_.begin(), e.dead_.end());
  }

  for (Queue& of : queues) {
    std::sort(of.bodies.begin(), of.bodies.end());
    for (const auto& [path, words] : of.usual) usual.try_emplace(path, words);
  }

  // Name everything, number the names, then translate.
  std::vector<Builder::Named> of_row;
  std::map<std::tuple<std::uint32_t, std::size_t, std::size_t>, Builder::Named> of_value;
  std::map<DefectName, std::tuple<std::uint32_t, std::uint64_t>> first_seen;
  renumbered_.reserve(examiners.size());
  std::map<Builder::Named, std::uint32_t> merged;  // equal rows of several examiners are one
  for (Examiner& e : examiners) {
    Builder::Names of{std::vector<const DefectName*>(e.defects_.size()), std::vector<const ViolationName*>(e.violations_.size())};
    for (const auto& [name, id] : e.violations_) of.violations[id] = &name;
    for (const auto& [name, id] : e.defects_) {
      of.defects[id] = &name;
      const std::tuple place(e.queue_, e.defects_seen_[id].number);
      const auto [at, fresh] = first_seen.try_emplace(name, place);
      if (!fresh && at->second <= place) continue;
      at->second = place;
      excerpts[name] = e.defects_seen_[id].excerpt;
    }
    std::vector<std::uint32_t>& renumbered = renumbered_.emplace_back();
    for (const Row& row : e.rows_) {
      const auto [at, fresh] = merged.try_emplace(build.atoms_of(e, row, of, crowded[e.queue_]), static_cast<std::uint32_t>(of_row.size()));
      if (fresh) of_row.push_back(at->first);
      renumbered.push_back(at->second);
    }
    for (Chunk& chunk : e.chunks_) {
      queues[e.queue_].chunks.push_back(&chunk);
      places_.emplace(&chunk, Place{e.store_, &renumbered});
    }
    e.rows_.clear();
    e.by_hash_.clear();
  }
  for (std::uint32_t q = 0; q < queue_count; ++q) {
    std::sort(queues[q].chunks.begin(), queues[q].chunks.end(), [](const Chunk* a, const Chunk* b) { return a->number < b->number; });
    if (of_queue[q].empty()) continue;
    for (std::size_t c = 0; c < content::kColumns && of_queue[q].front()->reader_.slot_of(c) != content::Paths::kNone; ++c) {
      queues[q].columns = c + 1;
      for (std::size_t id = 1; id < 256; ++id)
        if (Builder::Named named = build.atoms_of_value(of_queue[q], c, id); !named.empty()) of_value.emplace(std::tuple(q, c, id), std::move(named));
    }
  }
  for (const Builder::Named& named : of_row)
    for (const auto& [atom, sub] : named) build.names[atom].insert(sub);
  for (const auto& [place, named] : of_value)
    for (const auto& [atom, sub] : named) build.names[atom].insert(sub);
  for (const auto& [atom, names] : build.names) {
    atoms.push_back(atom);
    subs.emplace_back(names.begin(), names.end());
  }
  for (const Builder::Named& named : of_row) rows.push_back(build.numbered(named));
  for (const auto& [place, named] : of_value) {
    const auto& [q, c, id] = place;
    queues[q].values[c][id] = build.numbered(named);
    queues[q].known[c].set(id);
  }
}

}  // namespace claw::detect
