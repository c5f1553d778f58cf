"""The transfer process itself: what runs in it, and how it ends."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import shutil
import signal
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from executor.lifeline import tie_to_executor
from storage_backends.cache.backend import CachedBackend
from storage_backends.cache.files import InputCache
from storage_backends.contract import StorageBackend
from storage_backends.pool import TransferPool
from storage_backends.registry import open_backend
from storage_backends.service.backends import OpenBackends, backend_key
from storage_backends.service.server import TransferServer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """What a transfer process is told when it starts."""

    threads: int
    #: Where the input cache is; each process has a share of it to itself.
    cache_directory: Path
    #: 0: there is no input cache.
    cache_bytes: int


def transfer_main(pipe: Connection, address: str, options: TransferOptions) -> None:
    """Body of the transfer process: serves until the executor closes the pipe, or dies."""
    try:
        tie_to_executor(partial(_end, address))
        for number in (signal.SIGTERM, signal.SIGINT):
            # A service manager sends it to all processes: jobs that may finish need this one. Not
            # SIG_IGN, which the programs of backends would inherit.
            signal.signal(number, lambda *_: None)
        _allow_many_descriptors()
        server = _server(address, options)
        server.start()
        pipe.send(None)
        with contextlib.suppress(EOFError, OSError):
            while True:  # the executor asks whether this process works
                pipe.send(pipe.recv())
        server.close()
    except OSError as exc:
        pipe.send(str(exc))
    except BaseException:  # noqa: BLE001 - process top: say why before dying
        traceback.print_exc()
    finally:
        _end(address)


def _server(address: str, options: TransferOptions) -> TransferServer:
    pool = TransferPool(options.threads)
    cache = _cache(options)

    def opener(name: str, backend_options: Mapping[str, Any]) -> StorageBackend:
        backend = open_backend(name, backend_options, pool)
        if cache is None:
            return backend
        return CachedBackend(backend, cache, backend_key(name, backend_options), pool)

    return TransferServer(address, OpenBackends(opener))


def _cache(options: TransferOptions) -> InputCache | None:
    if not options.cache_bytes:
        return None
    try:
        return InputCache(options.cache_directory, options.cache_bytes)
    except OSError as exc:
        log.error("no input cache: %s cannot be used: %s", options.cache_directory, exc)
        return None


def _end(address: str) -> None:
    # The executor may be dead, and then nobody else removes it.
    shutil.rmtree(Path(address).parent, ignore_errors=True)
    # Not `sys.exit`, which waits for transfers that stall.
    os._exit(0)


def _allow_many_descriptors() -> None:
    """Each slot has a connection here, and each thread one to a store and a file or two."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
