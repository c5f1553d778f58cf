"""Copying what a container printed to a file, in blocks, and noticing when some of it is missing.

The SDK's own log stream takes a dropped connection for the end of the output, and waits without a
limit; so the same request is made through its session, and the frames are read here.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import docker
import requests

from messaging.errors import ServiceError

_BLOCK = 1 << 20
_HEADER = struct.Struct(">BxxxL")
#: Seconds without a byte after which the engine counts as away.
_SILENCE = 60.0


def copy_output(client: docker.APIClient, container: str, target: Path) -> None:
    """Write all that an ended container printed, both streams in order of time, to `target`.

    Raises ServiceError for a stream that breaks off, and what `requests` raises.
    """
    url = f"{client.base_url}/v{client.api_version}/containers/{container}/logs"
    wanted = {"stdout": 1, "stderr": 1}
    with client.get(url, params=wanted, stream=True, timeout=_SILENCE) as response:
        response.raise_for_status()
        with target.open("wb") as file:
            _copy_frames(response, file)


def _copy_frames(response: requests.Response, file: BinaryIO) -> None:
    stream = _Stream(response)
    while header := stream.read(_HEADER.size):
        if len(header) < _HEADER.size:
            raise ServiceError("the container's output broke off: the engine is in trouble")
        _, left = _HEADER.unpack(header)
        while left:
            block = stream.read(min(left, _BLOCK))
            if not block:
                raise ServiceError("the container's output broke off: the engine is in trouble")
            file.write(block)
            left -= len(block)


class _Stream:
    """Reads exactly what is asked for, unless the end comes first."""

    def __init__(self, response: requests.Response) -> None:
        self._blocks = response.iter_content(_BLOCK)
        self._block = b""
        self._position = 0

    def read(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size:
            if self._position == len(self._block):
                self._block, self._position = next(self._blocks, b""), 0
                if not self._block:
                    break
            part = self._block[self._position : self._position + size]
            parts.append(part)
            self._position += len(part)
            size -= len(part)
        return b"".join(parts)
