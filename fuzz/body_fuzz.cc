// Foreign bytes as the messages of a queue: looked at to the end, and the same findings for any number of threads and pages.
// Each message says the same to a reader that has read the others and to one that has not, by every way of this machine, and
// it is refused exactly when the strict walk refuses it. The input is cut at 0xff 0xfe into messages; the first byte says how
// deliveries ended.
#include <array>
#include <cstdint>
#include <cstring>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "content/contract.h"
#include "content/features.h"
#include "content/strict_json.h"
#include "detect/detect.h"

namespace {

using namespace claw;

constexpr std::string_view kContract = R"({"properties": {"amount": {"type": "integer"}}, "required": ["id"]})";

std::string observed(const std::vector<std::string>& messages, std::uint8_t ends, std::size_t page, std::size_t threads) {
  static const content::Agreed agreed = *content::Agreed::parse("fuzz.json", kContract);
  const auto page_at = [&](std::size_t from) {
    Batch batch;
    for (std::size_t i = from; i < std::min(messages.size(), from + page); ++i) {
      const Field field{(ends & 128) != 0 ? "payload" : "", std::string_view(messages[i]).substr(0, messages[i].size() - Batch::kPadding)};
      const bool failed = (i * 7 + ends) % 5 == 0;
      batch.add({i + 1, 0}, std::span(&field, 1), failed ? Evidence{.pending = 1, .attempts = 3} : Evidence{.passed = 1});
    }
    return batch;
  };
  detect::Learner learner(agreed);
  for (std::size_t i = 0; i < messages.size() && learner.wants_more(); i += page) learner.learn(page_at(i));
  const detect::Learnt& learnt = learner.freeze();
  detect::Tally tally;
  std::vector<detect::Examiner> examiners;
  for (std::size_t t = 0; t < threads; ++t) examiners.emplace_back(learnt, 0, tally.store());
  for (std::size_t i = 0, number = 0; i < messages.size(); i += page, ++number) CLAW_CHECK(examiners[number % threads].examine(page_at(i), number).ok());
  for (std::size_t t = threads; t-- > 0;) tally.add(std::move(examiners[t]));
  QueueView queue;
  queue.id = {"b", "q"};
  const Result<Observation> seen = detect::conclude(tally, "t", {queue}, {});
  CLAW_CHECK(seen.ok());
  std::string text = seen->outage;
  for (const std::string& note : seen->notes) text += note + "\n";
  for (const Finding& f : seen->findings) text += f.signature.id() + f.explanation + f.excerpt + std::to_string(f.lower_bound) + std::to_string(f.count) + "\n";
  return text;
}

std::string told(const content::FeatureReader& reader, const content::Features& features) {
  std::set<std::string> deviations;  // paths that were not learnt have their numbers as they come
  for (const content::Deviation& d : features.deviations) deviations.insert(reader.path(d.slot()) + "=" + std::to_string(d.code()) + "\n");
  std::string out;
  for (const std::string& deviation : deviations) out += deviation;
  for (const std::uint8_t value : features.values) out += std::to_string(value) + ",";
  if (features.defect) out += features.defect->kind + features.defect->path + features.defect->what + std::to_string(features.defect->offset) + features.defect->inner;
  return out;
}

void check_readers(const std::vector<std::string>& messages) {
  const auto field_of = [](const std::string& padded) { return Field{"", std::string_view(padded).substr(0, padded.size() - Batch::kPadding)}; };
  content::FeatureReader teacher;
  for (std::size_t i = 0; i < messages.size(); i += 2) teacher.learn(std::array{field_of(messages[i])}, true);
  teacher.freeze();
  std::vector<std::string> expected;
  for (const std::string& message : messages) {
    content::FeatureReader fresh(teacher);
    const Field field = field_of(message);
    const content::Features& features = fresh.read(std::span(&field, 1));
    expected.push_back(told(fresh, features));
    if (field.value.starts_with('{') && fresh.understood()) CLAW_CHECK((features.defect && features.defect->inner.empty()) == !content::walk_json(field.value).kind.empty());
  }
  for (const content::FeatureReader::Way& way : content::FeatureReader::ways()) {
    content::FeatureReader practised(teacher);
    for (int turn = 0; turn < 3; ++turn)
      for (std::size_t i = 0; i < messages.size(); ++i) {
        const Field field = field_of(messages[i]);
        CLAW_CHECK(told(practised, way.read(practised, std::span(&field, 1))) == expected[i]);
      }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::vector<std::string> messages;
  for (std::size_t from = 0; from <= input.size() && messages.size() < 300;) {
    const std::size_t end = std::min(input.find("\xff\xfe", from), input.size());
    messages.push_back(std::string(input.substr(from, end - from)) + std::string(Batch::kPadding, '\0'));
    from = end + 2;
  }
  check_readers(messages);
  CLAW_CHECK(observed(messages, data[0], 1'000, 1) == observed(messages, data[0], 3, 2));
  return 0;
}
