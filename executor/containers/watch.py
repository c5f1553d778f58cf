"""One container as the engine sees it: has it ended, how, and what was done to it.

Calls that wait are short and repeated, so that a stop is seen in time, and a dropped connection
leads to a question (inspect), never to a guess.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import docker
import requests
from docker.errors import DockerException
from urllib3.exceptions import ReadTimeoutError

from executor.containers.end import UNTOLD_SIGNAL, ContainerEnded
from executor.containers.engine import REQUEST_TIMEOUT, connected, engine_errors, is_podman
from executor.failures import one_line
from messaging.errors import ServiceError

logger = logging.getLogger(__name__)

#: Seconds over the grace in which a stopped container's outcome is there, whatever the engine does.
SLOW_ENGINE = 1.5
#: The exit code of a container that was killed.
KILLED = 137
_WAIT = 10.0
_RETRY = 0.2
#: Seconds that an engine may be away (a restart) before its container is given up.
_PATIENCE = 60.0


class ContainerWatch:
    """Asks about one container, by its name. For the one thread that `client` is for."""

    def __init__(self, client: docker.APIClient, name: str) -> None:
        self.name = name
        #: Whether the engine was away meanwhile.
        self.broken = False
        self._client = client
        self._answered = time.monotonic()
        #: The engine's word once it has ended, which is its last.
        self._last: dict[str, Any] | None = None

    def wait_until(self, deadline: float) -> bool:
        """Wait for the container's end, at most until `deadline` (`time.monotonic`); did it come?

        Raises ServiceError when the engine is away for a minute.
        """
        while (remaining := deadline - time.monotonic()) > 0:
            patience = max(0.01, min(_WAIT, remaining))
            try:
                # A float is fine for the HTTP request behind it; the stubs say int.
                answer = self._client.wait(self.name, timeout=patience)  # type: ignore[arg-type]
                if self._is_success(answer):
                    return True
            except (requests.ConnectionError, requests.Timeout) as exc:
                # Nothing within the time, by either name, or the engine is away: ask.
                self.broken |= not _is_timeout(exc)
            except (DockerException, requests.RequestException):
                logger.debug("waiting for %s failed", self.name, exc_info=True)
                self.broken = True
            if self._has_ended(deadline):
                return True
        return False

    def state(self) -> dict[str, Any]:
        """The engine's word on the container. Raises ServiceError when it is away for a minute."""
        while self._last is None:
            try:
                return self.inspect()
            except ServiceError as exc:
                self._note_absence(exc)
                time.sleep(_RETRY)
        return self._last

    def inspect(self) -> dict[str, Any]:
        """The same, asked once. Raises ServiceError."""
        with engine_errors("asking for the container's state"):
            state: dict[str, Any] = self._client.inspect_container(self.name)["State"]
        self._answered = time.monotonic()
        return state

    def signal(self, name: str, deadline: float) -> None:
        """Have the engine send it; a failure is left to the removal, which kills too."""
        with self.timeout(max(0.1, min(SLOW_ENGINE, deadline - time.monotonic()))):
            try:
                self._client.kill(self.name, name)
            except (DockerException, requests.RequestException) as exc:
                logger.debug("%s to %s: %s", name, self.name, one_line(exc))

    def outcome(
        self, state: dict[str, Any], metrics: dict[str, Any], since: float
    ) -> ContainerEnded:
        """How an ended container's program ended that began at `since`, as of `time.time`.

        Raises ServiceError, also when the engine ended it by its own end.
        """
        code = int(state["ExitCode"])
        told = self._events(since) if code else []
        ended = ContainerEnded(
            exit_code=code,
            oom_killed=bool(state.get("OOMKilled")) or ("oom", "") in told,
            foreign_signals=tuple(number for what, number in told if what == "kill"),
            error=str(state.get("Error") or ""),
            metrics=metrics,
        )
        if code and not ended.oom_killed and self._engine_went(ended):
            raise ServiceError(
                f"the Docker Engine stopped or restarted while the container ran, and ended it "
                f"(exit code {code})"
            )
        return ended

    @contextmanager
    def timeout(self, seconds: float) -> Iterator[None]:
        """Let each request of the block take no longer than that."""
        before = self._client.timeout
        self._client.timeout = seconds  # type: ignore[assignment]
        try:
            yield
        finally:
            self._client.timeout = before

    def _engine_went(self, ended: ContainerEnded) -> bool:
        """Whether the engine was away, or is going: its last act is to signal its containers.

        A program may end with any code then, as one that handles SIGTERM does.
        """
        if self.broken or not ended.foreign_signals:
            return self.broken
        try:
            # One that stops serves the connections that it has, and takes no new ones.
            with connected() as client, engine_errors("asking for the engine"):
                client.ping()
        except ServiceError:
            return True
        return False

    def _is_success(self, answer: Mapping[str, Any]) -> bool:
        """Whether a wait's answer leaves no question: with any other code, the state tells why."""
        # An engine that was away meanwhile is asked for all that it has to say.
        if self.broken or answer.get("StatusCode") != 0 or answer.get("Error"):
            return False
        self._last = {"Running": False, "ExitCode": 0}
        return True

    def _has_ended(self, deadline: float) -> bool:
        """Ask; an engine that does not answer by `deadline` has not said so."""
        remaining = max(0.1, min(REQUEST_TIMEOUT, deadline - time.monotonic()))
        with self.timeout(remaining):
            try:
                state = self.inspect()
            except ServiceError as exc:
                self._note_absence(exc)
                time.sleep(min(_RETRY, remaining))
                return False
        self._last = None if state["Running"] else state
        return self._last is not None

    def _note_absence(self, error: ServiceError) -> None:
        """Raises `error` when the engine is away for a minute."""
        self.broken = True
        if time.monotonic() - self._answered > _PATIENCE:
            raise error

    def _events(self, since: float) -> list[tuple[str, str]]:
        """What happened to it besides, from then on: (``oom`` or ``kill``, the signal's name)."""
        wanted = {"container": self.name, "event": ["oom", "kill"]}
        # Fractions too, or what happened just now is missed.
        begin, end = f"{since:.6f}", f"{time.time():.6f}"
        if is_podman(self._client):
            # It takes none, and answers nothing once the end has passed: until the second is full.
            begin, end = str(int(since)), str(int(time.time()) + 1)
        with engine_errors("asking what happened to the container"):
            # The stubs say int.
            events = self._client.events(  # type: ignore[call-overload]
                since=begin,
                until=end,
                filters=wanted,
                decode=True,
            )
            return [_event(event) for event in events]


def _event(event: dict[str, Any]) -> tuple[str, str]:
    attributes = (event.get("Actor") or {}).get("Attributes") or {}
    number = str(attributes.get("signal", ""))
    try:
        name = signal.Signals(int(number)).name
    except ValueError:
        name = number or UNTOLD_SIGNAL
    return str(event.get("Action", "")), name


def _is_timeout(exc: requests.RequestException) -> bool:
    """Whether this is no more than an answer that did not come in time."""
    inner = exc.args[0] if exc.args else None
    return isinstance(exc, requests.ReadTimeout) or isinstance(inner, ReadTimeoutError)
