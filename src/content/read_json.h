// JSON as events, strict to RFC 8259. Numbers keep their spelling; a lone surrogate escape becomes U+FFFD.
#pragma once

#include <string_view>

#include "content/visitor.h"

namespace claw::content {

Decoding read_json(std::string_view text, Emitter& out);

}  // namespace claw::content
