// A private SQS endpoint on free loopback ports (testing/sqs), behind the gate that checks signatures; ended with the object.
#pragma once

#include <sys/types.h>

#include <string>

namespace claw::testing {

class SqsServer {
 public:
  SqsServer();
  ~SqsServer();
  SqsServer(const SqsServer&) = delete;
  SqsServer& operator=(const SqsServer&) = delete;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(gate_); }         // signatures checked
  std::string direct_url() const { return "http://127.0.0.1:" + std::to_string(direct_); }  // not
  // Makes a queue with messages; the JSON of stage() in testing/sqs/fauxqs.mjs.
  void stage(const std::string& json) const { post(gate_, "/_stage", json); }
  // Sets faults of testing/sqs/gate.mjs; gives them and the counts of calls, as JSON.
  std::string gate(const std::string& json) const { return post(gate_, "/_gate", json); }
  // The queue as JSON: {"attributes", "messages": {"ready": […], "inflight": […], "delayed": […]}}. Touches nothing.
  std::string queue(const std::string& name) const { return post(gate_, "/_queue/" + name, ""); }
  // An unsigned call past the gate, as a user would make it; the JSON answer.
  std::string call(const std::string& action, const std::string& json) const { return post(direct_, "/", json, "AmazonSQS." + action); }

 private:
  std::string post(int port, const std::string& path, const std::string& body, const std::string& target = "") const;

  pid_t pid_ = -1;
  int stdin_ = -1;
  int gate_ = 0;
  int direct_ = 0;
};

}  // namespace claw::testing
