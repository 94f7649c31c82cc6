"""Installs the package into an empty root with dpkg, and runs what was installed as its unit would: against a private Redis, told
by a service manager's socket, reloaded and stopped by signals."""
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

PACKAGE = sys.argv[1]
WITHIN_S = 20


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def check(what, ok):
    print(("ok    " if ok else "FAIL  ") + what, flush=True)
    if not ok:
        sys.exit(1)


class Manager:
    """The service manager's end of sd_notify."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(0.2)
        self.heard = []

    def hears(self, word):
        until = time.monotonic() + WITHIN_S
        while time.monotonic() < until:
            if any(word in said for said in self.heard):
                self.heard.clear()
                return True
            try:
                self.heard.append(self.socket.recv(4096).decode())
            except TimeoutError:
                pass
        return False


work = tempfile.mkdtemp(prefix="claw-deb-")
redis = agent = None
try:
    root = work + "/root"
    os.makedirs(root + "/var/lib/dpkg/info")
    os.makedirs(root + "/var/lib/dpkg/updates")
    open(root + "/var/lib/dpkg/status", "w").close()
    depends = subprocess.run(["dpkg-deb", "-f", PACKAGE, "Depends"], capture_output=True, check=True, text=True).stdout
    check("depends on what it links to: " + depends.strip()[:60] + "…", "libc6" in depends and "libsqlite3-0" in depends)
    subprocess.run(["dpkg", "--root=" + root, "--force-depends", "--force-not-root", "--no-triggers", "-i", PACKAGE], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    program = root + "/usr/bin/deployclaw"
    check("installed", os.access(program, os.X_OK) and bool(glob.glob(root + "/usr/share/man/man1/deployclaw.1.gz")))
    check("the example config is good", subprocess.run([program, "config", "check", "--config", root + "/usr/share/doc/deployclaw/deployclaw.yaml"], capture_output=True).returncode == 0)
    completion = open(root + "/usr/share/bash-completion/completions/deployclaw").read()
    check("bash takes its completion", "remediate" in completion and subprocess.run(["bash", "-n"], input=completion.encode()).returncode == 0)
    unit = open(root + "/usr/lib/systemd/system/deployclaw.service").read()
    if shutil.which("systemd-analyze"):
        verified = subprocess.run(["systemd-analyze", "verify", "--man=no", "--root=" + root, "deployclaw.service"], capture_output=True, text=True)
        wrong = [line for line in verified.stderr.splitlines() if re.search("Unknown|[Ff]ailed to parse|[Ii]nvalid|ignoring", line)]  # the empty root lacks all else
        check("systemd knows every word of its unit " + "; ".join(wrong), not wrong)

    port, listen = free_port(), free_port()
    redis = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", work], stdout=subprocess.DEVNULL)
    config = work + "/deployclaw.yaml"

    def write_config(tenants):
        with open(config, "w") as out:
            out.write(f"agent: {{listen: \"127.0.0.1:{listen}\"}}\nbrokers: {{r: {{kind: redis, url: \"redis://127.0.0.1:{port}/0\"}}}}\ntenants:\n")
            for tenant in tenants:
                out.write(f"  {tenant}: {{queues: [{{broker: r, match: \"q:{tenant}\"}}]}}\n")

    write_config(["a"])
    manager = Manager(work + "/notify.sock")
    command = re.search(r"^ExecStart=/usr/bin/deployclaw (.*)$", unit, re.M).group(1)
    words = command.replace("/etc/deployclaw/deployclaw.yaml", config).replace("/var/lib/deployclaw", work + "/state").split()
    agent = subprocess.Popen([program, *words], env={**os.environ, "NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "2000000"}, stdout=open(work + "/log", "w"), stderr=subprocess.STDOUT)
    check("says that it is ready", manager.hears("READY=1"))
    check("feeds the watchdog", manager.hears("WATCHDOG=1") and manager.hears("WATCHDOG=1"))
    check("keeps its state to itself", os.stat(work + "/state").st_mode & 0o777 == 0o700)
    write_config(["a", "b"])
    agent.send_signal(signal.SIGHUP)
    check("reloads", manager.hears("RELOADING=1") and manager.hears("READY=1"))
    with open(config, "a") as out:
        out.write("  c: {tier: golden}\n")
    agent.send_signal(signal.SIGHUP)
    time.sleep(1)
    log = open(work + "/log").read()
    check("watches what the new config says", "watches 2 tenants" in log)
    check("keeps the config it has when the new one is bad, and says why", agent.poll() is None and "not reloaded" in log and "golden" in log)
    agent.send_signal(signal.SIGTERM)
    check("stops when told", manager.hears("STOPPING=1") and agent.wait(WITHIN_S) == 0)
    subprocess.run(["dpkg", "--root=" + root, "--force-not-root", "--no-triggers", "-P", "deployclaw"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    check("leaves when purged", not os.path.exists(program))
finally:
    for process in (agent, redis):
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()
    shutil.rmtree(work, ignore_errors=True)
