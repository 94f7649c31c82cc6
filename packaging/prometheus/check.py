"""The rules do what they say, by promtool; every metric that they and the dashboard name is one that the agent has."""
import json
import os
import re
import subprocess
import sys

here = os.path.dirname(os.path.abspath(__file__))
metrics = set(re.findall(r'"(deployclaw_[a-z_]+)"', open(here + "/../../src/api/metrics.cc").read()))
used = set(re.findall(r"deployclaw_[a-z_]+", open(here + "/deployclaw.rules.yml").read()))
dashboard = json.load(open(here + "/../grafana/deployclaw.json"))
for panel in dashboard["panels"]:
    used |= set(re.findall(r"deployclaw_[a-z_]+", panel["targets"][0]["expr"]))
unknown = used - metrics
if unknown:
    sys.exit(f"the agent has no metric {', '.join(sorted(unknown))}")
subprocess.run(["promtool", "check", "rules", "deployclaw.rules.yml"], cwd=here, check=True)
subprocess.run(["promtool", "test", "rules", "deployclaw.rules.test.yml"], cwd=here, check=True)
print(f"rules and dashboard: {len(used)} metrics, all there")
