"""Bytes that arrive on fsspec's event loop, written by the thread that wants them."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Awaitable, Callable
from typing import Any

from fsspec.asyn import sync

from storage_backends.objects.store import Sink
from storage_backends.watch import Watch

_BLOCK = 1 << 20


def copy_stream(
    loop: AbstractEventLoop,
    read: Callable[[int], Awaitable[bytes]],
    close: Callable[[], Any],
    into: Sink,
    watch: Watch,
) -> int:
    """Write all that `read` gives on `loop` to `into`; returns the bytes.

    `close` is called on the loop at the end, however that comes. The loop does nothing but receive:
    it serves all threads.
    """

    async def block() -> bytes:
        # The network gives 64 KiB or so at a time; a hop between threads for each would be slow.
        pieces, size = [], 0
        while size < _BLOCK and (piece := await read(_BLOCK - size)):
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)

    copied = 0
    try:
        while data := sync(loop, block):
            into.write(data)
            copied += len(data)
            watch.moved(len(data))
    finally:
        loop.call_soon_threadsafe(close)
    return copied
