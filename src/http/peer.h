#pragma once

#include <cstdint>
#include <optional>

namespace claw::http {

// The user at the other end of a connected socket of this machine, by the kernel: SO_PEERCRED, or the owner of the
// other end of a loopback connection in the socket table. nullopt when it cannot be told (the other end is closed).
std::optional<std::uint32_t> uid_of(int fd, bool unix_socket);

}  // namespace claw::http
