#include "broker/broker.h"

#include <cstdlib>

namespace claw {

std::string_view name(Fate fate) {
  switch (fate) {
    case Fate::removed: return "removed";
    case Fate::gone: return "gone";
    case Fate::not_found: return "not_found";
  }
  std::abort();
}

}  // namespace claw
