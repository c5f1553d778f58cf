"""What a container prints: followed while it runs, to a file and to whoever wants the lines.

The follower attaches before the container starts, so it misses nothing, and takes the end of its
stream for no more than that. Whether the container has ended is for the engine to say; a stream
that broke before that is read again, whole, from the engine's log.
"""

from __future__ import annotations

import contextlib
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

import docker
import requests

from messaging.errors import ServiceError

#: Given the stream (1 is stdout, 2 is stderr) and bytes, from the follower's thread.
Listener = Callable[[int, bytes], None]

_BLOCK = 1 << 20
_HEADER = struct.Struct(">BxxxL")
#: Seconds without a byte after which the engine counts as away.
_SILENCE = 60.0


class _Source(Protocol):
    def readinto(self, buffer: memoryview, /) -> int | None: ...


class OutputFollower:
    """Copies a container's output to a file as it comes, in a thread of its own."""

    def __init__(
        self, client: docker.APIClient, container: str, target: Path, listen: Listener | None
    ) -> None:
        """Attach to a container that was made and not started. Raises what the SDK raises.

        `client` is used here only; the connection is another one.
        """
        wanted = {"stdout": 1, "stderr": 1, "stream": 1}
        self._socket = client.attach_socket(container, params=wanted)
        self._target = target
        self._listen = listen
        self._whole = False
        self._thread = threading.Thread(target=self._follow, name="container-output", daemon=True)
        self._thread.start()

    def finish(self, patience: float) -> bool:
        """After the container's end: wait for the rest; whether the stream ended as it should.

        Gives up when nothing came for `patience` seconds after that.
        """
        self._thread.join(patience)
        if self._thread.is_alive():
            self.close()
            return False
        return self._whole

    def close(self) -> None:
        """Let go of the connection."""
        with contextlib.suppress(OSError):
            self._socket.close()

    def _follow(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            with self._target.open("wb") as file:
                whole = copy_frames(_Frames(self._socket), file, self._listen)
            # Only now is it all written: the end may not fit on the disk.
            self._whole = whole
            return
        # Unread, what it still prints would hold up the program until its time is over.
        with contextlib.suppress(OSError, ValueError):
            while self._socket.read(_BLOCK):
                pass


def copy_output(client: docker.APIClient, container: str, target: Path) -> None:
    """Write all that an ended container printed, both streams in order of time, to `target`.

    Raises ServiceError for a stream that breaks off, and what `requests` raises.
    """
    # The SDK's own log stream takes a dropped connection for the end of the output, and waits
    # without a limit; so the same request is made through its session.
    url = f"{client.base_url}/v{client.api_version}/containers/{container}/logs"
    wanted = {"stdout": 1, "stderr": 1}
    with client.get(url, params=wanted, stream=True, timeout=_SILENCE) as response:
        response.raise_for_status()
        # A new file: a follower whose stream hangs may still have the old one.
        target.unlink(missing_ok=True)
        with target.open("wb") as file:
            if not copy_frames(_Frames(_Chunks(response)), file, None):
                raise ServiceError("the container's output broke off: the engine is in trouble")


def copy_frames(frames: _Frames, file: BinaryIO, listen: Listener | None) -> bool:
    """Write the payload of all frames to `file`; whether they ended between two of them."""
    while (head := frames.take(_HEADER.size)) is not None:
        stream, left = _HEADER.unpack(head)
        while left:
            part = frames.some(left)
            if not part:
                return False
            file.write(part)
            if listen is not None:
                listen(stream, bytes(part))
            left -= len(part)
    return frames.empty


class _Frames:
    """Reads a source through one buffer, however long it is."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._buffer = memoryview(bytearray(_BLOCK))
        self._start = self._end = 0

    @property
    def empty(self) -> bool:
        """Whether nothing is left over."""
        return self._start == self._end

    def take(self, size: int) -> bytes | None:
        """Exactly `size` bytes, or None at the end of the source."""
        while self._end - self._start < size:
            if not self._fill():
                return None
        self._start += size
        return bytes(self._buffer[self._start - size : self._start])

    def some(self, size: int) -> memoryview:
        """At most `size` bytes, valid until the next call; none at the end of the source."""
        if self.empty and not self._fill():
            return self._buffer[:0]
        part = self._buffer[self._start : min(self._start + size, self._end)]
        self._start += len(part)
        return part

    def _fill(self) -> bool:
        rest = self._end - self._start
        self._buffer[:rest] = self._buffer[self._start : self._end]
        self._start, self._end = 0, rest
        count = self._source.readinto(self._buffer[rest:]) or 0
        self._end += count
        return count > 0


class _Chunks:
    """A response's body as a source."""

    def __init__(self, response: requests.Response) -> None:
        self._blocks = response.iter_content(_BLOCK)
        self._block = memoryview(b"")

    def readinto(self, buffer: memoryview) -> int:
        if not self._block:
            self._block = memoryview(next(self._blocks, b""))
        count = min(len(buffer), len(self._block))
        buffer[:count] = self._block[:count]
        self._block = self._block[count:]
        return count
