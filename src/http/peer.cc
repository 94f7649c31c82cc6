#include "http/peer.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <fstream>
#include <sstream>
#include <string>

namespace claw::http {
namespace {

// As /proc/net/tcp writes it: words of the address in host order, then the port.
std::string table_form(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    return fmt::format("{:08X}:{:04X}", v4.sin_addr.s_addr, ntohs(v4.sin_port));
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
  const std::uint32_t* words = v6.sin6_addr.s6_addr32;
  return fmt::format("{:08X}{:08X}{:08X}{:08X}:{:04X}", words[0], words[1], words[2], words[3], ntohs(v6.sin6_port));
}

std::optional<std::uint32_t> owner(const char* table, const std::string& local, const std::string& remote) {
  std::ifstream file(table);
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string slot, here, there, state, queues, timer, retransmits;
    std::uint32_t uid = 0;
    if (words >> slot >> here >> there && here == local && there == remote && words >> state >> queues >> timer >> retransmits >> uid) return uid;
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::uint32_t> uid_of(int fd, bool unix_socket) {
  if (unix_socket) {
    ucred who{};
    socklen_t size = sizeof who;
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return std::nullopt;
    return who.uid;
  }
  sockaddr_storage mine{}, theirs{};
  socklen_t mine_size = sizeof mine, theirs_size = sizeof theirs;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&mine), &mine_size) != 0 || ::getpeername(fd, reinterpret_cast<sockaddr*>(&theirs), &theirs_size) != 0) return std::nullopt;
  return owner(mine.ss_family == AF_INET ? "/proc/net/tcp" : "/proc/net/tcp6", table_form(theirs), table_form(mine));
}

}  // namespace claw::http
