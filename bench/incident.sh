#!/usr/bin/env bash
# ./dev bench incident: the mission's incident beside the raw read of the same keys on the same server.
set -euo pipefail
cd "$(dirname "$0")/.."
exec /usr/bin/python3 bench/incident.py
