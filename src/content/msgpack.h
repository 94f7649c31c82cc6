// MessagePack as events. Keys may be text or integers (which become their digits); extensions and text that is not
// UTF-8 are bytes.
#pragma once

#include <string_view>

#include "content/visitor.h"

namespace claw::content {

Decoding read_msgpack(std::string_view body, Emitter& out);

}  // namespace claw::content
