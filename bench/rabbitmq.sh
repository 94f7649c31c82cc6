#!/usr/bin/env bash
# ./dev bench rabbitmq [SCANNED MOVED WHOLE]: hold, examine and give back, beside consuming; poison to quarantine, beside a shovel;
# and one queue of the mission's length.
set -euo pipefail
cd "$(dirname "$0")/.."
results=$(build/release/rabbitmq_bench "${1:-200000}" "${2:-100000}" "${3:-847293}")
printf '{"bench": "rabbitmq", "machine": {"cores": %s, "processor": "%s", "kernel": "%s"}, "results": %s}\n' "$(nproc)" "$(uname -m)" "$(uname -r)" "$results"
