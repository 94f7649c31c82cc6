"""The obvious ways to handle a poison message, as people write them: `rabbit_naive.py PORT WAY QUEUE`. Each loses, doubles or reorders."""
import sys
import time

import pika

port, way, queue = int(sys.argv[1]), sys.argv[2], sys.argv[3]
connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
channel = connection.channel()


def take(count):
    """Holds so many messages, unacknowledged; the tag of the last."""
    last = 0
    for _ in range(count):
        method, _, _ = channel.basic_get(queue)
        last = method.delivery_tag
    return last


def moved(properties):
    """Takes the only message and publishes it to its queue again, with these properties of it."""
    method, was, body = channel.basic_get(queue)
    channel.confirm_delivery()
    channel.basic_publish("", queue, body, properties(was))
    channel.basic_ack(method.delivery_tag)


if way == "nack-half":  # looks at the first hundred and gives them back
    channel.basic_nack(take(100), multiple=True, requeue=True)
elif way == "hold":  # looks at everything for three seconds
    take(int(sys.argv[4]))
    if len(sys.argv) > 5:  # while a producer goes on
        other = connection.channel()
        for i in range(int(sys.argv[5])):
            other.basic_publish("", queue, b'{"v":1,"transaction_id":"ok_%d"}' % (10_000 + i), pika.BasicProperties(delivery_mode=2))
    connection.sleep(3)
    channel.close()
elif way == "replay":  # puts a message back as it was
    moved(lambda was: was)
elif way == "subscribe":  # looks with a consumer
    tag = channel.basic_consume(queue, lambda *_: None)
    connection.process_data_events(0.5)
    channel.basic_cancel(tag)
connection.process_data_events(0.2)
connection.close()
