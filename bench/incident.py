"""The incident at 847,293 and at 4,000,000 messages; one JSON document on stdout, progress on stderr.

floor_ms: the keys' bytes over a raw socket, discarded, as whole keys or in pages, whichever is faster, the best of three, in
the same run on the same server. naive_ms: demo/naive.py, what a user would write, on a fresh server with the same messages.
"""
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

AGENT = os.environ["DEPLOYCLAW"]
KEYS = [("XRANGE", "orders:tenant_42"), ("XRANGE", "settlements:tenant_42"), ("LRANGE", "webhooks:tenant_42")]
ENTRY = re.compile(rb"\$\d+\r\n(\d+-\d+)\r\n\*")  # the id of a stream's entry, before its fields
STAGES = ["topology_analysis", "poison_detection", "threshold_evaluation", "drain_execution"]


def say(text):
    print(text, file=sys.stderr, flush=True)


class Server:
    def __init__(self, messages):
        self.dir = tempfile.mkdtemp(prefix="claw-bench-")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.dir, "--logfile", self.dir + "/log",
             "--slowlog-log-slower-than", "1000", "--slowlog-max-len", "100000",
             "--latency-monitor-threshold", "1"])
        for _ in range(100):
            if subprocess.run(["redis-cli", "-p", str(self.port), "ping"], capture_output=True).stdout == b"PONG\n":
                break
            time.sleep(0.05)
        say(f"generating {messages} messages")
        self.node("incident.mjs", "generate", "--messages", str(messages), "--seed", "42", "--truth", self.dir + "/truth.json")
        self.node("consumer.mjs", "--fleet", "--warmup")

    def node(self, script, *words):
        subprocess.run(["node", "demo/" + script, *words, "--url", self.url], check=True, stdout=subprocess.DEVNULL)

    def cli(self, *words):
        return subprocess.run(["redis-cli", "-p", str(self.port), "--json", *words], capture_output=True, check=True).stdout.decode(errors="replace")  # the slow log shows arguments: any bytes

    def close(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.dir)


def drop_until(s, buffer, mark):
    """Reads and discards up to a reply that is `mark`; the last bytes before it."""
    tail = b""
    while not tail.endswith(mark):
        got = s.recv_into(buffer)
        if got == 0:
            raise EOFError("the server closed the connection")
        tail = (tail + bytes(buffer[max(0, got - 4096):got]))[-4096:]
    return tail


def whole_keys(s, buffer):
    for command, key in KEYS:
        s.sendall(f"{command} {key} {'- +' if command == 'XRANGE' else '0 -1'}\r\nPING\r\n".encode())
        drop_until(s, buffer, b"+PONG\r\n")


def pages(s, buffer, size=1000):
    for command, key in KEYS:
        if command == "LRANGE":  # pages are known beforehand: eight are under way at a time
            s.sendall(f"LLEN {key}\r\n".encode())
            length = int(s.recv(64)[1:])
            for first in range(0, length, 8 * size):
                asked = "".join(f"LRANGE {key} {at} {at + size - 1}\r\n" for at in range(first, min(length, first + 8 * size), size))
                s.sendall((asked + "PING\r\n").encode())
                drop_until(s, buffer, b"+PONG\r\n")
            continue
        start = "-"
        while True:
            s.sendall(f"XRANGE {key} {start} + COUNT {size}\r\nPING\r\n".encode())
            ids = ENTRY.findall(drop_until(s, buffer, b"+PONG\r\n"))
            if not ids:
                break
            start = "(" + ids[-1].decode()


def floors(port):
    """How long it takes to get the bytes out and discard them, each way the best of three, in ms."""
    def once(read):
        with socket.create_connection(("127.0.0.1", port)) as s:
            start = time.monotonic()
            read(s, memoryview(bytearray(1 << 20)))
            return (time.monotonic() - start) * 1000
    took = {read.__name__: min(once(read) for _ in range(3)) for read in (whole_keys, pages)}
    say(f"raw reads: {', '.join(f'{name} {ms:.0f} ms' for name, ms in took.items())}")
    return took


def remediate(server, messages):
    config = server.dir + "/deployclaw.yaml"
    with open("demo/deployclaw.yaml") as template, open(config, "w") as out:
        text = "".join(line for line in template if not line.startswith("#") and "sqs" not in line and "rabbit" not in line)
        for mark, value in {"@REDIS_URL@": server.url + "/0", "@DATA_DIR@": server.dir + "/agent", "@LISTEN@": "127.0.0.1:7433",
                            "@MAX_BACKLOG@": str(192000 * messages // 847293)}.items():
            text = text.replace(mark, value)
        out.write(text)
    server.cli("slowlog", "reset")
    server.cli("latency", "reset")
    process = subprocess.Popen([AGENT, "remediate", "--tenant", "tenant_42", "--yes", "--quiet", "-o", "json", "--config", config], stdout=subprocess.PIPE)
    output = process.stdout.read()
    _, _, usage = os.wait4(process.pid, 0)
    record = json.loads(output)
    # Nobody else speaks to the server: whatever it was slow at, the agent asked for it.
    slow = [row[2] / 1000 for row in json.loads(server.cli("slowlog", "get", "100000")) if row[3][0].upper() not in ("SLOWLOG", "LATENCY")]
    late = [row[3] for row in json.loads(server.cli("latency", "latest")) if row[0] in ("command", "fast-command")]
    return record, usage.ru_maxrss / 1024, max(slow + late, default=0)


def incident(messages):
    server = Server(messages)
    try:
        floor = floors(server.port)
        record, rss, block = remediate(server, messages)
        stages = {s["stage"]: s["duration_ms"] for s in record["stages"] if s["stage"] in STAGES}
        say(f"{messages}: stages {stages}, rss {rss:.0f} MiB, longest block {block:.1f} ms, removed {record['remediation_record']['messages_removed']}")
        return floor, stages, rss, block, record["remediation_record"]["messages_removed"]
    finally:
        server.close()


def naive_ms():
    server = Server(847293)
    try:
        out = subprocess.run(["/usr/bin/python3", "demo/naive.py", "--url", server.url], capture_output=True, check=True).stdout
        return json.loads(out)["naive_ms"]
    finally:
        server.close()


floor, stages, rss, block, removed = incident(847293)
_, stages_4m, rss_4m, block_4m, removed_4m = incident(4000000)
total = sum(stages.values())
print(json.dumps({"bench": "incident", "machine": {"cores": os.cpu_count(), "processor": platform.processor() or platform.machine(), "kernel": platform.release()},
                  "results": {"floor_ms": round(floor["whole_keys"]), "paged_floor_ms": round(floor["pages"]), "stages": stages, "total_ms": total,
                              "ratio_to_floor": round(total / floor["whole_keys"], 2), "ratio_to_paged_floor": round(total / floor["pages"], 2), "peak_rss_mib": round(rss),
                              "peak_rss_mib_4m": round(rss_4m), "longest_block_ms": block, "naive_ms": naive_ms(), "removed": removed,
                              "stages_4m": stages_4m, "longest_block_ms_4m": block_4m, "removed_4m": removed_4m}}, indent=1))
