#include "sqs/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <map>

namespace claw::sqs {
namespace {

struct Transfer {
  CURL* easy = nullptr;
  curl_slist* headers = nullptr;
  HttpRequest request;  // curl reads the body from here
  Exchange exchange;
  bool done = false;
  bool too_large = false;

  Transfer() = default;
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;
  ~Transfer() { curl_slist_free_all(headers); }
};

std::size_t take_body(char* bytes, std::size_t, std::size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  transfer.too_large = transfer.exchange.response.body.size() + size > kLargestAnswer;
  if (transfer.too_large) return 0;
  transfer.exchange.response.body.append(bytes, size);
  return size;
}

std::size_t take_header(char* bytes, std::size_t, std::size_t size, void* user) {
  const std::string_view line(bytes, size);
  constexpr std::string_view kDate = "date:";
  const bool is_date = size > kDate.size() && std::equal(kDate.begin(), kDate.end(), line.begin(), [](char a, char b) { return a == (b | 0x20); });
  if (!is_date) return size;
  std::string_view value = line.substr(kDate.size());
  while (!value.empty() && (value.front() == ' ')) value.remove_prefix(1);
  while (!value.empty() && (value.back() == '\r' || value.back() == '\n')) value.remove_suffix(1);
  static_cast<Transfer*>(user)->exchange.response.date = value;
  return size;
}

class CurlHttp final : public Http {
 public:
  CurlHttp(CURLM* multi, std::string ca_file) : multi_(multi), ca_file_(std::move(ca_file)) {
    curl_multi_setopt(multi_, CURLMOPT_MAX_HOST_CONNECTIONS, kConnections);
    curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, 2 * kConnections);
  }
  ~CurlHttp() override {
    for (auto& [ticket, transfers] : open_)
      for (const auto& transfer : transfers)
        if (!transfer->done) curl_multi_remove_handle(multi_, transfer->easy);
    for (auto& [ticket, transfers] : open_)
      for (const auto& transfer : transfers) curl_easy_cleanup(transfer->easy);
    for (CURL* easy : idle_) curl_easy_cleanup(easy);
    curl_multi_cleanup(multi_);
  }

  Ticket begin(std::vector<HttpRequest> requests, Millis timeout) override {
    auto& transfers = open_[++last_];
    for (HttpRequest& request : requests) {
      transfers.push_back(std::make_unique<Transfer>());
      start(*transfers.back(), std::move(request), timeout);
    }
    nudge();
    return last_;
  }

  std::vector<Exchange> finish(Ticket ticket) override {
    const auto place = open_.find(ticket);
    CLAW_CHECK(place != open_.end());
    auto& transfers = place->second;
    const auto done = [](const auto& transfer) { return transfer->done; };
    while (!std::all_of(transfers.begin(), transfers.end(), done)) {
      nudge();
      if (!std::all_of(transfers.begin(), transfers.end(), done)) curl_multi_poll(multi_, nullptr, 0, 100, nullptr);
    }
    std::vector<Exchange> out;
    for (const auto& transfer : transfers) {
      idle_.push_back(transfer->easy);
      out.push_back(std::move(transfer->exchange));
    }
    open_.erase(place);
    return out;
  }

  void nudge() override {
    int running = 0, left = 0;
    curl_multi_perform(multi_, &running);
    while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      Transfer* transfer = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
      complete(*transfer, message->data.result);
    }
  }

 private:
  void start(Transfer& transfer, HttpRequest request, Millis timeout) {
    transfer.request = std::move(request);
    const HttpRequest& r = transfer.request;
    for (const Header& header : r.headers) transfer.headers = curl_slist_append(transfer.headers, (header.name + ": " + header.value).c_str());
    for (const char* unwanted : {"Expect:", "Accept:"}) transfer.headers = curl_slist_append(transfer.headers, unwanted);
    CURL* easy = transfer.easy = take_easy();
    curl_easy_setopt(easy, CURLOPT_URL, r.url.c_str());
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, r.once ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer.headers);
    if (r.method == "POST" || !r.body.empty()) {
      curl_easy_setopt(easy, CURLOPT_POSTFIELDS, r.body.data());
      curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(r.body.size()));
    }
    if (r.method != "POST") curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, r.method.c_str());
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(timeout.count()));
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, std::min(static_cast<long>(timeout.count()), 10'000L));
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, &transfer);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, &transfer);
    if (!ca_file_.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file_.c_str());
    curl_multi_add_handle(multi_, easy);
  }

  // Handles are reset and used again; connections belong to the multi handle and stay.
  CURL* take_easy() {
    if (idle_.empty()) {
      CURL* easy = curl_easy_init();
      CLAW_CHECK(easy != nullptr);
      return easy;
    }
    CURL* easy = idle_.back();
    idle_.pop_back();
    curl_easy_reset(easy);
    return easy;
  }

  void complete(Transfer& transfer, CURLcode result) {
    curl_easy_getinfo(transfer.easy, CURLINFO_RESPONSE_CODE, &transfer.exchange.response.status);
    if (result != CURLE_OK) {
      long request_bytes = 0;
      curl_easy_getinfo(transfer.easy, CURLINFO_REQUEST_SIZE, &request_bytes);
      transfer.exchange.response.was_sent = request_bytes > 0;
      transfer.exchange.timed_out = result == CURLE_OPERATION_TIMEDOUT;
      transfer.exchange.problem = transfer.too_large ? "the answer is larger than 64 MiB" : curl_easy_strerror(result);
    }
    curl_multi_remove_handle(multi_, transfer.easy);
    transfer.done = true;
  }

  CURLM* multi_;
  std::string ca_file_;
  std::map<Ticket, std::vector<std::unique_ptr<Transfer>>> open_;
  std::vector<CURL*> idle_;
  Ticket last_ = 0;
};

}  // namespace

Result<std::unique_ptr<Http>> Http::open(std::string ca_file) {
  static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
  CURLM* multi = ready == CURLE_OK ? curl_multi_init() : nullptr;
  if (multi == nullptr) return make_error(Code::unavailable, "libcurl", "cannot be initialised");
  return std::unique_ptr<Http>(std::make_unique<CurlHttp>(multi, std::move(ca_file)));
}

}  // namespace claw::sqs
