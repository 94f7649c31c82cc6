#!/usr/bin/env bash
# ./dev bench incidents: seven scripted incidents and a broker restart on a real Redis, for 14 minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
results=$(build/release/incidents_bench)
printf '{"bench": "incidents", "machine": {"cores": %s, "processor": "%s", "kernel": "%s"}, "results": %s}\n' "$(nproc)" "$(uname -m)" "$(uname -r)" "$results"
