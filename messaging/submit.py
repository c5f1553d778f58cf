"""Sending raw (HyperFlow) jobs without FireWorks, and waiting for their replies."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from messaging.errors import MessageError, NotFoundError, ServiceError, UsageError
from messaging.names import DEFAULT_POOL, Names
from messaging.pubsub import Outgoing, PubSub, Received
from messaging.wire import RawJob, Reply, decode_job, decode_reply

logger = logging.getLogger(__name__)

_PULL_SECONDS = 20.0
_PULL_MESSAGES = 100
_RETRY_SECONDS = 1.0
#: Pub/Sub deletes a reply subscription that a killed command left behind after a day.
_EXPIRE_SECONDS = 24 * 3600.0


def read_jobs(paths: Sequence[str], stdin: TextIO) -> list[tuple[RawJob, str]]:
    """The jobs in these files, each with a new id; ``-`` is `stdin`, in JSON lines.

    A file holds one job or a list of jobs. Raises UsageError, naming file and line, when one of
    them is no job: so nothing is sent unless all can be.
    """
    jobs = []
    for path in paths:
        values = _json_lines(stdin) if path == "-" else _json_file(path)
        for place, value in values:
            jobs.append((_raw_job(place, value), uuid.uuid4().hex))
    return jobs


def submit(
    pubsub: PubSub,
    names: Names,
    jobs: Iterable[tuple[RawJob, str]],
    wait: bool,
    timeout: float | None = None,
    *,
    pool: str = DEFAULT_POOL,
    traceparent: str | None = None,
) -> Iterator[Reply]:
    """Publish `jobs` (each with its id) to the executors of `pool`; with `wait` give their replies.

    `traceparent`, a W3C trace context, makes them parts of a trace.

    Without `wait` the jobs are published when this returns, and the iterator is empty. With it they
    are published when the iteration begins, and replies come as jobs end, one for each. The
    temporary reply topic and subscription are deleted when the iteration ends, however it ends.
    Raises ServiceError when `timeout` seconds after publishing replies are missing (None: wait for
    ever) or Pub/Sub is away, NotFoundError when there is no jobs topic, MessageTooLargeError.
    """
    listed = list(jobs)
    attributes = {"pool": pool, "type": "raw"}
    if traceparent is not None:
        attributes["traceparent"] = traceparent
    if wait:
        return _submit_and_wait(pubsub, names, listed, timeout, attributes)
    _publish(pubsub, names, listed, attributes)
    return iter(())


def _submit_and_wait(
    pubsub: PubSub,
    names: Names,
    jobs: Sequence[tuple[RawJob, str]],
    timeout: float | None,
    attributes: Mapping[str, str],
) -> Iterator[Reply]:
    box = names.reply(uuid.uuid4().hex[:12])
    try:
        pubsub.create_topic(box)
        pubsub.create_subscription(box, box, expire_after=_EXPIRE_SECONDS)
        _publish(pubsub, names, jobs, {**attributes, "reply_to": box})
        yield from _replies(pubsub, box, {job_id for _, job_id in jobs}, timeout)
    finally:
        _delete(pubsub.delete_subscription, box)
        _delete(pubsub.delete_topic, box)


def _publish(
    pubsub: PubSub,
    names: Names,
    jobs: Iterable[tuple[RawJob, str]],
    attributes: Mapping[str, str],
) -> None:
    messages = [Outgoing(job.encode(), {"job": job_id, **attributes}) for job, job_id in jobs]
    try:
        pubsub.publish(names.jobs, messages)
    except NotFoundError as exc:
        raise NotFoundError(
            f"there is no topic {names.jobs}: start an executor with the same prefix (it makes the "
            "topic), or look at prefix and project"
        ) from exc


def _replies(pubsub: PubSub, box: str, missing: set[str], timeout: float | None) -> Iterator[Reply]:
    total = len(missing)
    deadline = None if timeout is None else time.monotonic() + timeout
    while missing:
        left = _PULL_SECONDS if deadline is None else deadline - time.monotonic()
        if left <= 0:
            raise ServiceError(
                f"{len(missing)} of {total} replies missing after {timeout:g} s, job "
                f"{min(missing)} for one: is an executor of that pool running?"
            )
        for reply in _pull(pubsub, box, min(left, _PULL_SECONDS)):
            if reply.job in missing:
                missing.remove(reply.job)
                yield reply


def _pull(pubsub: PubSub, box: str, timeout: float) -> list[Reply]:
    try:
        received = pubsub.pull(box, _PULL_MESSAGES, timeout)
    except NotFoundError as exc:
        raise ServiceError(f"replies can come no more, their subscription is gone: {exc}") from exc
    except ServiceError as exc:
        logger.warning("waiting for replies: %s", exc)
        time.sleep(min(timeout, _RETRY_SECONDS))
        return []
    try:
        pubsub.acknowledge(box, [item.ack_id for item in received])
    except (NotFoundError, ServiceError) as exc:
        # They come again, and are dropped: each job has one reply.
        logger.warning("cannot acknowledge replies: %s", exc)
    return [reply for item in received for reply in _decoded(item)]


def _decoded(item: Received) -> list[Reply]:
    try:
        return [decode_reply(item.data)]
    except MessageError as exc:
        logger.warning("skipped message %s: %s", item.message_id, exc)
        return []


def _delete(delete: Callable[[str], None], box: str) -> None:
    try:
        delete(box)
    except NotFoundError:
        pass
    except (ServiceError, UsageError) as exc:
        logger.warning("%s stays behind: %s", box, exc)


def _raw_job(place: str, value: Any) -> RawJob:
    try:
        job = decode_job(json.dumps(value).encode())
    except MessageError as exc:
        raise UsageError(f"{place}: {exc}") from exc
    if not isinstance(job, RawJob):
        raise UsageError(f"{place}: this is a launch, which only the dispatcher may send")
    return job


def _json_lines(stream: TextIO) -> Iterator[tuple[str, Any]]:
    """The values in JSON lines, with the place of each; empty lines are skipped."""
    try:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield f"standard input, line {number}", _json(line, "standard input", number)
    except UnicodeDecodeError as exc:
        raise UsageError(f"standard input is not UTF-8: {exc}") from exc


def _json_file(path: str) -> Iterator[tuple[str, Any]]:
    """The value in a file, or those in its list, with the place of each."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as exc:
        raise UsageError(f"cannot read job file {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise UsageError(f"job file {path} is not UTF-8: {exc}") from exc
    value = _json(text, path, 1)
    if not isinstance(value, list):
        yield f"{path}, line {_line(text, 0)}", value
        return
    position = text.index("[") + 1
    for item in value:
        position = _skip(text, position)
        yield f"{path}, line {_line(text, position)}", item
        _, position = json.JSONDecoder().raw_decode(text, position)


def _json(text: str, source: str, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as exc:
        line = first_line + exc.lineno - 1
        raise UsageError(f"{source}, line {line}, column {exc.colno}: not JSON: {exc.msg}") from exc
    except (RecursionError, ValueError) as exc:
        raise UsageError(f"{source}, line {first_line}: not JSON: {exc}") from exc


def _skip(text: str, position: int) -> int:
    """The next position that is neither white space nor a comma."""
    while text[position] in " \t\r\n,":
        position += 1
    return position


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, _skip(text, position)) + 1
