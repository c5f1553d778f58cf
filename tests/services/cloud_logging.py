"""A fake Cloud Logging: its gRPC method for writing entries, in this process.

Follows the public reference: the log's name and the resource are checked, entries of the same
insert id are stored once, invalid ones are refused by themselves. And troubles: it may be slow, or
refuse with any code.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from google.cloud.logging_v2.types import (
    WriteLogEntriesPartialErrors,
    WriteLogEntriesRequest,
    WriteLogEntriesResponse,
)
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status  # type: ignore[import-untyped]

#: Bytes of an entry, of a request.
_MAX_ENTRY, _MAX_REQUEST = 256_000, 10_000_000


class FakeCloudLogging:
    """The server; all attributes may be changed while it serves."""

    def __init__(self) -> None:
        self._stored: dict[str, Any] = {}
        self._lock = threading.Lock()
        #: Requests that came, refused ones too.
        self.requests = 0
        #: Refuse with this code.
        self.refuse: grpc.StatusCode | None = None
        #: Answers wait for it.
        self.may_answer = threading.Event()
        self.may_answer.set()
        #: Store what came, and lose this many answers.
        self.lose_answers = 0
        #: Entries with this in their text are invalid.
        self.unwanted = "\0"
        self._server = grpc.server(ThreadPoolExecutor(8))
        handler = grpc.unary_unary_rpc_method_handler(
            self._write,
            request_deserializer=WriteLogEntriesRequest.deserialize,
            response_serializer=WriteLogEntriesResponse.serialize,
        )
        service = grpc.method_handlers_generic_handler(
            "google.logging.v2.LoggingServiceV2", {"WriteLogEntries": handler}
        )
        self._server.add_generic_rpc_handlers((service,))
        port = self._server.add_insecure_port("127.0.0.1:0")
        self.url = f"http://127.0.0.1:{port}"

    @property
    def entries(self) -> list[Any]:
        """What is stored: LogEntry messages, with the request's labels and resource, by time."""
        with self._lock:
            return sorted(self._stored.values(), key=lambda entry: entry.timestamp)

    def texts(self, **labels: str) -> list[str]:
        """The texts of the entries that have these labels."""
        wanted = labels.items()
        return [it.text_payload for it in self.entries if wanted <= dict(it.labels).items()]

    def start(self) -> None:
        """Answer from now on."""
        self._server.start()

    def close(self) -> None:
        """Be gone at once."""
        self.may_answer.set()
        self._server.stop(None).wait()

    def _write(self, request: Any, context: grpc.ServicerContext) -> WriteLogEntriesResponse:
        with self._lock:
            self.requests += 1
        self.may_answer.wait(60.0)
        if self.refuse is not None:
            context.abort(self.refuse, "Permission 'logging.logEntries.create' denied.")
        self._check(request, context)
        wrong = {n for n, it in enumerate(request.entries) if self.unwanted in it.text_payload}
        with self._lock:
            for number, entry in enumerate(request.entries):
                if number in wrong:
                    continue
                entry.labels = {**request.labels, **entry.labels}
                entry.resource = request.resource
                self._stored[entry.insert_id] = entry
            lost, self.lose_answers = self.lose_answers > 0, max(0, self.lose_answers - 1)
        if wrong:
            context.abort_with_status(rpc_status.to_status(_partial(wrong)))
        if lost:
            context.abort(grpc.StatusCode.UNAVAILABLE, "The service is currently unavailable.")
        return WriteLogEntriesResponse()

    def _check(self, request: Any, context: grpc.ServicerContext) -> None:
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        if not re.fullmatch(r"projects/[a-z0-9-]+/logs/[\w.%-]+", request.log_name):
            context.abort(invalid, f"bad log_name {request.log_name!r}")
        if not request.resource.type or not request.resource.labels.get("project_id"):
            context.abort(invalid, "no resource")
        sizes = [len(type(entry).serialize(entry)) for entry in request.entries]
        if max(sizes, default=0) > _MAX_ENTRY or sum(sizes) > _MAX_REQUEST:
            context.abort(invalid, "Log entry with size exceeds maximum size")


def _partial(wrong: set[int]) -> Any:
    """The status of a request of which these entries were invalid, and the others were stored."""
    why = Status(code=grpc.StatusCode.INVALID_ARGUMENT.value[0], message="Log entry is invalid")
    errors = WriteLogEntriesPartialErrors(log_entry_errors=dict.fromkeys(wrong, why))
    status = Status(code=why.code, message=why.message)
    status.details.add().Pack(WriteLogEntriesPartialErrors.pb(errors))
    return status


@contextmanager
def serving_cloud_logging() -> Iterator[FakeCloudLogging]:
    """A fake Cloud Logging for a while."""
    server = FakeCloudLogging()
    server.start()
    try:
        yield server
    finally:
        server.close()
