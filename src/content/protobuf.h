// Protobuf without its schema: what the wire alone says.
#pragma once

#include <string_view>

#include "content/visitor.h"

namespace claw::content {

// A message becomes an object whose keys are field numbers; a repeated field is the same key again. Varints and fixed
// fields are unsigned numbers; a length-delimited field is a string when it is printable UTF-8, else an object when its
// bytes are a message, else bytes. A flaw means that the body is not Protobuf; none does not mean that it is one.
Decoding read_protobuf(std::string_view body, Emitter& out);

// Whether a body of unknown format may be called Protobuf: every byte belongs to a field, field numbers stay small, and
// there is enough of it that chance is no explanation.
bool looks_like_protobuf(std::string_view body);

}  // namespace claw::content
