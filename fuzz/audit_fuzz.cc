// Foreign bytes as each file of an audit log and as a proof: nothing but the log that was signed verifies.
#include <cstdint>
#include <string>
#include <string_view>

#include "audit/format.h"
#include "audit/order.h"
#include "audit/read.h"
#include "testing/fault_disk.h"

namespace {

using namespace claw;

void put(Disk& disk, const std::string& path, std::string_view bytes) { CLAW_CHECK(disk.write_atomically(path, bytes, Mode::owner_only).ok()); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string seed(32, 's');
  const audit::VerifierKey key = audit::verifier_of_seed("fuzz", seed);
  switch (data[0] % 4) {
    case 0: {  // a record, framed as the log would
      audit::OrderCheck order;
      static_cast<void>(order.take(bytes));
      [[fallthrough]];
    }
    case 1: {
      testing::FaultDisk disk;
      CLAW_CHECK(disk.make_dirs("/log").ok());
      put(disk, "/log/wal.log", data[0] % 4 == 0 ? audit::frame(bytes.substr(0, audit::kMaxEntry)) : std::string(bytes));
      put(disk, "/log/vkey", key.text() + "\n");
      put(disk, "/log/checkpoint", audit::sign_checkpoint({.origin = "fuzz", .size = 1, .root = {}}, seed));
      CLAW_CHECK(!verify_log(disk, "/log", key.text()).ok);
      static_cast<void>(prove(disk, "/log", 0).ok());
      static_cast<void>(read_entries(disk, "/log", 0, 100).ok());
      break;
    }
    case 2: CLAW_CHECK(!audit::open_checkpoint(bytes, audit::verifier_of_seed("other", seed)).ok()); break;
    default:
      static_cast<void>(audit::parse_verifier_key(bytes).ok());
      CLAW_CHECK(!check_proof(bytes, "entry", key.text()).ok());
  }
  return 0;
}
