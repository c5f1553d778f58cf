"""Writes the updates that an executor sends to the dispatcher."""

from __future__ import annotations

import socket
from typing import Any

from executor.held_job import HeldJob
from executor.outcome import LaunchEnded
from messaging.failures import failure_action
from messaging.pubsub import Outgoing
from messaging.wire import (
    ExecutorNews,
    Finished,
    LaunchJob,
    LaunchUpdate,
    Ping,
    PoolMade,
    Released,
    Started,
)


class UpdateWriter:
    """Makes messages for the updates topic, in the name of one executor. Pure; thread-safe."""

    def __init__(self, executor: str, pool: str) -> None:
        #: Id of the executor.
        self.executor = executor
        self._pool = pool
        self._host, self._ip = host_and_ip()

    def started(self, held: HeldJob, job: LaunchJob) -> Outgoing:
        """The launch runs."""
        return self._message(
            Started(
                **self._who(job),
                timestamp=held.started,
                host=self._host,
                ip=self._ip,
                launch_dir=held.directory,
            )
        )

    def ping(self, held: HeldJob, job: LaunchJob) -> Outgoing:
        """The launch still runs."""
        return self._message(
            Ping(
                **self._who(job),
                checkpoint=held.checkpoint,
                trackers=held.trackers,
                launch_dir=held.launch_dir,
                host=self._host,
                ip=self._ip,
            )
        )

    def finished(self, held: HeldJob, job: LaunchJob, ended: LaunchEnded) -> Outgoing:
        """The launch ended; what it said while it ran fills what its end leaves open."""
        return self._message(
            Finished(
                **self._who(job),
                state=ended.state,
                action=ended.action,
                started=held.started or held.message.publish_time,
                host=self._host,
                ip=self._ip,
                launch_dir=ended.launch_dir or held.launch_dir,
                checkpoint=ended.checkpoint or held.checkpoint,
                trackers=ended.trackers or held.trackers,
            )
        )

    def released(self, job: LaunchJob, reason: str) -> Outgoing:
        """The job was given back."""
        return self._message(Released(**self._who(job), reason=reason))

    def rejected(self, job: str, body: dict[str, Any], reason: str) -> Outgoing | None:
        """The end of a launch whose message cannot be read, if it says at least which it is."""
        launch_id, attempt = body.get("launch_id"), body.get("attempt")
        if type(launch_id) is not int or type(attempt) is not int:
            return None
        return self._message(
            Finished(
                job=job,
                attempt=attempt,
                launch_id=launch_id,
                executor=self.executor,
                state="FIZZLED",
                action=failure_action(reason),
                started=0.0,
                host=self._host,
                ip=self._ip,
                launch_dir="",
            )
        )

    def _who(self, job: LaunchJob) -> dict[str, Any]:
        return {
            "job": job.job,
            "attempt": job.attempt,
            "launch_id": job.launch_id,
            "executor": self.executor,
        }

    def pool_made(self) -> Outgoing:
        """The pool's subscription was missing, and was made."""
        made = PoolMade(pool=self._pool, executor=self.executor)
        return Outgoing(made.encode(), self._attributes(made.update))

    def news(self, *, slots: int, busy: int, heartbeat: float, stopped: bool = False) -> Outgoing:
        """The executor is there, or no longer."""
        news = ExecutorNews(
            pool=self._pool,
            executor=self.executor,
            host=self._host,
            slots=slots,
            busy=busy,
            heartbeat=heartbeat,
            stopped=stopped,
        )
        return Outgoing(news.encode(), self._attributes(news.update))

    def _message(self, update: LaunchUpdate) -> Outgoing:
        return Outgoing(update.encode(), {**self._attributes(update.update), "job": update.job})

    def _attributes(self, update: str) -> dict[str, str]:
        return {"type": update, "pool": self._pool, "executor": self.executor}


def host_and_ip() -> tuple[str, str]:
    """This machine, as FireWorks' ``get_my_host`` and ``get_my_ip`` name it (without FireWorks)."""
    host = socket.gethostname()
    try:
        return host, socket.gethostbyname(host)
    except OSError:
        return host, "127.0.0.1"
