"""Which storage a job uses: its own choice, else its executor's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from executor.context import JobContext
from messaging.errors import JobError
from storage_backends.contract import StorageBackend
from storage_backends.paths import below, checked_name
from storage_backends.registry import backend_name, open_backend


@dataclass(frozen=True)
class JobStorage:
    """A backend, and the job's place in it."""

    backend: StorageBackend
    #: Empty, or ends in ``/``.
    prefix: str = ""
    #: Where the job works if nothing is to be staged.
    directory: Path | None = None


def job_storage(
    context: JobContext,
    *,
    storage: object = None,
    options: Mapping[str, Any] | None = None,
    prefix: object = None,
    launch_directory: Path | None = None,
) -> JobStorage | None:
    """The storage for a job that names `storage`, `options` and `prefix`, or does not.

    `options` go over the executor's if both mean the same backend. A `prefix` with a scheme
    (``gs://bucket/x``) chooses the backend itself; an absolute one is the ``workdir``; for
    ``local`` without a ``workdir`` it is below `launch_directory`. None means that nobody named a
    place: the job works in its launch directory. Raises UsageError and JobError.
    """
    name = context.storage if storage is None else storage
    place = "" if prefix is None else prefix
    if not isinstance(name, str) or not isinstance(place, str):
        raise JobError(f"storage {name!r} with prefix {place!r}: expected two texts")
    scheme, separator, _ = place.partition("://")
    if separator:
        return _opened(scheme, {**(options or {}), "url": place}, "")
    merged = dict(options or {})
    if backend_name(name) == backend_name(context.storage):
        merged = {**context.storage_options, **merged}
    if place.startswith("/"):
        merged, place = {**merged, "workdir": place}, ""
    place = place.strip("/") and checked_name(place.rstrip("/"), "storage prefix") + "/"
    if backend_name(name) == "local" and merged.get("workdir") is None:
        if not place:
            return None
        merged["workdir"] = str(launch_directory) if launch_directory else None
    return _opened(name, merged, place)


def _opened(name: str, options: Mapping[str, Any], prefix: str) -> JobStorage:
    backend = open_backend(name, options)
    shared = backend.shared_directory
    directory = below(shared, prefix, "storage prefix") if shared else None
    return JobStorage(backend, prefix, directory)
