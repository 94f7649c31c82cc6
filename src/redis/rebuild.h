// Order `exact` for a stream. An entry cannot be added under an id that is older than the last one, so the whole stream is
// built anew beside the old one, with the restored messages under their old ids, and takes its place by RENAME.
//
// 1. `copy`   slices of the old stream, merged with the messages by id, go into a side key, each slice within the budget.
// 2. `groups` every group is made in the side key, and what the messages had pending in it is claimed there.
// 3. `keep`   what the quarantine holds of others is copied beside it.
// 4. `swap`   one script: follows what was added, deleted and trimmed since, takes over the groups' heads, consumers and
//            pending entries as they stand in that instant, compares, and only then renames side keys over old ones.
//            `tidy` comes between when more was deleted than the swap can find within the budget.
//
// Until the swap nothing but side keys was written; after it nothing is left to do. Cut off anywhere before, the old stream
// and the quarantine are whole, and clear_rebuild() removes the side keys. A consumer never sees a half built stream.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "redis/operations.h"

namespace claw::redis {

struct Rebuilt {
  std::uint64_t restored = 0;  // under their old ids
  std::vector<Token> rest;     // not restored; nothing of them was changed
  std::string why_not;         // about the rest, empty when there is none
};

// `tokens` in order of id. An error means that the connection is of no use any more; all else is a reason in `why_not`.
Result<Rebuilt> rebuild_stream(Connection& connection, const RestoreRequest& request, std::span<const Token> tokens, Deadline deadline);

// Removes what an interrupted rebuild of this execution left.
Status clear_rebuild(Connection& connection, const RestoreRequest& request, Deadline deadline);

// Whose pending list a message goes back to; somebody must hold it.
std::string consumer_of(const GroupState& group);

}  // namespace claw::redis
