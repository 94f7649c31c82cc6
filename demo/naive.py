#!/usr/bin/python3
"""The script a user would write: page through the queues, json.loads every message, delete what fails.

naive.py --url redis://127.0.0.1:PORT    prints {"naive_ms": ..., "removed": ...}

No snapshot, no way back, one round trip a removal: the baseline that the agent is measured against.
"""
import argparse
import json
import time

import redis

PAGE = 5000
STREAMS = ["orders:tenant_42", "settlements:tenant_42"]
LIST = "webhooks:tenant_42"


def is_poison(body):
    try:
        json.loads(body)
        return False
    except ValueError:
        return True


def clean_stream(server, key):
    removed = 0
    start = "-"
    while True:
        page = server.xrange(key, min=start, max="+", count=PAGE)
        for entry_id, fields in page:
            if is_poison(fields[b"payload"]):
                removed += server.xdel(key, entry_id)
        if len(page) < PAGE:
            return removed
        start = b"(" + page[-1][0]


def clean_list(server, key):
    poison = []
    for start in range(0, server.llen(key), PAGE):
        poison += [body for body in server.lrange(key, start, start + PAGE - 1) if is_poison(body)]
    return sum(server.lrem(key, 1, body) for body in poison)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    server = redis.Redis.from_url(parser.parse_args().url)
    start = time.monotonic()
    removed = sum(clean_stream(server, key) for key in STREAMS) + clean_list(server, LIST)
    print(json.dumps({"naive_ms": round((time.monotonic() - start) * 1000), "removed": removed}))


if __name__ == "__main__":
    main()
