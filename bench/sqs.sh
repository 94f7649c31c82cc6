#!/usr/bin/env bash
# ./dev bench sqs [MESSAGES]: receive, examine and release, beside receive and release; then poison to quarantine.
set -euo pipefail
cd "$(dirname "$0")/.."
results=$(build/release/sqs_bench "${1:-50000}")
printf '{"bench": "sqs", "machine": {"cores": %s, "processor": "%s", "kernel": "%s"}, "results": %s}\n' "$(nproc)" "$(uname -m)" "$(uname -r)" "$results"
