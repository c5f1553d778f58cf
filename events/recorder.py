"""Keeps every event in a file, through restarts: nothing is lost, and nothing is there twice.

The subscription outlives the recorder, so that Pub/Sub keeps (for seven days) what is published
while none runs. A message is acknowledged when its event is on the disk, not before; what was
written and not acknowledged comes again, and is known by its id.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic_core import from_json

from events.event_log import EventLog
from events.feed import Feed
from events.parquet import journal_of, merge_journal, require_parquet
from events.recording import PARQUET
from events.types import EVENT_VERSION, decode
from messaging.errors import MessageError, NotFoundError, UsageError
from messaging.settings import PubSubSettings

if TYPE_CHECKING:
    from messaging.pubsub import Received

logger = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,99}")


class Recorder:
    """Records the events of an installation in one file. `run` in one thread, `stop` from any."""

    def __init__(self, settings: PubSubSettings, path: Path, name: str | None = None) -> None:
        """Open the file and the subscription `name`, or make them.

        A Parquet file's events gather in its journal until the end of `run`. Raises UsageError
        (file, name, permission) and ServiceError (Pub/Sub is away).
        """
        self.path = path
        self.name = checked_name(name or default_name(path))
        #: Events written by this recorder.
        self.recorded = 0
        #: Messages that were no events.
        self.malformed = 0
        self._parquet = path.suffix == PARQUET
        if self._parquet:
            require_parquet(path)
        self._log = EventLog(journal_of(path) if self._parquet else path)
        try:
            self._feed = Feed(
                settings.connect(), settings.names.events, subscription_of(settings, self.name)
            )
        except BaseException:
            self._log.close()
            raise
        #: Whether the subscription was there: events since the last recorder come first.
        self.goes_on = not self._feed.is_new

    def run(self) -> None:
        """Record until stopped. Raises UsageError when the file cannot be written any more."""
        try:
            while not self._feed.closed:
                self._keep(self._feed.pull())
            if self._parquet:
                merge_journal(self.path)
        finally:
            self._feed.close()
            self._log.close()

    def stop(self) -> None:
        """End `run` as soon as what was pulled is safe. Idempotent."""
        self._feed.stop()

    def _keep(self, messages: Sequence[Received]) -> None:
        lines = [line for message in messages if (line := self._line(message))]
        try:
            self.recorded += self._log.append(lines)
        except UsageError:
            self._feed.give_back(messages)
            raise
        self._feed.acknowledge(messages)

    def _line(self, message: Received) -> tuple[str, bytes] | None:
        try:
            return line_of(message)
        except MessageError as exc:
            self.malformed += 1
            logger.warning("left out message %s: %s", message.message_id, exc)
            return None


def line_of(message: Received) -> tuple[str, bytes]:
    """An event's id and its line in a recording: the JSON as published; raises MessageError.

    An event of a newer major version is kept as well: a newer Portfire can read it.
    """
    try:
        decode(message.data)
    except MessageError:
        if not _is_newer(message.data):
            raise
    body = from_json(message.data)
    if body.get("event_id") is None or body.get("timestamp") is None:
        # Somebody else's event. Without these it would be another one each time it is read.
        defaults = {"event_id": message.message_id, "timestamp": message.publish_time}
        body = {**body, **{key: defaults[key] for key in defaults if body.get(key) is None}}
        return str(body["event_id"]), json.dumps(body).encode() + b"\n"
    # A line break in JSON is white space between its parts: in a text it is written as \n.
    data = message.data.replace(b"\r", b" ").replace(b"\n", b" ")
    return str(body["event_id"]), data + b"\n"


def _is_newer(data: bytes) -> bool:
    try:
        body = from_json(data)
    except ValueError:
        return False
    version = body.get("version") if isinstance(body, dict) else None
    major = version.partition(".")[0] if isinstance(version, str) else ""
    return major.isdecimal() and int(major) > int(EVENT_VERSION.partition(".")[0])


def delete_recording(settings: PubSubSettings, name: str) -> None:
    """Delete a recording's subscription; its file stays. Raises UsageError and ServiceError."""
    subscription = subscription_of(settings, checked_name(name))
    with settings.connect() as pubsub:
        try:
            pubsub.delete_subscription(subscription)
        except NotFoundError as exc:
            raise UsageError(
                f"there is no recording {name!r}: Pub/Sub has no subscription {subscription}"
            ) from exc


def subscription_of(settings: PubSubSettings, name: str) -> str:
    """Id of the subscription of the recording `name`."""
    return settings.names.watcher(f"recording-{name}")


def default_name(path: Path) -> str:
    """The same for the same file on the same host, and for no other."""
    where = f"{socket.gethostname()}:{path.absolute()}"
    stem = re.sub(r"[^A-Za-z0-9]+", "-", path.stem).strip("-")[:40]
    return f"{stem or 'events'}-{hashlib.sha256(where.encode()).hexdigest()[:8]}"


def checked_name(name: str) -> str:
    """The name, if Pub/Sub takes it; raises UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--name is {name!r}: a recording's name has up to 100 letters, digits and . _ ~ -"
        )
    return name
