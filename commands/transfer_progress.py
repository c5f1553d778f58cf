"""A line on the terminal about a transfer under way."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status

from storage_backends.watch import Watch

_INTERVAL = 0.2


@contextmanager
def shown_progress() -> Iterator[Watch]:
    """A Watch whose bytes are shown on standard error while the block runs, if that is a terminal.

    Leaving the block by an exception, Ctrl-C too, stops the transfer.
    """
    watch, ended = Watch(), threading.Event()
    thread = None
    if sys.stderr.isatty():
        thread = threading.Thread(target=_show, args=(watch, ended), name="progress")
        thread.start()
    try:
        yield watch
    except BaseException:
        watch.stop()
        raise
    finally:
        ended.set()
        if thread is not None:
            thread.join()


def _show(watch: Watch, ended: threading.Event) -> None:
    began = time.monotonic()
    with Status("", console=Console(stderr=True)) as status:
        while not ended.wait(_INTERVAL):
            seconds = time.monotonic() - began
            status.update(f"{watch.bytes / 1e6:,.1f} MB, {watch.bytes / 1e6 / seconds:,.1f} MB/s")
