"""Many files of one call at the same time, for backends that have a pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from storage_backends.contract import StorageBackend, Transfer, Upload
from storage_backends.pool import TransferPool
from storage_backends.watch import Watch


class SideBySide(StorageBackend):
    """A backend that does many fetches or stores of one call on the threads of its pool.

    The first error stops the others.
    """

    _pool: TransferPool

    def fetch_all(
        self, wanted: Mapping[str, Path], *, watch: Watch | None = None, read_only: bool = False
    ) -> dict[str, Transfer]:
        """See the contract."""
        part = (watch or Watch()).part()
        calls = [
            partial(self.fetch, name, target, watch=part, read_only=read_only)
            for name, target in wanted.items()
        ]
        return dict(zip(wanted, self._pool.run(calls, part.stop), strict=True))

    def store_all(
        self, uploads: Sequence[Upload], *, watch: Watch | None = None
    ) -> dict[str, Transfer]:
        """See the contract."""
        part = (watch or Watch()).part()
        calls = [
            partial(self.store, upload.source, upload.name, within=upload.within, watch=part)
            for upload in uploads
        ]
        names = [upload.name for upload in uploads]
        return dict(zip(names, self._pool.run(calls, part.stop), strict=True))
