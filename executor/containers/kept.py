"""The connection to a Docker Engine that a thread keeps from one job to the next.

To make one costs more than all other requests of a short job but the container's own: the engine
runs two programs to tell its version. A kept one is good for as long as the engine is the same:
after any trouble it is dropped, and after a pause the engine is asked whether it still speaks the
version of the API that was agreed on. An engine that restarted in between is met by a new socket,
for the SDK's pool notices that the other end of an old one was closed.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import docker
import requests

from executor.containers.engine import REQUEST_TIMEOUT, connect_or_say

#: Seconds without use after which the engine may be another one: less than any takes to restart.
_SURE = 0.5
#: What decides which engine is meant.
_SETTINGS = ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
#: The process, and the settings as they are in it.
_Engine = tuple[int, tuple[str | None, ...]]


@dataclass
class _Kept:
    client: docker.APIClient
    engine: _Engine
    #: When it was used last, as of `time.monotonic`.
    used: float


class _Thread(threading.local):
    """What the current thread keeps."""

    kept: _Kept | None = None


_thread = _Thread()


@contextmanager
def kept_connection() -> Iterator[docker.APIClient]:
    """This thread's connection, made if need be, and kept unless the block raises anything.

    Thread-safe: threads do not share one. Not to be nested. Raises ServiceError in one line when no
    engine answers.
    """
    engine = (os.getpid(), tuple(os.environ.get(name) for name in _SETTINGS))
    # Out of reach while it is in use: whatever happens, it comes back only at the end.
    kept, _thread.kept = _thread.kept, None
    if kept is not None and not _is_good(kept, engine):
        kept.client.close()
        kept = None
    client = connect_or_say() if kept is None else kept.client
    try:
        yield client
    except BaseException:
        client.close()
        raise
    _thread.kept = _Kept(client, engine, time.monotonic())


def _is_good(kept: _Kept, engine: _Engine) -> bool:
    """Whether it leads to the engine that is meant, in the version that this one speaks."""
    if kept.engine != engine:
        return False
    if time.monotonic() - kept.used < _SURE:
        return True
    client = kept.client
    try:
        answer = client.get(f"{client.base_url}/_ping", timeout=REQUEST_TIMEOUT)
    except requests.RequestException:
        return False
    return answer.ok and answer.headers.get("Api-Version") == client.api_version
