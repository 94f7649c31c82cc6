#!/usr/bin/python3
"""One live process beside a remediation, until SIGTERM. Each line it logs is flushed before the next command is sent.

traffic.py PORT produce-stream|produce-list|consume-stream|consume-list LOG [FIRST COUNT RATE]

Producers log "number id" of what the server confirmed. Consumers log "number" of what they are done with: a stream's valid
messages are acknowledged and every other one deleted, poison stays pending with three deliveries; a list's messages are
taken from the tail, whatever they are.
"""
import json
import signal
import sys
import time

stopping = False


def stop(*_):
    global stopping
    stopping = True


signal.signal(signal.SIGTERM, stop)

import redis  # noqa: E402  takes long on a busy machine; may be told to stop meanwhile


def body(queue, i):
    return '{"v":1,"transaction_id":%s,"amount":5,"n":%d}' % (f" {queue}_{i}" if i % 50 == 7 else f'"{queue}_{i}"', i)


def number(text):
    return int(text.rsplit('"n":', 1)[1].rstrip("}"))


def valid(text):
    try:
        json.loads(text)
        return True
    except ValueError:
        return False


def produce(server, log, queue, first, count, rate):
    start = time.monotonic()
    sent = 0
    while not stopping and sent < count:
        due = min(count, int((time.monotonic() - start) * rate) + 1) if rate else count
        batch = range(first + sent, first + min(due, sent + 500))
        if not batch:
            time.sleep(0.001)
            continue
        pipe = server.pipeline(transaction=False)
        for i in batch:
            pipe.xadd("s", {"payload": body("s", i)}) if queue == "s" else pipe.lpush("l", body("l", i))
        for i, answer in zip(batch, pipe.execute()):
            log.write(f"{i} {answer}\n")
        log.flush()
        sent += len(batch)


def consume_stream(server, log):
    name = f"c{time.time_ns()}"
    while not stopping:
        for _, entries in server.xreadgroup("g", name, {"s": ">"}, count=50, block=50) or []:
            pipe = server.pipeline(transaction=True)
            done = []
            for id_, fields in entries:
                i = number(fields["payload"])
                if valid(fields["payload"]):
                    pipe.xack("s", "g", id_)
                    if i % 2:
                        pipe.xdel("s", id_)
                    done.append(i)
                else:
                    pipe.execute_command("XCLAIM", "s", "g", name, 0, id_, "RETRYCOUNT", 3, "JUSTID")
            pipe.execute()
            log.write("".join(f"{i}\n" for i in done))
            log.flush()


def consume_list(server, log):
    while not stopping:
        taken = server.rpop("l", 20) or []
        log.write("".join(f"{number(text)}\n" for text in taken))
        log.flush()
        time.sleep(0.005 if taken else 0.05)


port, role, path = sys.argv[1:4]
server = redis.Redis(port=int(port), decode_responses=True)
with open(path, "a") as log:
    if role.startswith("produce"):
        produce(server, log, "s" if role.endswith("stream") else "l", *map(int, sys.argv[4:7]))
    elif role == "consume-stream":
        consume_stream(server, log)
    else:
        consume_list(server, log)
