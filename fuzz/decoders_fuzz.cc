// Any bytes through every decoder; the first byte chooses. What was read well must nest well.
#include <array>
#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "content/avro.h"
#include "content/document.h"
#include "content/inflate.h"
#include "content/msgpack.h"
#include "content/plain.h"
#include "content/protobuf.h"
#include "content/read_json.h"
#include "content/strict_json.h"

namespace content = claw::content;

namespace {

constexpr std::string_view kSchema = R"({"type":"record","name":"R","fields":[{"name":"s","type":["null","string","R"]},
  {"name":"l","type":{"type":"array","items":["int","boolean",{"type":"map","values":"double"}]}},{"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"]}},
  {"name":"f","type":{"type":"fixed","name":"F","size":3}},{"name":"n","type":{"type":"array","items":"null"}}]})";

void read(int which, std::string_view body) {
  static const content::AvroSchema schema = std::move(content::AvroSchema::parse(kSchema)).value();
  static content::Document document;
  document.clear();
  content::Emitter out(document, {.events = 100'000, .bytes = 4u << 20});
  content::Decoding flaw;
  switch (which) {
    case 0:
      flaw = content::read_json(body, out);
      // Two readers of ours must not disagree (beyond the limits of this one).
      if (!flaw) CLAW_CHECK(content::walk_json(body).kind.empty());
      break;
    case 1: flaw = content::read_msgpack(body, out); break;
    case 2: flaw = content::read_protobuf(body, out); break;
    case 3: flaw = schema.read(body, out); break;
    default: return;
  }
  if (flaw) return CLAW_CHECK(flaw->at <= body.size());
  CLAW_CHECK(document.complete());
  for (const content::Value child : document.root()) CLAW_CHECK(document.root().contains(child));
}

void plain(int which, std::string_view body) {
  switch (which) {
    case 4: case 5: {
      const auto out = content::inflate(which == 4 ? content::Compression::gzip : content::Compression::zstd, body);
      if (const auto* text = std::get_if<std::string>(&out)) CLAW_CHECK(text->size() <= content::kMaxInflateRatio * body.size());
      break;
    }
    case 6: CLAW_CHECK(content::text_template(body).size() < 400); break;
    case 7: static_cast<void>(content::byte_facts(body)); break;
    case 8:
      if (const auto schema = content::AvroSchema::parse(body); schema.ok()) {
        // The canonical form is a schema with the same canonical form.
        const auto again = content::AvroSchema::parse(schema->canonical_form());
        CLAW_CHECK(again.ok() && again->canonical_form() == schema->canonical_form());
      }
      break;
    default: break;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  read(data[0] % 9, body);
  plain(data[0] % 9, body);
  return 0;
}
