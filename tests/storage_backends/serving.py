"""A transfer server in this process, as the transfer process has it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage_backends.contract import StorageBackend
from storage_backends.service.backends import OpenBackends, Opener
from storage_backends.service.server import TransferServer


@contextmanager
def serving(opener: Opener) -> Iterator[str]:
    """Serves what `opener` opens; yields the address."""
    # Not pytest's directory: the path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="portfire-") as directory:
        server = TransferServer(str(Path(directory) / "socket"), OpenBackends(opener))
        server.start()
        try:
            yield server.address
        finally:
            server.close()


@contextmanager
def serving_one(backend: StorageBackend) -> Iterator[str]:
    """Serves `backend`, whatever is asked for."""
    with serving(lambda _name, _options: backend) as address:
        yield address
