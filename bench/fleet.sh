#!/usr/bin/env bash
# ./dev bench fleet: one evaluation of 10,000 tenants on a real Redis and a real RabbitMQ, and how its cost grows.
set -euo pipefail
cd "$(dirname "$0")/.."
results=$(build/release/fleet_bench)
printf '{"bench": "fleet", "machine": {"cores": %s, "processor": "%s", "kernel": "%s"}, "results": %s}\n' "$(nproc)" "$(uname -m)" "$(uname -r)" "$results"
