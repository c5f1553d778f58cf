"""Which storage a job uses: its own choice, else its executor's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from executor.context import JobContext
from storage_backends.contract import StorageBackend
from storage_backends.paths import below
from storage_backends.places.choice import Defaults, Place, place

#: What the machine says that it is, where there is one; no network is asked.
_PRODUCT = Path("/sys/class/dmi/id/product_name")


@dataclass(frozen=True)
class JobStorage:
    """A backend, and the job's place in it."""

    backend: StorageBackend
    #: Empty, or ends in ``/``.
    prefix: str = ""
    #: Where the job works if nothing is to be staged.
    directory: Path | None = None
    #: What people call the kind of store (``gcs``, ``s3``, ``nfs``), for events.
    kind: str = ""

    @classmethod
    def of(cls, where: Place, context: JobContext) -> JobStorage:
        """The storage at `where`. Raises UsageError, StorageTransientError, PathError."""
        backend = context.open_storage(where.backend, where.options)
        shared = backend.shared_directory
        directory = below(shared, where.prefix, "storage prefix") if shared else None
        return cls(backend, where.prefix, directory, _kind(where))


def job_storage(
    context: JobContext,
    *,
    storage: object = None,
    options: Mapping[str, Any] | None = None,
    prefix: object = None,
    launch_directory: Path | None = None,
) -> JobStorage | None:
    """The storage for a job that names `storage`, `options` and `prefix`, or does not.

    `storage_backends.places.choice` says what these mean. For ``local`` without a ``workdir`` the
    place is below `launch_directory`. None means that nobody named a place: the job works in its
    launch directory. Raises UsageError, PathError, StorageTransientError.
    """
    meant = place(
        storage,
        options or {},
        prefix,
        defaults=Defaults(context.storage, context.storage_options),
        environ=os.environ,
        on_google=_on_google_cloud(),
    )
    if meant.backend == "local" and meant.options.get("workdir") is None:
        if not meant.prefix:
            return None
        workdir = str(launch_directory) if launch_directory else None
        meant = Place("local", {"workdir": workdir}, meant.prefix)
    return JobStorage.of(meant, context)


def _kind(where: Place) -> str:
    """The backend's name; of one for many protocols the URL's: ``s3``, ``sftp``."""
    return str(where.root_url).partition(":")[0] if where.backend == "fsspec" else where.backend


def _on_google_cloud() -> bool:
    """Whether this machine is a VM of Google's."""
    try:
        return _PRODUCT.read_text(encoding="utf-8").startswith("Google")
    except (OSError, UnicodeDecodeError):
        return False
