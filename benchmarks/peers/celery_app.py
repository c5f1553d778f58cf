"""What Celery's workers load; CELERY_REDIS names the database."""

from __future__ import annotations

import os

from celery import Celery

from benchmarks.peers.timing import job

_REDIS = os.environ.get("CELERY_REDIS", "redis://127.0.0.1/0")

app = Celery("benchmarks", broker=_REDIS, backend=_REDIS)
app.conf.update(
    # As Portfire does it: a job that was not finished goes to another worker.
    task_acks_late=True,
    broker_connection_retry_on_startup=True,
)


#: The no-op job.
celery_job = app.task(name="benchmarks.job")(job)
