#include "content/agreed.h"

namespace claw::content {

Result<Agreed> Agreed::parse(std::string_view file, std::string_view text) {
  Agreed out;
  if (file.ends_with(".avsc")) {
    CLAW_TRY_ASSIGN(AvroSchema schema, AvroSchema::parse(text));
    out.avro = std::make_shared<const AvroSchema>(std::move(schema));
    return out;
  }
  CLAW_TRY_ASSIGN(out.schema, Contract::compile(text));
  return out;
}

}  // namespace claw::content
