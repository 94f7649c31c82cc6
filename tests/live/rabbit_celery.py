"""Celery tasks for the tests of RabbitMQ: `send PORT` queues twenty and prints what was sent, `work PORT COUNT` runs a worker until it
ran so many and prints what it got. One line of JSON a task."""
import json
import os
import sys
import threading

from celery import Celery

what, port = sys.argv[1:3]
app = Celery("t", broker=f"amqp://guest:guest@127.0.0.1:{port}//")
app.conf.update(task_default_queue="celery-t", task_ignore_result=True, worker_hijack_root_logger=False, worker_redirect_stdouts=False)
ran = []


@app.task(bind=True, name="pay")
def pay(self, reference, amount, note=None):
    ran.append([self.request.id, reference, amount, note, self.request.get("tenant"), self.request.correlation_id])
    if len(ran) == int(sys.argv[3]):
        print("\n".join(json.dumps(one) for one in sorted(ran)), flush=True)
        os._exit(0)


if what == "send":
    sent = []
    for i in range(20):
        reference = f"broken_{i}" if i == 7 else f"ok_{i}"
        amount, note = {"value": i * 1.5, "currency": "EUR"}, "für Zoë ✓"
        result = pay.apply_async((reference, amount), {"note": note}, headers={"tenant": "t42"}, expires=3600)
        sent.append([result.id, reference, amount, note, "t42", result.id])
    print("\n".join(json.dumps(one) for one in sorted(sent)))
else:
    threading.Timer(60, lambda: os._exit(1)).start()
    app.worker_main(["--quiet", "worker", "--pool=solo", "--loglevel=critical", "--without-gossip", "--without-mingle", "--without-heartbeat"])
