"""What wraps a store in the transfer process: server and client, and the input cache."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from storage_backends import StorageBackend, open_backend
from storage_backends.cache.backend import CachedBackend
from storage_backends.cache.files import InputCache
from storage_backends.pool import TransferPool
from storage_backends.service.client import RemoteBackend
from tests.storage_backends.conformance import behaviours
from tests.storage_backends.kinds import directories
from tests.storage_backends.serving import serving


@contextmanager
def _opened(directory: Path) -> Iterator[StorageBackend]:
    with (
        closing(TransferPool()) as pool,
        serving(lambda name, options: open_backend(name, options, pool)) as address,
        RemoteBackend(lambda: address, "nfs", {"workdir": str(directory)}) as backend,
    ):
        yield backend


@contextmanager
def _cached(directory: Path) -> Iterator[StorageBackend]:
    with (
        tempfile.TemporaryDirectory() as cache_directory,
        closing(TransferPool()) as pool,
        closing(InputCache(Path(cache_directory), 1_000_000_000)) as cache,
        open_backend("nfs", {"workdir": str(directory)}, pool) as inner,
        CachedBackend(inner, cache, "nfs", pool) as backend,
    ):
        yield backend


_NFS = next(kind for kind in directories.KINDS if kind.name == "nfs")
KINDS = [
    replace(
        _NFS,
        name="nfs through the transfer process",
        opened=_opened,
        # The bytes moved are told now and then: a quick transfer has ended before.
        lacks=_NFS.lacks | {behaviours.STOPS},
        documented=None,
    ),
    replace(_NFS, name="nfs through the input cache", opened=_cached, documented=None),
]
