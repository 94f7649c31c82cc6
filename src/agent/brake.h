// The brake: a file in the data directory that is looked for before every call to a broker.
#pragma once

#include <string>

#include "base/disk.h"

namespace claw {

// One that cannot be read is on.
bool brake_on(Disk& disk, const std::string& data_dir);
// Durable. Setting what is set already is a success. Whoever releases the brake records it in the audit log first.
Status set_brake(Disk& disk, const std::string& data_dir, bool on);

}  // namespace claw
