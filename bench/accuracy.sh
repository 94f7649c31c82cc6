#!/usr/bin/env bash
# ./dev bench accuracy: how often detection is right, by how consumers fail, with simpler methods beside it.
set -euo pipefail
cd "$(dirname "$0")/.."
exec build/release/accuracy_bench
