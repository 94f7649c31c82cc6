// Carries notices out of the store to who is to be told, each route in order, until it is delivered.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "base/disk.h"
#include "notify/notice.h"
#include "store/store.h"

namespace claw::notify {

// Posts once, within ten seconds: no proxy but the environment's, no redirects, TLS verified. An answer of 2xx is delivery;
// anything else is an error that names the status or what failed, and no secret.
Status send(const NotifyRoute& route, const Notice& notice, const std::string& delivery, Disk& disk, WallTime now);

// A thread that sends what is due. A notice that fails is tried again after 5 s, doubling to 5 min, and is given up after a day;
// one that is not delivered holds back the later ones of its route. All that it is given outlives it.
class Outbox {
 public:
  // `event` receives a line a failure that is the first of its notice, and one a notice that is given up; from its thread.
  Outbox(const Config& config, Store& store, Disk& disk, Clock& clock, std::function<void(std::string_view)> event);
  ~Outbox();

 private:
  void run();
  void deliver(const claw::Notice& stored);

  const Config& config_;
  Store& store_;
  Disk& disk_;
  Clock& clock_;
  std::function<void(std::string_view)> event_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses all the rest
};

}  // namespace claw::notify
