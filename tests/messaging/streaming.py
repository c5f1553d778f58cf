"""A bare StreamingPull, without the client library's own flow control."""

from __future__ import annotations

import threading
from typing import Any

from google.pubsub_v1.types import StreamingPullRequest

from tests.messaging.pubsub import PubsubServer


class BareStream:
    """One StreamingPull call, read in a thread of its own. A context manager."""

    def __init__(self, server: PubsubServer, subscription: str, **settings: Any) -> None:
        first: dict[str, Any] = {"subscription": subscription, "stream_ack_deadline_seconds": 60}
        self._server = server
        self._requests = [StreamingPullRequest({**first, **settings})]
        self._changed = threading.Condition()
        self._closed = False
        self._received: list[Any] = []
        self._error: Exception | None = None

    def __enter__(self) -> BareStream:
        self._call = self._server.subscriber.streaming_pull(self._sent(), retry=None, timeout=60)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._call.cancel()
        self._thread.join(20)

    def send(self, **fields: Any) -> None:
        with self._changed:
            self._requests.append(StreamingPullRequest(fields))
            self._changed.notify_all()

    def receive(self, count: int) -> list[Any]:
        with self._changed:
            self._changed.wait_for(lambda: len(self._received) >= count or self._error, 20)
            if self._error:
                raise self._error
            assert len(self._received) >= count
            taken, self._received = self._received[:count], self._received[count:]
            return taken

    def silent(self, seconds: float) -> bool:
        """Whether nothing comes for so long: the absence of an event can only be waited out."""
        with self._changed:
            return not self._changed.wait_for(lambda: self._received, seconds)

    def _sent(self) -> Any:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._requests)
                if self._closed:
                    return
                request = self._requests.pop(0)
            yield request

    def _read(self) -> None:
        try:
            for response in self._call:
                with self._changed:
                    self._received += response.received_messages
                    self._changed.notify_all()
        except Exception as exc:  # noqa: BLE001 - thread top: `receive` raises it
            with self._changed:
                self._error = exc
                self._changed.notify_all()
