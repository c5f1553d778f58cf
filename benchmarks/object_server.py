"""A server of objects from memory, cheap enough not to be what is measured.

    python -m benchmarks.object_server [--delay-ms 20] [--large-mib 1024] [--files 1000]

Speaks as much HTTP and of Google Cloud Storage's JSON API as clients need for files, on loopback.
Prints its address. The bucket holds ``tree/`` (files of 10 KB) and ``large``. Each request is
answered `--delay-ms` late; requests overlap.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.files import ROOT, content, file_name
from benchmarks.gcs_answers import Answer, Api, Request, Upload
from benchmarks.memory_bucket import LargeContent, MemoryBucket

_REASONS = {status.value: status.phrase for status in http.HTTPStatus}


class Connection(asyncio.Protocol):
    """One connection: requests and answers in turns."""

    def __init__(self, api: Api, large: LargeContent, delay: float) -> None:
        self._api = api
        self._large = large
        self._delay = delay
        self._head = b""
        self._request: Request | None = None
        self._upload: Upload | None = None
        self._missing = 0
        self._transport: asyncio.Transport | None = None
        self._sending: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio's interface."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio's interface."""
        del exc
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Part of asyncio's interface."""
        if self._upload is None:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            self._request = _request(self._head[:end])
            self._upload = self._api.receiver(self._request)
            self._missing = int(self._request.headers.get("content-length", "0"))
            data, self._head = self._head[end + 4 :], b""
        if data:
            self._upload.add(data)
            self._missing -= len(data)
        if self._missing <= 0:
            request, upload, self._upload = self._request, self._upload, None
            assert request is not None
            if self._delay:
                loop = asyncio.get_running_loop()
                loop.call_later(self._delay, self._answer, request, upload)
            else:
                self._answer(request, upload)

    def _answer(self, request: Request, upload: Upload) -> None:
        if self._transport is None:
            return
        try:
            answer = self._api.answer(request, upload)
        except (ValueError, KeyError) as exc:
            answer = Answer(400, repr(exc).encode())
        length = answer.count or len(answer.body)
        lines = [f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        head = ("\r\n".join([*lines, f"Content-Length: {length}"]) + "\r\n\r\n").encode()
        self._transport.write(head + answer.body)
        if answer.count:
            # Kept, or the loop's weak reference is all there is.
            self._sending = asyncio.create_task(self._send(answer))

    async def _send(self, answer: Answer) -> None:
        with contextlib.suppress(ConnectionError, RuntimeError):  # the client went away
            assert self._transport is not None
            loop = asyncio.get_running_loop()
            await loop.sendfile(self._transport, self._large.file, answer.start, answer.count)


def _request(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Request(method, target, headers)


async def _serve(arguments: argparse.Namespace) -> None:
    large = LargeContent(arguments.large_mib << 20)
    bucket = MemoryBucket(large)
    bucket.add_large("large")
    for number in range(arguments.files):
        bucket.put(f"tree/{file_name(number)}", content(number))
    api = Api(bucket)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(api, large, arguments.delay_ms / 1e3), "127.0.0.1", 0
    )
    print("http://{}:{}".format(*server.sockets[0].getsockname()), flush=True)
    await server.serve_forever()


@dataclass(frozen=True, slots=True)
class Server:
    """A server in a process of its own."""

    url: str
    pid: int


@contextlib.contextmanager
def serving(*, delay_ms: float = 0, large_mib: int = 1, files: int = 0) -> Iterator[Server]:
    """A running server; ends with the block. Raises RuntimeError when it does not start."""
    command = [sys.executable, "-m", "benchmarks.object_server", "--delay-ms", str(delay_ms)]
    command += ["--large-mib", str(large_mib), "--files", str(files)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise RuntimeError(f"the server of objects ended at once: {process.wait(60)}")
        yield Server(url, process.pid)
    finally:
        process.terminate()
        process.wait(60)


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--delay-ms", type=float, default=0)
    parser.add_argument("--large-mib", type=int, default=1024)
    parser.add_argument("--files", type=int, default=1000)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
