// A list's entry has no id: its place is between the neighbours it had. One reading pass finds where those are now, then
// scripts put messages between them, each verifying the bytes on both sides in the instant it writes.
#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "base/random.h"
#include "redis/list_walk.h"
#include "redis/operations.h"
#include "redis/pace.h"

namespace claw::redis {
namespace {

using std::chrono::nanoseconds;

constexpr std::size_t kSliceBytes = 4u << 20;
constexpr nanoseconds kWalk{120};      // LINSERT walks this long an entry at first guess
constexpr nanoseconds kRewrite{1'000};  // what an entry costs that is taken off the tail and put back, and each of its bytes
constexpr nanoseconds kRewriteByte{2};
constexpr std::size_t kMostInRun = 500;

// Puts messages between the neighbours they had. KEYS: list, quarantine. ARGV: mark, shift, search, rewrite ("1"), then per
// run, in ascending order of place: place (index of the entry to the right), "1" when the left one is known, its bytes,
// "1" when the right one is, its bytes, count, quarantine ids. Rewrites the tail from the lowest place on in one go, or
// has LINSERT walk from the head for each message. The first writes change nothing and prove the right to the later ones.
// Answers {shift, then per run: 1 placed, 0 not (its neighbours are not there), -1 no longer in quarantine}.
constexpr std::string_view kPlace = R"lua(
local call, key = redis.call, KEYS[1]
local mark, shift, search, rewrite = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local length = call('LLEN', key)
local out, todo, taken = {0}, {}, {}
local function fits(at, need_left, left, need_right, right)
  if at < 0 or at > length then return false end
  if need_left and (at == 0 or call('LINDEX', key, at - 1) ~= left) then return false end
  return not need_right or (at < length and call('LINDEX', key, at) == right)
end
local function near(at, reach, need_left, left, need_right, right)
  local from = math.max(0, at - reach)
  local seen = call('LRANGE', key, from, at + reach)
  for i = 1, #seen + 1 do
    if (not need_left or seen[i - 1] == left) and (not need_right or seen[i] == right) then return from + i - 1 end
  end
end
local a = 5
while a <= #ARGV do
  local place, need_left, left, need_right, right, n = tonumber(ARGV[a]), ARGV[a + 1] == '1', ARGV[a + 2], ARGV[a + 3] == '1', ARGV[a + 4], tonumber(ARGV[a + 5])
  local at = place + shift
  if not fits(at, need_left, left, need_right, right) then
    local found
    for _, reach in ipairs({32, search}) do
      if not found and search > 0 then found = near(at, reach, need_left, left, need_right, right) end
    end
    if found then shift = found - place else search = 0 end
    at = found
  end
  local values = {}
  for i = a + 6, a + 5 + n do
    local entry = call('XRANGE', KEYS[2], ARGV[i], ARGV[i])
    if #entry == 1 then
      values[#values + 1] = entry[1][2][10]
      if at then taken[#taken + 1] = ARGV[i] end
    end
  end
  if #values == 0 then out[#out + 1] = -1
  elseif not at then out[#out + 1] = 0
  else
    todo[#todo + 1] = {at, values, #todo}
    out[#out + 1] = 1
  end
  a = a + 6 + n
end
out[1] = shift
if #todo == 0 then return out end
table.sort(todo, function(x, y) return x[1] < y[1] or (x[1] == y[1] and x[3] < y[3]) end)
call('XDEL', KEYS[2], '0-1')
if rewrite then
  call('RPUSH', key, mark)
  call('RPOP', key)
  local lowest, chunks, rest = todo[1][1], {}, length - todo[1][1]
  while rest > 0 do
    local chunk = call('RPOP', key, math.min(rest, 4000))
    chunks[#chunks + 1] = chunk
    rest = rest - #chunk
  end
  local at, next_, batch = lowest, 1, {}
  local function push(value)
    batch[#batch + 1] = value
    if #batch == 4000 then
      call('RPUSH', key, unpack(batch))
      batch = {}
    end
  end
  local function insert()
    while todo[next_] and todo[next_][1] == at do
      for _, value in ipairs(todo[next_][2]) do push(value) end
      next_ = next_ + 1
    end
  end
  for c = #chunks, 1, -1 do
    for i = #chunks[c], 1, -1 do
      insert()
      push(chunks[c][i])
      at = at + 1
    end
  end
  insert()
  if #batch > 0 then call('RPUSH', key, unpack(batch)) end
else
  local added = 0
  for _, run in ipairs(todo) do
    local at, values = run[1] + added, run[2]
    local pivot = at > 0 and at - 1 or at
    local kept = call('LINDEX', key, pivot)
    call('LSET', key, pivot, mark)
    local failed
    for i = 1, #values do
      local value = pivot < at and values[#values + 1 - i] or values[i]
      local done = redis.pcall('LINSERT', key, pivot < at and 'AFTER' or 'BEFORE', mark, value)
      if type(done) == 'table' then failed = done; break end
    end
    call('LSET', key, pivot < at and pivot or pivot + #values, kept)
    if failed then return failed end
    added = added + #values
  end
end
for i = 1, #taken, 1000 do call('XDEL', KEYS[2], unpack(taken, i, math.min(i + 999, #taken))) end
return out
)lua";

// Puts messages at one end. KEYS: list, quarantine. ARGV: RPUSH or LPUSH, then quarantine ids. Answers how many. The first
// command deletes nothing: it proves the right to delete before anything is pushed.
constexpr std::string_view kEnd = R"lua(
local done = 0
redis.call('XDEL', KEYS[2], '0-1')
for a = 2, #ARGV do
  local found = redis.call('XRANGE', KEYS[2], ARGV[a], ARGV[a])
  if #found == 1 then
    redis.call(ARGV[1], KEYS[1], found[1][2][10])
    redis.call('XDEL', KEYS[2], ARGV[a])
    done = done + 1
  end
end
return done
)lua";

// Messages that stood next to one another, in list order, and the place that was found for them.
struct Run {
  std::vector<const Token*> tokens;
  Neighbours outer;                 // of the first and the last
  std::int64_t place = -1;          // index of the entry to the right of the gap; -1: nowhere
  std::optional<std::string> left;  // what stands there now; verified by bytes when known
  std::optional<std::string> right;
  std::int64_t drift = 0;           // of the list, when the place was found
  unsigned candidates = 0;          // gaps that fit as well
  int likeness = 0;                 // 2: both neighbours, 1: one of them
};

std::uint64_t digest_of(std::string_view body) {
  const Field field{"", body};
  return short_digest(std::span(&field, 1));
}

bool adjoin(const Message& one, const Message& next) {
  if (one.key.high + 1 != next.key.high || one.neighbours.after == 0) return false;
  return one.neighbours.after == digest_of(next.fields[0].value) && (next.neighbours.before == 0 || next.neighbours.before == digest_of(one.fields[0].value));
}

// In list order.
std::vector<Run> runs_of(std::span<const Token> tokens) {
  std::vector<const Token*> order;
  for (const Token& token : tokens) order.push_back(&token);
  std::stable_sort(order.begin(), order.end(), [](const Token* a, const Token* b) { return a->message->key.high < b->message->key.high; });
  std::vector<Run> runs;
  for (const Token* token : order) {
    if (runs.empty() || !adjoin(*runs.back().tokens.back()->message, *token->message)) runs.push_back({.outer = token->message->neighbours});
    runs.back().tokens.push_back(token);
    runs.back().outer.after = token->message->neighbours.after;
  }
  return runs;
}

// Which runs wait for a digest to their left, or to their right.
class Wanted {
 public:
  explicit Wanted(std::span<Run> runs) : runs_(runs) {
    for (std::size_t i = 0; i < runs.size(); ++i) {
      if (runs[i].outer.before != 0) by_left_.emplace(runs[i].outer.before, i);
      if (runs[i].outer.after != 0) by_right_.emplace(runs[i].outer.after, i);
    }
  }
  // The gap between two entries that stand next to one another; one of them is absent at either end of the list.
  struct Gap {
    std::int64_t place;
    std::int64_t drift;
    const std::optional<std::string>& left;
    std::uint64_t left_digest;
    const std::optional<std::string>& right;
    std::uint64_t right_digest;
  };
  void see(const Gap& gap) {
    if (gap.left)
      for (auto [it, end] = by_left_.equal_range(gap.left_digest); it != end; ++it)
        offer(runs_[it->second], gap, true, gap.right && runs_[it->second].outer.after == gap.right_digest);
    if (!gap.right) return;
    for (auto [it, end] = by_right_.equal_range(gap.right_digest); it != end; ++it)
      if (!gap.left || runs_[it->second].outer.before != gap.left_digest) offer(runs_[it->second], gap, false, true);
  }

 private:
  static void offer(Run& run, const Gap& gap, bool left, bool right) {
    const int likeness = left && right ? 2 : 1;
    if (likeness < run.likeness) return;
    if (likeness == run.likeness) {
      ++run.candidates;
      return;
    }
    run.likeness = likeness;
    run.candidates = 1;
    run.place = gap.place;
    run.drift = gap.drift;
    run.left = left ? gap.left : std::nullopt;
    run.right = right ? gap.right : std::nullopt;
  }
  std::span<Run> runs_;
  std::unordered_multimap<std::uint64_t, std::size_t> by_left_, by_right_;
};

// Finds a place for every run.
Result<Extent> locate(Connection& connection, const std::string& key, std::span<Run> runs, Deadline deadline) {
  Wanted wanted(runs);
  std::optional<std::string> last;
  std::uint64_t last_digest = 0;
  const auto see = [&](const WalkedEntry& entry) {
    if (!entry.adjoins) last.reset();
    std::optional<std::string> here(std::in_place, entry.body);
    wanted.see({entry.place, entry.drift, last, last_digest, here, entry.digest});
    last = std::move(here);
    last_digest = entry.digest;
  };
  CLAW_TRY_ASSIGN(const Extent extent, walk_list(connection, key, see, deadline));
  wanted.see({extent.length, extent.drift, last, last_digest, std::nullopt, 0});
  for (Run& run : runs) run.place += extent.drift - run.drift;
  return extent;
}

// A piece of a run that one script can hold: what follows in the run has the last message before it to its left.
std::vector<Run> pieces_of(std::vector<Run> runs, std::int64_t tail_from, Millis budget) {
  std::vector<Run> pieces;
  for (Run& run : runs) {
    const std::int64_t depth = std::max<std::int64_t>(1, run.place);
    const std::size_t most = run.place >= tail_from ? kMostInRun
                                                    : std::clamp<std::size_t>(static_cast<std::size_t>(nanoseconds(budget) / 2 / (kWalk * depth)), 1, kMostInRun);
    for (std::size_t first = 0; first < run.tokens.size(); first += most) {
      Run piece = run;
      const std::size_t last = std::min(first + most, run.tokens.size());
      piece.tokens.assign(run.tokens.begin() + static_cast<std::ptrdiff_t>(first), run.tokens.begin() + static_cast<std::ptrdiff_t>(last));
      if (first > 0) piece.left = run.tokens[first - 1]->message->fields[0].value;
      pieces.push_back(std::move(piece));
    }
  }
  return pieces;
}

// Places runs slice by slice. What cannot be placed is handed back in `rest`.
class Placement {
 public:
  Placement(Connection& connection, const RestoreRequest& request, RestoreOutcome& out, std::vector<const Token*>& rest, Deadline deadline)
      : connection_(connection), request_(request), out_(out), rest_(rest), deadline_(deadline) {}

  // The whole tail from the lowest place on, in one script; what goes into a gap that another run went into, in the next.
  Status rewrite(std::span<Run> pieces) {
    for (std::size_t next = 0; next < pieces.size();) {
      std::vector<Run> slice, later;
      for (Run& run : pieces.subspan(next)) (slice.empty() || slice.back().place != run.place ? slice : later).push_back(std::move(run));
      std::move(slice.begin(), slice.end(), pieces.begin() + static_cast<std::ptrdiff_t>(next));
      std::move(later.begin(), later.end(), pieces.begin() + static_cast<std::ptrdiff_t>(next + slice.size()));
      CLAW_TRY(call(pieces.subspan(next, slice.size()), true));
      next += slice.size();
    }
    return {};
  }

  // Ascending, so that the first, shallow ones tell what a step of the walk costs before the deep ones are tried.
  Status walk(std::span<Run> pieces) {
    const nanoseconds most = nanoseconds(request_.block_budget) * 4 / 5;
    for (std::size_t next = 0; next < pieces.size();) {
      if (cost(pieces[next]) > most) {
        too_deep_ += pieces[next].tokens.size();
        give_up(pieces[next++]);
        continue;
      }
      const std::size_t first = next;
      nanoseconds sum{0};
      std::size_t bytes = 0;
      do {
        sum += cost(pieces[next]);
        bytes += pieces[next].left.value_or("").size() + pieces[next].right.value_or("").size();
        ++next;
      } while (next < pieces.size() && next - first < Pace::kFirst && bytes < kSliceBytes && pieces[next].place != pieces[next - 1].place && sum + cost(pieces[next]) < most * 3 / 4);
      CLAW_TRY(call(pieces.subspan(first, next - first), false));
    }
    return {};
  }
  std::size_t too_deep() const { return too_deep_; }
  std::size_t ambiguous() const { return ambiguous_; }

 private:
  nanoseconds cost(const Run& run) const {
    return (walk_ * std::max<std::int64_t>(run.place, 200) + kRewrite * 4) * static_cast<std::int64_t>(run.tokens.size());
  }
  void give_up(const Run& run) { rest_.insert(rest_.end(), run.tokens.begin(), run.tokens.end()); }

  Status call(std::span<Run> slice, bool rewrite) {
    if (slice.empty()) return {};
    if (request_.before) CLAW_TRY(request_.before("place"));
    std::vector<std::string> arguments = {"deployclaw-place-" + system_random().hex(24), std::to_string(shift_), std::to_string(1'000), rewrite ? "1" : "0"};
    nanoseconds walked{0};
    for (const Run& run : slice) {
      walked += nanoseconds(run.place * static_cast<std::int64_t>(run.tokens.size()));
      arguments.insert(arguments.end(), {std::to_string(run.place), run.left ? "1" : "0", run.left.value_or(""), run.right ? "1" : "0", run.right.value_or(""), std::to_string(run.tokens.size())});
      for (const Token* token : run.tokens) arguments.push_back(token->quarantine_id);
    }
    const std::vector<std::string> keys = {request_.queue.name, request_.quarantine};
    const MonoTime start = connection_.clock().mono();
    CLAW_TRY_ASSIGN(const Reply reply, run_script(connection_, kPlace, keys, arguments, call_deadline(connection_, deadline_)));
    const nanoseconds took = connection_.clock().mono() - start;
    if (!rewrite && walked > nanoseconds(20'000)) {
      const nanoseconds each = nanoseconds(std::max<std::int64_t>(20, took.count() / walked.count()));
      walk_ = each > walk_ ? each : (walk_ * 3 + each) / 4;
    }
    if (reply.root().size() != slice.size() + 1) return make_error(Code::corrupt, "restore", "the script answered for another number of messages");
    Reply::View answer = reply.root().first();
    shift_ = answer.integer();
    for (const Run& run : slice) {
      answer = answer.next();
      if (answer.integer() == 0) give_up(run);
      if (answer.integer() != 1) continue;
      out_.restored += run.tokens.size();
      if (run.candidates == 1) out_.in_place += run.tokens.size();
      else ambiguous_ += run.tokens.size();
      shift_ += static_cast<std::int64_t>(run.tokens.size());
    }
    return {};
  }

  Connection& connection_;
  const RestoreRequest& request_;
  RestoreOutcome& out_;
  std::vector<const Token*>& rest_;
  Deadline deadline_;
  nanoseconds walk_ = kWalk;
  std::int64_t shift_ = 0;
  std::size_t too_deep_ = 0;
  std::size_t ambiguous_ = 0;
};

// The oldest is what consumers take first.
Status put_at_end(Connection& connection, const RestoreRequest& request, std::vector<const Token*>& rest, RestoreOutcome& out, Deadline deadline) {
  const bool tail = request.takes_from == ListEnd::tail;
  std::stable_sort(rest.begin(), rest.end(), [&](const Token* a, const Token* b) { return tail ? a->message->key.high < b->message->key.high : b->message->key.high < a->message->key.high; });
  const std::vector<std::string> keys = {request.queue.name, request.quarantine};
  Pace pace(request.block_budget);
  for (std::size_t next = 0; next < rest.size();) {
    if (request.before) CLAW_TRY(request.before("end"));
    std::vector<std::string> arguments = {tail ? "RPUSH" : "LPUSH"};
    const std::size_t first = next, most = pace.slice({});
    for (std::size_t bytes = 0; next < rest.size() && next - first < most && bytes < kSliceBytes; ++next) {
      bytes += rest[next]->message->fields[0].value.size();
      arguments.push_back(rest[next]->quarantine_id);
    }
    const MonoTime start = connection.clock().mono();
    CLAW_TRY_ASSIGN(const Reply reply, run_script(connection, kEnd, keys, arguments, call_deadline(connection, deadline)));
    pace.took(connection.clock().mono() - start, {}, next - first);
    out.restored += static_cast<std::uint64_t>(reply.root().integer());
  }
  return {};
}

}  // namespace

Result<RestoreOutcome> restore_list(Connection& connection, const RestoreRequest& request, std::span<const Token> tokens, Deadline deadline) {
  RestoreOutcome out;
  std::vector<const Token*> rest;
  std::vector<Run> runs = runs_of(tokens);
  std::size_t lost = 0;
  Placement placement(connection, request, out, rest, deadline);
  if (request.wanted == RestoreOrder::exact && !runs.empty()) {
    CLAW_TRY_ASSIGN(const Extent extent, locate(connection, request.queue.name, runs, deadline));
    std::erase_if(runs, [&](const Run& run) {
      // One neighbour names the place only where it stands once.
      const bool known = run.likeness == 2 || (run.likeness == 1 && run.candidates == 1);
      if (!known) rest.insert(rest.end(), run.tokens.begin(), run.tokens.end());
      return !known;
    });
    lost = rest.size();
    // Whatever is nearer to the tail than this is cheaper to rewrite than to walk to. Never the whole list: it would
    // vanish for a moment, and its expiry with it.
    const nanoseconds each = kRewrite + kRewriteByte * static_cast<std::int64_t>(extent.bytes / static_cast<std::uint64_t>(std::max<std::int64_t>(1, extent.length)));
    const std::int64_t tail_from = std::max<std::int64_t>(1, extent.length - nanoseconds(request.block_budget) * 3 / 5 / each);
    std::vector<Run> pieces = pieces_of(std::move(runs), tail_from, request.block_budget);
    std::stable_sort(pieces.begin(), pieces.end(), [](const Run& a, const Run& b) { return a.place < b.place; });
    const auto tail = std::find_if(pieces.begin(), pieces.end(), [&](const Run& run) { return run.place >= tail_from; });
    const auto split = static_cast<std::size_t>(tail - pieces.begin());
    CLAW_TRY(placement.walk(std::span(pieces).first(split)));
    CLAW_TRY(placement.rewrite(std::span(pieces).subspan(split)));
  } else {
    for (const Run& run : runs) rest.insert(rest.end(), run.tokens.begin(), run.tokens.end());
  }
  const std::size_t moved = rest.size() - lost - placement.too_deep();
  CLAW_TRY(put_at_end(connection, request, rest, out, deadline));
  if (request.wanted == RestoreOrder::tail) out.why_not_exact = "order tail was asked for";
  if (request.wanted == RestoreOrder::tail || out.in_place == out.restored) return out;
  const auto say = [&out](std::size_t count, std::string_view why) {
    if (count > 0) out.why_not_exact += fmt::format("{}{} {}", out.why_not_exact.empty() ? "" : "; ", count, why);
  };
  say(lost, "had neighbours that are gone");
  say(placement.too_deep(), "lie too deep to be reached within the block budget");
  say(moved, "had neighbours that moved meanwhile");
  say(placement.ambiguous(), "stand at one of several places that look alike");
  if (!rest.empty()) out.why_not_exact += fmt::format("; {} put at the {}, where consumers take", rest.size(), name(request.takes_from));
  return out;
}

}  // namespace claw::redis
