#!/usr/bin/env bash
# ./dev bench detect: looking at messages beside a plain parse of the same bytes, on the demo's messages and on larger ones.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

one() {  # one KIND COUNT
  echo "generating $2 messages: $1" >&2
  node bench/corpus.mjs "$1" "$2" "$work/corpus"
  local line node_ms jq_ms=null start
  line=$(build/release/detect_bench "$1" "$work/corpus")
  node_ms=$(node --max-old-space-size=6000 bench/parse.mjs "$work/corpus" "$work/lines")
  if command -v jq >/dev/null; then
    start=$(date +%s%N)
    jq empty "$work/lines"
    jq_ms=$((($(date +%s%N) - start) / 1000000))
  fi
  echo "${line%\}},\"node_ms\":$node_ms,\"jq_ms\":$jq_ms}"
}

demo=$(one demo 847293)
hard=$(one hard 40000)
echo "{\"bench\":\"detect\",\"machine\":{\"cores\":$(nproc),\"kernel\":\"$(uname -r)\"},\"results\":${demo%\}},\"hard\":$hard}}"
