#include "notify/outbox.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/text.h"

namespace claw::notify {
namespace {

constexpr long kTimeoutMs = 10'000;
constexpr Millis kPoll{500};
constexpr Millis kFirstPause{5'000};
constexpr Millis kLongestPause = std::chrono::minutes(5);
constexpr Millis kGivenUpAfter = std::chrono::days(1);
constexpr std::size_t kAtOnce = 64;

// What is answered is of no interest beyond its status.
std::size_t drop(char*, std::size_t size, std::size_t count, void*) { return size * count; }

Status post(const Post& what, const NotifyRoute& route, const std::string& where) {
  static const bool ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  const std::unique_ptr<CURL, void (*)(CURL*)> curl(ready ? curl_easy_init() : nullptr, curl_easy_cleanup);
  if (curl == nullptr) return make_error(Code::unavailable, where, "no HTTP client");
  curl_slist* list = curl_slist_append(nullptr, "Content-Type: application/json");
  for (const auto& [name, value] : what.headers) list = curl_slist_append(list, (name + ": " + value).c_str());
  const std::unique_ptr<curl_slist, void (*)(curl_slist*)> headers(list, curl_slist_free_all);
  CURL* c = curl.get();
  curl_easy_setopt(c, CURLOPT_URL, what.url.c_str());
  curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, kTimeoutMs);
  curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(c, CURLOPT_POSTFIELDS, what.body.data());
  curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(what.body.size()));
  curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, &drop);
  if (!route.tls_ca.empty()) curl_easy_setopt(c, CURLOPT_CAINFO, route.tls_ca.c_str());
  const CURLcode done = curl_easy_perform(c);
  if (done == CURLE_OPERATION_TIMEDOUT) return make_error(Code::timed_out, where, curl_easy_strerror(done));
  if (done != CURLE_OK) return make_error(Code::unavailable, where, curl_easy_strerror(done));
  long status = 0;
  curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
  if (status / 100 == 2) return {};
  return make_error(status == 401 || status == 403 ? Code::denied : Code::unavailable, where, fmt::format("answered {}, expected 2xx", status));
}

}  // namespace

Status send(const NotifyRoute& route, const Notice& notice, const std::string& delivery, Disk& disk, WallTime now) {
  CLAW_TRY_ASSIGN(const Secret url, resolve(route.secret_url, disk));
  CLAW_TRY_ASSIGN(const Secret key, resolve(route.secret, disk));
  const bool secret_url = route.secret_url.kind != SecretRef::Kind::none;
  return post(post_for(route, secret_url ? url.reveal() : route.url, key.reveal(), notice, delivery, now), route, "notification " + route.name);
}

Outbox::Outbox(const Config& config, Store& store, Disk& disk, Clock& clock, std::function<void(std::string_view)> event)
    : config_(config), store_(store), disk_(disk), clock_(clock), event_(std::move(event)), thread_([this] { run(); }) {}

Outbox::~Outbox() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  thread_.join();
}

void Outbox::run() {
  for (std::unique_lock lock(mutex_); !stopping_;) {
    lock.unlock();
    const auto due = store_.notices(clock_.now(), kAtOnce);
    if (due)
      for (const claw::Notice& notice : *due) deliver(notice);
    lock.lock();
    stop_.wait_for(lock, kPoll, [this] { return stopping_; });
  }
}

void Outbox::deliver(const claw::Notice& stored) {
  const auto route = std::find_if(config_.routes.begin(), config_.routes.end(), [&](const NotifyRoute& r) { return r.name == stored.route; });
  const Result<Notice> notice = from_text(stored.body);
  if (route == config_.routes.end() || !notice) {  // a route that was taken out of the config since
    store_.notice_delivered(stored.number).ok();
    return;
  }
  const WallTime now = clock_.now();
  const Status sent = send(*route, *notice, fmt::format("{}-{}", config_.agent_id, stored.number), disk_, now);
  if (sent.ok()) {
    store_.notice_delivered(stored.number).ok();  // one that cannot be marked is sent again: told twice rather than never
    return;
  }
  if (now - stored.at > kGivenUpAfter) {
    event_(fmt::format("{}; given up after a day: {}", escape(sent.error().message()), escape(notice->alert.summary)));
    store_.notice_delivered(stored.number).ok();
    return;
  }
  if (stored.attempts == 0) event_(escape(sent.error().message()) + "; it is tried again");
  const Millis pause = std::min(kLongestPause, kFirstPause * (1 << std::min(stored.attempts, 10u)));
  store_.notice_failed(stored.number, now + pause).ok();
}

}  // namespace claw::notify
