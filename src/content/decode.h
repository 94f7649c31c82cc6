// From a broker's bytes to events: declared compression, envelope, format.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "content/avro.h"
#include "content/envelope.h"
#include "content/inflate.h"
#include "content/plain.h"
#include "content/visitor.h"
#include "model/message.h"

namespace claw::content {

// Where a body stopped being what it was said to be.
enum class Stage : std::uint8_t { compression, envelope, format };

struct Decoded {
  Envelope envelope;
  Compression compression = Compression::none;
  Format format = Format::unknown;    // what was read, or tried
  std::optional<Flaw> flaw = {};      // `at` counts in the bytes of its stage
  Stage stage = Stage::format;        // of the flaw
  std::string text_template = {};     // text only
  ByteFacts bytes = {};               // bytes only

  // What the format was read from: into the message, or into what this holds.
  std::string_view body() const { return inflated_inside ? std::string_view(*inflated) : envelope.body; }
  std::unique_ptr<const std::string> inflated = {};  // what the declared compression held; `envelope.body` may lie in it
  bool inflated_inside = false;                      // compressed inside the envelope, not around it
};

// A pure function of its arguments. Always one value goes to `out`, unless there is a flaw: then what came before it may
// have. Text is one string, anything else one run of bytes. Avro is read only when its schema is given. `fields`
// must outlive the result.
Decoded decode(std::span<const Field> fields, Visitor& out, const AvroSchema* schema = nullptr);

}  // namespace claw::content
