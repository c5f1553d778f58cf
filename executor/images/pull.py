"""Pulling one image: tries, credentials, progress."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import docker
import requests
from docker.auth import encode_header

from executor.containers.engine import REQUEST_TIMEOUT, engine_errors
from executor.context import JobContext
from executor.failures import one_line
from executor.images.credentials import registry_credentials
from executor.images.pull_failures import PullOutageError, pull_failure
from executor.images.reference import ImageReference
from messaging.errors import ServiceError

logger = logging.getLogger(__name__)

#: Seconds between two events of progress.
PROGRESS_INTERVAL = 5.0
#: Seconds without a word from the engine after which a pull is given up: it tells of each layer's
#: progress, but says nothing while it checks a large one.
SILENCE = 300.0


@dataclass(frozen=True, kw_only=True)
class PullRetries:
    """How often a pull is tried, and the waits between; seconds."""

    tries: int = 5
    #: The first wait; each is twice the one before, less a random part of up to a half.
    first: float = 1.0
    #: Who is asked by a registry to wait for longer gives up.
    longest: float = 60.0

    def pause(self, tried: int, exc: PullOutageError) -> float | None:
        """Seconds to wait after try number `tried` failed; None to give up."""
        if not exc.again or tried >= self.tries or (exc.wait or 0.0) > self.longest:
            return None
        pause = min(self.longest, self.first * 2.0 ** (tried - 1))
        return max(exc.wait or 0.0, pause * random.uniform(0.5, 1.0))


def pull_image(
    client: docker.APIClient,
    reference: ImageReference,
    *,
    platform: str | None,
    context: JobContext,
    retries: PullRetries,
) -> None:
    """Pull it; the context's events tell of the start, the progress and the end.

    Blocks for minutes; an exception from a signal handler ends it, and the engine drops a pull that
    nobody listens to. Raises PullRefusedError or PullOutageError. Used from the job's main thread.
    """
    progress = PullProgress(context.emit, str(reference))
    progress.start()
    try:
        _try_until_pulled(client, reference, platform, progress, retries)
    except BaseException as exc:
        progress.finish(error=one_line(exc))
        raise
    progress.finish()


def _try_until_pulled(
    client: docker.APIClient,
    reference: ImageReference,
    platform: str | None,
    progress: PullProgress,
    retries: PullRetries,
) -> None:
    tried = 0
    while True:
        tried += 1
        try:
            return _pull_once(client, reference, platform, progress)
        except PullOutageError as exc:
            pause = retries.pause(tried, exc)
            if pause is None:
                raise
            logger.info("again in %.1f s: %s", pause, exc)
        time.sleep(pause)


def _pull_once(
    client: docker.APIClient,
    reference: ImageReference,
    platform: str | None,
    progress: PullProgress,
) -> None:
    with _asked(client, reference, platform) as response:
        if response.status_code >= 400:
            raise pull_failure(
                reference,
                _message(response),
                status=response.status_code,
                wait=_retry_after(response),
            )
        for line in _lines(response, reference):
            if "error" in line:
                raise pull_failure(reference, str(line["error"]))
            progress.hear(line)


def _asked(
    client: docker.APIClient, reference: ImageReference, platform: str | None
) -> requests.Response:
    """The engine's answer, of which nothing is read yet.

    By the session itself: the SDK's own method looks for credentials in its own way, and waits for
    an engine that fell silent for ever.
    """
    parameters = {"fromImage": reference.repository, "tag": reference.tag_or_digest}
    if platform is not None:
        parameters["platform"] = platform
    header = encode_header(registry_credentials(reference.registry))
    try:
        with engine_errors(f"pulling image '{reference}'"):
            return client.post(
                f"{client.base_url}/v{client.api_version}/images/create",
                params=parameters,
                headers={"X-Registry-Auth": header.decode()},
                stream=True,
                timeout=(REQUEST_TIMEOUT, SILENCE),
            )
    except ServiceError as exc:
        if isinstance(exc.__cause__, requests.ReadTimeout):
            raise pull_failure(reference, f"not a word of it for {SILENCE:g} s") from exc
        raise PullOutageError(str(exc)) from exc


def _message(response: requests.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code} {response.reason}"


def _retry_after(response: requests.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None


def _lines(response: requests.Response, reference: ImageReference) -> Iterator[Mapping[str, Any]]:
    try:
        for line in response.iter_lines():
            if line.strip():
                yield json.loads(line)
    except (requests.RequestException, ValueError) as exc:
        said = f"the engine's answer broke off ({one_line(exc)})"
        raise pull_failure(reference, said) from exc


class PullProgress:
    """What is heard of a pull, told as events, the progress every 5 s at most."""

    def __init__(
        self,
        emit: Callable[..., None],
        image: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._emit = emit
        self._image = image
        self._clock = clock
        self._began = self._told = clock()
        #: By layer: bytes that are here, and bytes in all as far as they are known.
        self._layers: dict[str, tuple[int, int]] = {}

    def start(self) -> None:
        """The pull begins."""
        self._emit("job.image-pull.started", image=self._image)

    def hear(self, line: Mapping[str, Any]) -> None:
        """Take in one line of the engine's answer."""
        self._count(str(line.get("id", "")), str(line.get("status", "")), line)
        now = self._clock()
        if now - self._told >= PROGRESS_INTERVAL:
            self._told = now
            self._emit("job.image-pull.progress", **self._facts())

    def finish(self, error: str | None = None) -> None:
        """The pull ended, well or (with `error`) not."""
        self._emit("job.image-pull.finished", **self._facts(), error=error)

    def _count(self, layer: str, status: str, line: Mapping[str, Any]) -> None:
        if status in ("Pulling fs layer", "Already exists"):
            self._layers.setdefault(layer, (0, 0))
        elif layer in self._layers:
            detail = line.get("progressDetail") or {}
            total = max(self._layers[layer][1], int(detail.get("total") or 0))
            # Once it is here, the numbers are those of unpacking it.
            here = int(detail.get("current") or 0) if status == "Downloading" else total
            self._layers[layer] = (max(self._layers[layer][0], here), total)

    def _facts(self) -> dict[str, Any]:
        return {
            "image": self._image,
            "bytes": sum(here for here, _ in self._layers.values()),
            "total": sum(total for _, total in self._layers.values()),
            "layers": len(self._layers),
            "time": self._clock() - self._began,
        }
