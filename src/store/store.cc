#include "store/store.h"

#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <mutex>
#include <optional>
#include <sstream>

namespace claw {
namespace {

constexpr int kSchemaVersion = 4;
constexpr Millis kHistoryKept[] = {std::chrono::hours(1), std::chrono::days(1), std::chrono::days(7)};  // by what `keep` says

constexpr const char* kSchema = R"sql(
CREATE TABLE execution (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, state TEXT NOT NULL,
                        record TEXT NOT NULL) STRICT;
CREATE TABLE journal (seq INTEGER PRIMARY KEY AUTOINCREMENT, execution TEXT NOT NULL, step TEXT NOT NULL,
                      data TEXT NOT NULL, at INTEGER NOT NULL) STRICT;
CREATE INDEX journal_by_execution ON journal (execution, seq);
CREATE TABLE plan (hash TEXT PRIMARY KEY, text TEXT NOT NULL, state TEXT NOT NULL, approver TEXT NOT NULL,
                   reason TEXT NOT NULL, at INTEGER NOT NULL) STRICT;
CREATE TABLE finding (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, at INTEGER NOT NULL, json TEXT NOT NULL) STRICT;
CREATE TABLE sample (broker TEXT NOT NULL, queue BLOB NOT NULL, at INTEGER NOT NULL, backlog INTEGER NOT NULL,
                     acknowledged INTEGER NOT NULL, held INTEGER NOT NULL) STRICT;
CREATE INDEX sample_by_queue ON sample (broker, queue, at);
PRAGMA user_version = 1;
)sql";

constexpr const char* kSince2 = R"sql(
CREATE TABLE label (tenant TEXT NOT NULL, signature TEXT NOT NULL, poison INTEGER NOT NULL, actor TEXT NOT NULL,
                    reason TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (tenant, signature)) STRICT;
CREATE TABLE memory (broker TEXT NOT NULL, queue BLOB NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (broker, queue)) STRICT;
PRAGMA user_version = 2;
)sql";

constexpr const char* kSince3 = R"sql(
ALTER TABLE sample ADD COLUMN redelivered INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sample ADD COLUMN consumers INTEGER;
ALTER TABLE sample ADD COLUMN keep INTEGER NOT NULL DEFAULT 2;
CREATE INDEX sample_by_age ON sample (keep, at);
CREATE TABLE alert (id TEXT PRIMARY KEY, json TEXT NOT NULL) STRICT;
CREATE TABLE notice (number INTEGER PRIMARY KEY AUTOINCREMENT, route TEXT NOT NULL, body TEXT NOT NULL, attempts INTEGER NOT NULL,
                     next INTEGER NOT NULL, at INTEGER NOT NULL) STRICT;
PRAGMA user_version = 3;
)sql";

constexpr const char* kSince4 = R"sql(
CREATE TABLE token (id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, name TEXT NOT NULL, scopes TEXT NOT NULL, tenants TEXT,
                    creator TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL, revoked INTEGER NOT NULL) STRICT;
PRAGMA user_version = 4;
)sql";

std::int64_t to_db(WallTime time) { return time.time_since_epoch().count(); }
WallTime from_db(std::int64_t ms) { return WallTime(Millis(ms)); }

// Words that are separated by blanks.
template <class F>
void each_word(const std::string& text, F&& word) {
  std::istringstream words(text);
  for (std::string one; words >> one;) word(one);
}

// One prepared statement; bind in order, then step.
class Statement {
 public:
  Statement(sqlite3* db, const char* sql) : db_(db) { result_ = sqlite3_prepare_v2(db, sql, -1, &statement_, nullptr); }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& text(std::string_view value) {
    if (result_ == SQLITE_OK) result_ = sqlite3_bind_text64(statement_, ++bound_, value.data(), value.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
    return *this;
  }
  Statement& blob(std::string_view value) {
    if (result_ == SQLITE_OK) result_ = sqlite3_bind_blob64(statement_, ++bound_, value.data(), value.size(), SQLITE_TRANSIENT);
    return *this;
  }
  Statement& integer(std::int64_t value) {
    if (result_ == SQLITE_OK) result_ = sqlite3_bind_int64(statement_, ++bound_, value);
    return *this;
  }

  // For the next values.
  void again() {
    sqlite3_reset(statement_);
    bound_ = 0;
    if (result_ == SQLITE_DONE) result_ = SQLITE_OK;
  }

  // True while there is a row.
  Result<bool> step() {
    if (result_ == SQLITE_OK) result_ = sqlite3_step(statement_);
    if (result_ == SQLITE_ROW) {
      result_ = SQLITE_OK;
      return true;
    }
    if (result_ == SQLITE_DONE) return false;
    return error();
  }
  Status run() {
    CLAW_TRY(step());
    return {};
  }
  // SQL's NULL is nullopt.
  Statement& integer(std::optional<std::uint64_t> value) {
    if (value) return integer(static_cast<std::int64_t>(*value));
    if (result_ == SQLITE_OK) result_ = sqlite3_bind_null(statement_, ++bound_);
    return *this;
  }
  std::optional<std::uint64_t> column_count(int column) const {
    if (sqlite3_column_type(statement_, column) == SQLITE_NULL) return std::nullopt;
    return static_cast<std::uint64_t>(sqlite3_column_int64(statement_, column));
  }
  std::string column_text(int column) const {
    const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_, column));
    return bytes == nullptr ? std::string() : std::string(bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)));
  }
  std::int64_t column_integer(int column) const { return sqlite3_column_int64(statement_, column); }

 private:
  Error error() const {
    Code code = Code::unavailable;
    const int primary = result_ & 0xff;
    if (primary == SQLITE_FULL) code = Code::full;
    else if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB || primary == SQLITE_IOERR) code = Code::corrupt;
    else if (primary == SQLITE_READONLY || primary == SQLITE_PERM) code = Code::denied;
    return make_error(code, "state.db", sqlite3_errmsg(db_));
  }

  sqlite3* db_;
  sqlite3_stmt* statement_ = nullptr;
  int result_ = SQLITE_OK;
  int bound_ = 0;
};

class SqliteStore final : public Store {
 public:
  SqliteStore(sqlite3* db, Clock& clock) : db_(db), clock_(clock) {}
  ~SqliteStore() override { sqlite3_close(db_); }

  Status prepare() {
    for (const char* sql : {"PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA foreign_keys = ON"})
      CLAW_TRY(Statement(db_, sql).run());
    CLAW_TRY_ASSIGN(const int version, schema_version());
    if (version == kSchemaVersion) return {};
    const std::string steps = fmt::format("BEGIN; {} {} {} {} COMMIT;", version < 1 ? kSchema : "", version < 2 ? kSince2 : "", version < 3 ? kSince3 : "", kSince4);
    if (sqlite3_exec(db_, steps.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
      return make_error(Code::corrupt, "state.db", sqlite3_errmsg(db_));
    return {};
  }

  Result<int> schema_version() {
    Statement query(db_, "PRAGMA user_version");
    CLAW_TRY(query.step());
    const auto version = static_cast<int>(query.column_integer(0));
    if (version > kSchemaVersion)
      return make_error(Code::unsupported, "state.db", fmt::format("made by a newer version (schema {}, this program knows {})", version, kSchemaVersion));
    return version;
  }

  Status save_execution(const ExecutionRecord& record) override {
    const std::lock_guard lock(mutex_);
    return Statement(db_, "INSERT INTO execution (id, state, record) VALUES (?, ?, ?) "
                          "ON CONFLICT (id) DO UPDATE SET state = excluded.state, record = excluded.record")
        .text(record.execution_id).text(record.state).text(execution_to_json(record, -1)).run();
  }

  Result<ExecutionRecord> execution(const std::string& id) override {
    const std::lock_guard lock(mutex_);
    Statement query(db_, "SELECT record FROM execution WHERE id = ?");
    CLAW_TRY_ASSIGN(const bool found, query.text(id).step());
    if (!found) return make_error(Code::not_found, "execution " + id, "no such execution; see: deployclaw executions list");
    return execution_from_json(query.column_text(0));
  }

  Result<std::vector<ExecutionRecord>> executions(std::size_t limit) override {
    const std::lock_guard lock(mutex_);
    Statement query(db_, "SELECT record FROM execution ORDER BY number DESC LIMIT ?");
    query.integer(static_cast<std::int64_t>(limit));
    std::vector<ExecutionRecord> records;
    for (;;) {
      CLAW_TRY_ASSIGN(const bool row, query.step());
      if (!row) return records;
      CLAW_TRY_ASSIGN(ExecutionRecord record, execution_from_json(query.column_text(0)));
      records.push_back(std::move(record));
    }
  }

  Result<std::vector<std::string>> unfinished() override {
    const std::lock_guard lock(mutex_);
    Statement query(db_, "SELECT id FROM execution WHERE state IN ('running', 'held') ORDER BY number");
    std::vector<std::string> ids;
    for (;;) {
      CLAW_TRY_ASSIGN(const bool row, query.step());
      if (!row) return ids;
      ids.push_back(query.column_text(0));
    }
  }

  Status journal(const std::string& execution_id, const std::string& step, const std::string& data) override {
    const std::lock_guard lock(mutex_);
    return Statement(db_, "INSERT INTO journal (execution, step, data, at) VALUES (?, ?, ?, ?)")
        .text(execution_id).text(step).text(data).integer(to_db(clock_.now())).run();
  }

  Result<std::vector<JournalEntry>> journal_of(const std::string& execution_id) override {
    const std::lock_guard lock(mutex_);
    Statement query(db_, "SELECT seq, step, data, at FROM journal WHERE execution = ? ORDER BY seq");
    query.text(execution_id);
    std::vector<JournalEntry> entries;
    for (;;) {
      CLAW_TRY_ASSIGN(const bool row, query.step());
      if (!row) return entries;
      entries.push_back({.seq = static_cast<std::uint64_t>(query.column_integer(0)), .step = query.column_text(1),
                         .data = query.column_text(2), .at = from_db(query.column_integer(3))});
    }
  }

  Status save_plan(const std::string& hash, const std::string& text) override {
    const std::lock_guard lock(mutex_);
    return Statement(db_, "INSERT INTO plan (hash, text, state, approver, reason, at) VALUES (?, ?, 'proposed', '', '', ?) "
                          "ON CONFLICT (hash) DO UPDATE SET text = excluded.text, at = excluded.at, state = 'proposed', approver = '', reason = '' WHERE state IN ('proposed', 'applied')")
        .text(hash).text(text).integer(to_db(clock_.now())).run();
  }

  Result<StoredPlan> plan(const std::string& wanted) override {
    const std::lock_guard lock(mutex_);
    const std::string prefix = wanted.starts_with("sha256:") ? wanted : "sha256:" + wanted;
    if (prefix.size() < 7 + 8 || prefix.find_first_not_of("0123456789abcdef", 7) != std::string::npos)
      return make_error(Code::invalid, "plan", "expected at least 8 hexadecimal digits of a plan's hash");
    Statement query(db_, "SELECT hash, text, state, approver, reason, at FROM plan WHERE substr(hash, 1, ?) = ? LIMIT 2");
    query.integer(static_cast<std::int64_t>(prefix.size())).text(prefix);
    std::optional<StoredPlan> found;
    for (;;) {
      CLAW_TRY_ASSIGN(const bool row, query.step());
      if (!row) break;
      if (found) return make_error(Code::conflict, "plan " + wanted, "more than one plan begins so; give more digits");
      found = StoredPlan{.hash = query.column_text(0), .text = query.column_text(1), .state = query.column_text(2),
                         .approver = query.column_text(3), .reason = query.column_text(4), .at = from_db(query.column_integer(5))};
    }
    if (!found) return make_error(Code::not_found, "plan " + wanted, "no such plan; make one with: deployclaw plan --tenant T");
    return *found;
  }

  Result<std::vector<StoredPlan>> plans(std::size_t limit) override {
    const std::lock_guard lock(mutex_);
    Statement query(db_, "SELECT hash, state, approver, reason, at FROM plan ORDER BY at DESC, hash LIMIT ?");
    query.integer(static_cast<std::int64_t>(limit));
    std::vector<StoredPlan> found;
    for (;;) {
      CLAW_TRY_ASSIGN(const bool row, query.step());
      if (!row) return found;
      found.push_back({.hash = query.column_text(0), .text = {}, .state = query.column_text(1), .approver = query.column_text(2),
                       .reason = query.column_text(3), .at = from_db(query.column_integer(4))});
    }
  }

  Status move_plan(const std::string& hash, const std::string& from, const std::string& to, const std::string& actor,
                   const std::string& reason) override {
    {
      const std::lock_guard lock(mutex_);
      CLAW_TRY(Statement(db_, "UPDATE plan SET state = ?, approver = ?, reason = ?, at = ? WHERE hash = ? AND state = ?")
                   .text(to).text(actor).text(reason).integer(to_db(clock_.now())).text(hash).text(from).run());
      if (sqlite3_changes(db_) == 1) return {};
    }
    CLAW_TRY_ASSIGN(const StoredPlan now, plan(hash));
    return make_error(Code::conflict, "plan " + hash.substr(0, 15), "is " + now.state + ", expected " + from);
  }

  Status save_findings(const std::vector<StoredFinding>& findings) override {
    const std::lock_guard lock(mutex_);
    return transaction([&]() -> Status {
      for (const StoredFinding& f : findings)
        CLAW_TRY(Statement(db_, "INSERT INTO finding (id, tenant, at, json) VALUES (?, ?, ?, ?) ON CONFLICT (id) "
                                "DO UPDATE SET tenant = excluded.tenant, at = excluded.at, json = excluded.json")
                     .text(f.id).text(f.tenant).integer(to_db(f.at)).text(f.json).run());
      return {};
    });
  }

  Result<std::vector<StoredFinding>> findings(std::size_t limit) override {
    const std::lock_guard lock(mutex_);
    Statement query(db_, "SELECT id, tenant, at, json FROM finding ORDER BY at DESC, id LIMIT ?");
    query.integer(static_cast<std::int64_t>(limit));
    std::vector<StoredFinding> found;
    for (;;) {
      CLAW_TRY_ASSIGN(const bool row, query.step());
      if (!row) return found;
      found.push_back(finding_of(query));
    }
  }

  Result<StoredFinding> finding(const std::string& id) override {
    const std::lock_guard lock(mutex_);
    Statement query(db_, "SELECT id, tenant, at, json FROM finding WHERE id = ?");
    CLAW_TRY_ASSIGN(const bool found, query.text(id).step());
    if (!found) return make_error(Code::not_found, "finding " + id, "no such finding; see: deployclaw findings list");
    return finding_of(query);
  }

  Status save_label(const TenantId& tenant, const std::string& signature, const std::optional<Label>& label) override {
    const std::lock_guard lock(mutex_);
    if (!label) return Statement(db_, "DELETE FROM label WHERE tenant = ? AND signature = ?").text(tenant).text(signature).run();
    return Statement(db_, "INSERT OR REPLACE INTO label (tenant, signature, poison, actor, reason, at) VALUES (?, ?, ?, ?, ?, ?)")
        .text(tenant).text(signature).integer(label->poison).text(label->actor).text(label->reason).integer(to_db(label->at)).run();
  }

  Result<Labels> labels(const TenantId& tenant) override {
    const std::lock_guard lock(mutex_);
    Statement query(db_, "SELECT signature, poison, actor, reason, at FROM label WHERE tenant = ?");
    query.text(tenant);
    Labels found;
    for (;;) {
      CLAW_TRY_ASSIGN(const bool row, query.step());
      if (!row) return found;
      found[query.column_text(0)] = {.poison = query.column_integer(1) != 0, .actor = query.column_text(2), .reason = query.column_text(3), .at = from_db(query.column_integer(4))};
    }
  }

  Status save_token(const Token& token, const std::string& hash) override {
    const std::string scopes = fmt::format("{}", fmt::join(names(token.scopes), " "));
    const std::string tenants = token.tenants ? fmt::format("{}", fmt::join(*token.tenants, " ")) : std::string();
    const std::lock_guard lock(mutex_);
    return Statement(db_, "INSERT INTO token (id, hash, name, scopes, tenants, creator, created, expires, revoked) VALUES (?, ?, ?, ?, nullif(?, ''), ?, ?, ?, ?)")
        .text(token.id).text(hash).text(token.name).text(scopes).text(tenants).text(token.creator).integer(to_db(token.created)).integer(to_db(token.expires)).integer(token.revoked).run();
  }

  Result<std::vector<Token>> tokens() override {
    const std::lock_guard lock(mutex_);
    Statement query(db_, "SELECT id, name, scopes, tenants, creator, created, expires, revoked FROM token ORDER BY created DESC, id");
    std::vector<Token> all;
    for (;;) {
      CLAW_TRY_ASSIGN(const bool row, query.step());
      if (!row) return all;
      all.push_back(token_in(query));
    }
  }

  Result<std::optional<Token>> token_by_hash(const std::string& hash) override {
    const std::lock_guard lock(mutex_);
    Statement query(db_, "SELECT id, name, scopes, tenants, creator, created, expires, revoked FROM token WHERE hash = ?");
    CLAW_TRY_ASSIGN(const bool row, query.text(hash).step());
    return row ? std::optional(token_in(query)) : std::nullopt;
  }

  Status revoke_token(const std::string& id) override {
    const std::lock_guard lock(mutex_);
    CLAW_TRY(Statement(db_, "UPDATE token SET revoked = 1 WHERE id = ?").text(id).run());
    if (sqlite3_changes(db_) == 0) return make_error(Code::not_found, "token " + id, "no such token; see: deployclaw tokens list");
    return {};
  }

  Status save_memories(const std::vector<std::pair<QueueId, std::string>>& memories) override {
    const std::lock_guard lock(mutex_);
    return transaction([&]() -> Status {
      for (const auto& [queue, bytes] : memories)
        CLAW_TRY(Statement(db_, "INSERT OR REPLACE INTO memory (broker, queue, bytes) VALUES (?, ?, ?)").text(queue.broker).blob(queue.name).blob(bytes).run());
      return {};
    });
  }

  Result<std::string> memory(const QueueId& queue) override {
    const std::lock_guard lock(mutex_);
    Statement query(db_, "SELECT bytes FROM memory WHERE broker = ? AND queue = ?");
    CLAW_TRY_ASSIGN(const bool row, query.text(queue.broker).blob(queue.name).step());
    return row ? query.column_text(0) : std::string();
  }

  Status add_samples(const std::vector<StoredSample>& samples) override {
    const std::lock_guard lock(mutex_);
    return transaction([&]() -> Status {
      Statement insert(db_, "INSERT INTO sample (broker, queue, at, backlog, acknowledged, held, redelivered, consumers, keep) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
      for (const auto& [queue, s, keep] : samples) {
        insert.text(queue.broker).blob(queue.name).integer(to_db(s.at)).integer(static_cast<std::int64_t>(s.backlog)).integer(static_cast<std::int64_t>(s.acknowledged))
            .integer(static_cast<std::int64_t>(s.held)).integer(static_cast<std::int64_t>(s.redelivered)).integer(s.consumers).integer(std::int64_t{keep});
        CLAW_TRY(insert.run());
        insert.again();
      }
      for (int keep = 0; keep < static_cast<int>(std::size(kHistoryKept)); ++keep)
        CLAW_TRY(Statement(db_, "DELETE FROM sample WHERE keep = ? AND at < ?").integer(std::int64_t{keep}).integer(to_db(clock_.now() - kHistoryKept[keep])).run());
      return {};
    });
  }
  Result<std::vector<Sample>> samples(const QueueId& queue, WallTime since) override {
    const std::lock_guard lock(mutex_);
    Statement query(db_, "SELECT at, backlog, acknowledged, held, redelivered, consumers FROM sample WHERE broker = ? AND queue = ? AND at >= ? ORDER BY at LIMIT 10000");
    query.text(queue.broker).blob(queue.name).integer(to_db(since));
    std::vector<Sample> found;
    for (;;) {
      CLAW_TRY_ASSIGN(const bool row, query.step());
      if (!row) return found;
      found.push_back({.at = from_db(query.column_integer(0)), .backlog = static_cast<std::uint64_t>(query.column_integer(1)),
                       .acknowledged = static_cast<std::uint64_t>(query.column_integer(2)), .held = static_cast<std::uint64_t>(query.column_integer(3)),
                       .redelivered = static_cast<std::uint64_t>(query.column_integer(4)), .consumers = query.column_count(5)});
    }
  }

  Status save_alerts(const std::vector<std::pair<std::string, std::string>>& opened, const std::vector<std::string>& closed, const std::vector<Notice>& notices) override {
    const std::lock_guard lock(mutex_);
    return transaction([&]() -> Status {
      for (const auto& [id, text] : opened)
        CLAW_TRY(Statement(db_, "INSERT INTO alert (id, json) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET json = excluded.json").text(id).text(text).run());
      for (const std::string& id : closed) CLAW_TRY(Statement(db_, "DELETE FROM alert WHERE id = ?").text(id).run());
      for (const Notice& n : notices)
        CLAW_TRY(Statement(db_, "INSERT INTO notice (route, body, attempts, next, at) VALUES (?, ?, 0, ?, ?)").text(n.route).text(n.body).integer(to_db(n.next)).integer(to_db(n.at)).run());
      return {};
    });
  }
  Result<std::vector<std::pair<std::string, std::string>>> alerts() override {
    const std::lock_guard lock(mutex_);
    Statement query(db_, "SELECT id, json FROM alert ORDER BY id");
    std::vector<std::pair<std::string, std::string>> found;
    for (;;) {
      CLAW_TRY_ASSIGN(const bool row, query.step());
      if (!row) return found;
      found.emplace_back(query.column_text(0), query.column_text(1));
    }
  }
  Result<std::vector<Notice>> notices(WallTime due, std::size_t limit) override {
    const std::lock_guard lock(mutex_);
    Statement query(db_, "SELECT number, route, body, attempts, next, at FROM notice WHERE number IN (SELECT MIN(number) FROM notice GROUP BY route) AND next <= ? ORDER BY number LIMIT ?");
    query.integer(to_db(due)).integer(static_cast<std::int64_t>(limit));
    std::vector<Notice> found;
    for (;;) {
      CLAW_TRY_ASSIGN(const bool row, query.step());
      if (!row) return found;
      found.push_back({.number = query.column_integer(0), .route = query.column_text(1), .body = query.column_text(2),
                       .attempts = static_cast<std::uint32_t>(query.column_integer(3)), .next = from_db(query.column_integer(4)), .at = from_db(query.column_integer(5))});
    }
  }
  Status notice_delivered(std::int64_t number) override {
    const std::lock_guard lock(mutex_);
    return Statement(db_, "DELETE FROM notice WHERE number = ?").integer(number).run();
  }
  Status notice_failed(std::int64_t number, WallTime next) override {
    const std::lock_guard lock(mutex_);
    return Statement(db_, "UPDATE notice SET attempts = attempts + 1, next = ? WHERE number = ?").integer(to_db(next)).integer(number).run();
  }

 private:
  static Token token_in(const Statement& row) {
    Token token{.id = row.column_text(0), .name = row.column_text(1), .scopes = {}, .tenants = {}, .creator = row.column_text(4), .created = from_db(row.column_integer(5)),
                .expires = from_db(row.column_integer(6)), .revoked = row.column_integer(7) != 0};
    each_word(row.column_text(2), [&](const std::string& word) {
      if (const auto one = scope(word)) token.scopes.insert(*one);
    });
    const std::string tenants = row.column_text(3);
    if (!tenants.empty()) token.tenants.emplace();
    each_word(tenants, [&](const std::string& tenant) { token.tenants->insert(tenant); });
    return token;
  }

  static StoredFinding finding_of(const Statement& row) {
    return {.id = row.column_text(0), .tenant = row.column_text(1), .at = from_db(row.column_integer(2)), .json = row.column_text(3)};
  }

  template <class F>
  Status transaction(F&& work) {
    CLAW_TRY(Statement(db_, "BEGIN IMMEDIATE").run());
    Status done = work();
    if (done.ok()) done = Statement(db_, "COMMIT").run();
    if (!done.ok() && sqlite3_get_autocommit(db_) == 0) static_cast<void>(Statement(db_, "ROLLBACK").run().ok());
    return done;
  }

  std::mutex mutex_;
  sqlite3* db_;
  Clock& clock_;
};

Result<std::unique_ptr<SqliteStore>> connect(const std::string& dir, int flags, Clock& clock) {
  const std::string path = dir + "/state.db";
  sqlite3* db = nullptr;
  const int result = sqlite3_open_v2(path.c_str(), &db, flags | SQLITE_OPEN_FULLMUTEX, nullptr);
  auto store = std::make_unique<SqliteStore>(db, clock);
  if (result == SQLITE_CANTOPEN) return make_error(Code::not_found, path, "cannot be opened: is this a data directory of the agent?");
  if (result != SQLITE_OK) return make_error(Code::unavailable, path, sqlite3_errstr(result));
  sqlite3_busy_timeout(db, 2'000);
  return store;
}

}  // namespace

Result<std::unique_ptr<Store>> Store::open(const std::string& dir, Clock& clock) {
  CLAW_TRY_ASSIGN(auto store, connect(dir, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, clock));
  CLAW_TRY(store->prepare());
  if (::chmod((dir + "/state.db").c_str(), 0600) != 0) return make_error(Code::denied, dir + "/state.db", "cannot be made private (mode 0600)");
  return std::unique_ptr<Store>(std::move(store));
}

Result<std::unique_ptr<Store>> Store::open_read_only(const std::string& dir, Clock& clock) {
  CLAW_TRY_ASSIGN(auto store, connect(dir, SQLITE_OPEN_READONLY, clock));
  CLAW_TRY(store->schema_version());
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace claw
