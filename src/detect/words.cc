#include "detect/words.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace claw::detect {
namespace {

constexpr std::uint64_t kEnough = 20;  // messages before a share of them means anything
constexpr std::uint64_t kEarly = 20;  // what comes up in the first twentieth is no change
constexpr std::size_t kMostNotes = 5;

std::string place(const std::string& path) {
  const std::string shown = path.ends_with(':') ? path.substr(0, path.size() - 1) : path;
  return shown.empty() ? "body" : escape(shown, 120) + " field";
}

// Where the nesting begins: the rest of a path of 64 steps helps nobody.
std::string outermost(const std::string& path) { return path.substr(0, std::min(path.find('[', 1), path.find('.', 1))); }

std::string defect_words(const std::string& kind, const std::string& path) {
  if (kind == "malformed_json") return "malformed JSON in " + place(path);
  if (kind == "invalid_utf8") return "invalid UTF-8 in " + place(path);
  if (kind == "too_deep") return "JSON nested deeper than 64 in " + place(outermost(path));
  if (kind == "malformed_messagepack") return "malformed MessagePack in " + place(path);
  if (kind == "malformed_protobuf") return "malformed Protobuf in " + place(path);
  if (kind == "malformed_avro") return "malformed Avro in " + place(path);
  if (kind == "unreadable_compression") return "compressed " + place(path) + " that cannot be read";
  if (kind == "broken_envelope") return "broken envelope around " + place(path);
  if (kind == "json_nan") return "NaN or Infinity in " + place(path);
  return "byte order mark before JSON in " + place(path);
}

struct Named {
  std::string kind, text, condition;
};

Named named(const Atom& atom, const std::vector<std::string>& queues) {
  using Kind = Atom::Kind;
  switch (atom.kind) {
    case Kind::defect: return {atom.detail, defect_words(atom.detail, atom.path), "with " + defect_words(atom.detail, atom.path)};
    case Kind::any_defect: return {atom.detail + ":anywhere", defect_words(atom.detail, "") + ", at several places", "with " + defect_words(atom.detail, "")};
    case Kind::odd: return {"unusual_value", "unusual value in " + place(atom.path), "where " + place(atom.path) + " is unusual"};
    case Kind::novel: return {"unknown_value", "unknown value in " + place(atom.path), "where the value of " + place(atom.path) + " is unknown"};
    case Kind::contract: {
      const std::string what = "contract violated in " + place(atom.path) + " (" + escape(atom.detail, 120) + ")";
      return {"contract:" + atom.detail, what, "with " + what};
    }
    case Kind::absent: return {"missing", place(atom.path) + " is missing", "where " + place(atom.path) + " is missing"};
    case Kind::code: {
      const std::string value = content::words_of(static_cast<content::Code>(atom.number));
      return {fmt::format("class_{}", atom.number), value + " in " + place(atom.path), "where " + place(atom.path) + " is " + value};
    }
    case Kind::value: return {"value:" + atom.detail, "value " + escape(atom.detail) + " in " + place(atom.path), "where " + place(atom.path) + " is " + escape(atom.detail)};
    case Kind::queue: return {"queue", "queue " + escape(queues.at(atom.number)), "in queue " + escape(queues.at(atom.number))};
  }
  return {};
}

std::string list_of(const std::vector<std::string>& names, const std::vector<std::uint32_t>& subs) {
  constexpr std::size_t kShown = 5;
  std::vector<std::string> shown;
  for (std::size_t i = 0; i < std::min(subs.size(), kShown); ++i) shown.push_back(escape(names[subs[i]], 60));
  std::string text = fmt::format("{}", fmt::join(shown, ", "));
  if (subs.size() > kShown) text += fmt::format(" and {} more", subs.size() - kShown);
  return text;
}

}  // namespace

Signature signature_of(const Population& population, const Mined& mined, const std::vector<std::string>& queues) {
  const Atom& atom = population.atoms[mined.atom];
  const Named first = named(atom, queues);
  if (mined.with == kNoAtom) return {first.kind, atom.path, first.text};
  const Atom& other = population.atoms[mined.with];
  const Named second = named(other, queues);
  const std::string which = other.kind == Atom::Kind::queue ? queues.at(other.number) : other.path;
  return {first.kind + "&" + second.kind, atom.path + " & " + which, first.text + " " + second.condition};
}

std::string explanation_of(const Population& population, const Mining& mining, const Mined& mined, const Signature& signature, std::uint64_t unnamed) {
  const Counts& c = mined.counts;
  const Atom& atom = population.atoms[mined.atom];
  std::string text = signature.text;
  if (atom.general() && !mined.subs.empty()) text += " (" + list_of(population.subs[mined.atom], mined.subs) + ")";
  if (const auto usual = population.usual.find(atom.path); usual != population.usual.end() && !usual->second.empty()) text += "; normally " + usual->second;
  text += ".";
  if (c.failing() == 0 && c.stuck[1] == 0) {
    text += " Content only: nothing with this defect has been seen to fail, so nothing is removed for it.";
  } else {
    const std::uint64_t failed = c.stuck[std::max<std::uint8_t>(mined.level, 1)];
    text += fmt::format(" {} of {} delivered messages with it failed, {} deliveries in all; {} of {} passes had it.", grouped(failed), grouped(failed + c.passes + mined.passed_before),
                        grouped(c.attempts), grouped(c.passes + mined.passed_before), grouped(mining.total.passes + mined.all_before));
    if (mined.all_before > 0) text += fmt::format(" {} of these passes are known from earlier looks: gone from the queue, and acknowledged as far as counts tell.", grouped(mined.all_before));
    else if (mined.passed_before > 0) text += fmt::format(" {} with it passed between earlier looks.", grouped(mined.passed_before));
  }
  if (!mined.harmless.empty()) text += " Left alone, because it passes: " + list_of(population.subs[mined.atom], mined.harmless) + ".";
  if (!comparable(mining, mined)) text += " No acknowledged message is visible to compare with: confidence is capped at 0.90.";
  if (mined.nothing_passed_then)
    text += fmt::format(" Consumer outage or deploy, not poison: while it failed, {} others failed and {} passed.", grouped(mined.near_failures), grouped(mined.near_passes));
  if (c.waiting > 0) text += fmt::format(" {} more have it and were not delivered yet.", grouped(c.waiting));
  if (unnamed > 0) text += fmt::format(" {} of them cannot be named safely and stay.", grouped(unnamed));
  return text + " Acknowledged messages with it would lower the confidence.";
}

std::string outage_of(const Population& population, const Mining& mining) {
  std::uint64_t largest = 0;
  for (AtomId a = 0; a < population.atoms.size(); ++a)
    if (population.atoms[a].kind == Atom::Kind::any_defect) largest = std::max(largest, mining.left[a].messages);
  const std::uint64_t seen = mining.total.messages;
  if (seen >= kEnough && largest * 2 > seen) return fmt::format("consumer outage, not poison: {} of {} messages share the same defect", grouped(largest), grouped(seen));
  const std::uint64_t failing = mining.rest.failing(), delivered = failing + mining.rest.passes;
  if (delivered >= kEnough && failing * 10 > delivered * 4 && mining.passes_visible)
    return fmt::format("consumer outage, not poison: {} of {} delivered messages without any signature fail too", grouped(failing), grouped(delivered));
  return {};
}

std::vector<std::string> notes_of(Population& population, const Mining& mining) {
  // What failed nowhere, is not rare, and is not met among the first messages of the queue.
  std::vector<bool> awaited(population.atoms.size(), false);
  for (AtomId a = 0; a < awaited.size(); ++a) {
    const Counts& c = mining.left[a];
    const bool kind = population.atoms[a].kind == Atom::Kind::value || population.atoms[a].kind == Atom::Kind::code;
    awaited[a] = kind && c.stuck[1] == 0 && c.messages >= kEnough && c.messages * 100 >= mining.total.messages;
  }
  auto left = std::count(awaited.begin(), awaited.end(), true);
  const auto meet = [&](const std::vector<Has>& has) {
    for (const Has& h : has)
      if (awaited[h.atom]) awaited[h.atom] = false, --left;
  };
  std::uint64_t all = 0, at = 0;
  for (const Population::Queue& queue : population.queues)
    for (const Chunk* chunk : queue.chunks) all += chunk->size;
  for (const Population::Queue& queue : population.queues)
    for (const Chunk* chunk : queue.chunks) {
      if (left <= 0 || (at + 1) * kEarly >= all) break;
      const Kept page = population.kept(*chunk);
      for (std::size_t i = 0; i < page.size() && left > 0 && (at + 1) * kEarly < all; ++i, ++at) {
        meet(population.rows[page.seen(i).row]);
        const content::Values values = page.values(i);
        for (std::size_t c = 0; c < queue.columns; ++c) meet(queue.values[c][values[c]]);
      }
    }
  std::vector<std::string> notes;
  for (AtomId a = 0; a < awaited.size() && notes.size() < kMostNotes; ++a) {
    const Counts& c = mining.left[a];
    if (population.atoms[a].kind != Atom::Kind::contract || c.stuck[1] > 0 || (c.passes == 0 && c.messages * 2 <= mining.total.messages)) continue;
    notes.push_back(fmt::format("out of date, not poison: {}: {} passed, {} wait, none failed", named(population.atoms[a], {}).text, grouped(c.passes), grouped(c.waiting)));
  }
  for (AtomId a = 0; a < awaited.size() && notes.size() < kMostNotes; ++a) {
    if (!awaited[a]) continue;
    notes.push_back(fmt::format("change, not poison: {}: {} passed, {} wait, none failed", named(population.atoms[a], {}).text, grouped(mining.left[a].passes),
                                grouped(mining.left[a].waiting)));
  }
  return notes;
}

}  // namespace claw::detect
