#!/usr/bin/python3
"""One live client of a RabbitMQ queue beside the agent, until SIGTERM.

rabbit_traffic.py PORT produce QUEUE LOG FIRST RATE PRIORITIES
rabbit_traffic.py PORT consume QUEUE LOG RATE reject|requeue

A producer logs the number of each message that the broker confirmed. A consumer acknowledges what it can read and refuses every
other message, for good or back into the queue; it logs "a NUMBER" and "r NUMBER" before it tells the broker.
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

import pika  # noqa: E402

port, what, queue, path = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port, heartbeat=600))
channel = connection.channel()
start = time.monotonic()
done = 0


def in_time(rate):
    """Waits until the next one is due; false when it is time to stop."""
    while not stopping and done > (time.monotonic() - start) * rate:
        connection.process_data_events(0.005)
    return not stopping


def produce(log, first, rate, priorities):
    global done
    channel.confirm_delivery()
    while in_time(rate):
        i = first + done
        poison = i % 50 == 7
        body = '{"v":1,"transaction_id":%s"}' % (f" broken_{i}" if poison else f'"ok_{i}')
        channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2, priority=i % priorities if priorities else None, message_id=f"m-{i}"), mandatory=True)
        log.write(f"{i}\n")
        done += 1


def consume(log, rate, requeue):
    global done
    channel.basic_qos(prefetch_count=100)
    for method, _, body in channel.consume(queue, inactivity_timeout=0.1):
        if method is not None:
            try:
                number = int(json.loads(body)["transaction_id"].removeprefix("ok_"))
                log.write(f"a {number}\n")
                channel.basic_ack(method.delivery_tag)
            except ValueError:
                log.write(f"r {int(body.split(b'broken_')[1].rstrip(bytes([34, 125])))}\n")
                channel.basic_reject(method.delivery_tag, requeue=requeue)
            done += 1
        if not in_time(rate):
            break
    channel.cancel()


with open(path, "a", buffering=1) as out:
    if what == "produce":
        produce(out, int(sys.argv[5]), float(sys.argv[6]), int(sys.argv[7]))
    else:
        consume(out, float(sys.argv[5]), sys.argv[6] == "requeue")
connection.close()
