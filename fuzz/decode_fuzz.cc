// Any message through the whole chain. Lines up to an empty one are headers ("name: value"), the rest is the body.
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "content/decode.h"
#include "content/document.h"

namespace content = claw::content;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  std::vector<claw::Field> fields;
  while (fields.size() < 16) {
    const std::size_t end = input.find('\n');
    if (end == std::string_view::npos) break;
    const std::string_view line = input.substr(0, end);
    const std::size_t colon = line.find(": ");
    if (colon == std::string_view::npos) break;
    fields.push_back({line.substr(0, colon), line.substr(colon + 2)});
    input.remove_prefix(end + 1);
  }
  fields.push_back({"", input});
  static const content::AvroSchema schema = std::move(content::AvroSchema::parse(R"({"type":"array","items":["null","string"]})")).value();
  content::Document document;
  const content::Decoded first = content::decode(fields, document, size % 2 == 0 ? &schema : nullptr);
  CLAW_CHECK(first.flaw || document.complete());
  CLAW_CHECK(first.envelope.discriminator.size() <= 128);
  return 0;
}
