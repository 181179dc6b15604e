"""The service as a Celery worker that gives itself the tasks: each line is one, and prints it.

With the broker in memory: that in a directory has its readers see messages half written.
"""

import sys
import threading

import celery
from celery.signals import worker_ready
from service import answer

app = celery.Celery("tasks", broker="memory://")
app.conf.task_ignore_result = True
app.conf.worker_redirect_stdouts = False
app.conf.broker_transport_options = {"polling_interval": 0.01}


@app.task
def answer_line(word):
    """Run in a process of the pool, which has this one's standard output."""
    print(answer(word), flush=True)


@worker_ready.connect
def read_lines(**_):
    """Make each line a task, in the worker's main process."""

    def read():
        for line in sys.stdin:
            answer_line.delay(line.rstrip("\n"))

    threading.Thread(target=read, daemon=True).start()
