"""Tries on a probe what jobs do to a store, and says which permission is missing."""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from commands.storage_names import Stored
from storage_backends.contract import StorageBackend
from storage_backends.errors import (
    StorageCorruptError,
    StorageDeniedError,
    StorageError,
    StorageNotFoundError,
)
from storage_backends.pool import TransferPool

_CONTENT = b"portfire checks this store\n"
#: Seconds for which a step is tried again; jobs have more patience.
_PATIENCE = 10.0
#: What these backends cannot do for anybody; it is not asked of them.
_CANNOT: Mapping[str, tuple[str, ...]] = {"plgdata": ("list", "delete")}
#: The permission that a step needs, and how to get it.
_GCS = "the role roles/storage.objectUser on the bucket has it"
_PERMISSIONS: Mapping[str, Mapping[str, str]] = {
    "gs": {
        "write": f"storage.objects.create, and storage.objects.delete to replace: {_GCS}",
        "read": "storage.objects.get: the role roles/storage.objectViewer on the bucket has it",
        "list": "storage.objects.list: the role roles/storage.objectViewer on the bucket has it",
        "delete": f"storage.objects.delete: {_GCS}",
    },
    "s3": {
        "write": "s3:PutObject on the bucket's objects (arn:aws:s3:::BUCKET/*)",
        "read": "s3:GetObject on the bucket's objects (arn:aws:s3:::BUCKET/*)",
        "list": "s3:ListBucket on the bucket itself (arn:aws:s3:::BUCKET)",
        "delete": "s3:DeleteObject on the bucket's objects (arn:aws:s3:::BUCKET/*)",
    },
}


@dataclass(frozen=True)
class Step:
    """How one step went."""

    step: str
    ok: bool
    seconds: float
    #: What went wrong, or why it was not tried.
    reason: str | None = None
    #: Whether the store refused it.
    denied: bool = False
    #: The permission that is missing then, where that is known.
    missing: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON."""
        return asdict(self)

    def lines(self) -> str:
        """For people."""
        if self.ok and self.reason is None:
            return f"{self.step:<7} ok      {self.seconds:.2f} s"
        said = f"{self.step:<7} {'-' if self.ok else 'FAILED':<7} {self.reason}"
        return f"{said}\n{'':<15} missing: {self.missing}" if self.missing else said


def check(folder: Stored, tell: Callable[[str], None] | None) -> list[Step]:
    """Write, read, list and delete a probe in `folder`; `tell` is given a line for each step.

    Raises UsageError when the store cannot even be opened.
    """
    steps: list[Step] = []
    parent = folder.name and f"{folder.name.removesuffix('/')}/"
    with ExitStack() as stack:
        backend = stack.enter_context(folder.open(TransferPool(), retry_seconds=_PATIENCE))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        probe = _Probe(backend, directory, f"{parent}.portfire-check-{uuid.uuid4().hex}/")
        for name, action in probe.steps().items():
            steps.append(
                _tried(name, action, folder, steps[0] if steps else None, probe=probe.name)
            )
            if tell is not None:
                tell(steps[-1].lines())
    return steps


class _Probe:
    """A small file in a tree of its own."""

    def __init__(self, backend: StorageBackend, directory: Path, tree: str) -> None:
        self._backend = backend
        self._directory = directory
        self._tree = tree
        self.name = f"{tree}probe"

    def steps(self) -> dict[str, Callable[[], object]]:
        return {
            "write": self._write,
            "read": self._read,
            "list": self._list,
            "delete": lambda: self._backend.remove(self._tree),
        }

    def _write(self) -> None:
        source = self._directory / "probe"
        source.write_bytes(_CONTENT)
        self._backend.store(source, self.name, within=self._directory)

    def _read(self) -> None:
        target = self._directory / "read"
        self._backend.fetch(self.name, target)
        if target.read_bytes() != _CONTENT:
            raise StorageCorruptError(f"{self.name} came back with other bytes")

    def _list(self) -> None:
        names = [entry.name for entry in self._backend.entries(self._tree)]
        if self.name not in names:
            raise StorageCorruptError(f"{self.name} was written and is not listed")


def _tried(
    name: str, action: Callable[[], object], folder: Stored, writing: Step | None, *, probe: str
) -> Step:
    unwritten = writing is not None and not writing.ok
    if name in _CANNOT.get(folder.place.backend, ()):
        left = "" if name != "delete" or unwritten else f"; the probe stays: {probe}"
        return Step(name, True, 0.0, f"no {folder.place.backend} store can do that{left}")
    if writing is not None and unwritten and not (name == "list" and writing.denied):
        return Step(name, False, 0.0, "not tried: nothing could be written")
    began = time.monotonic()
    try:
        action()
    except StorageError as exc:
        if unwritten and isinstance(exc, StorageNotFoundError):
            # To look is allowed, and there is nothing.
            return Step(name, True, time.monotonic() - began)
        reason = " ".join(str(exc).split())
        denied = isinstance(exc, StorageDeniedError)
        missing = _missing(name, folder) if denied else None
        return Step(name, False, time.monotonic() - began, reason, denied, missing)
    return Step(name, True, time.monotonic() - began)


def _missing(name: str, folder: Stored) -> str | None:
    url = folder.place.root_url or ""
    return _PERMISSIONS.get(url.partition("://")[0], {}).get(name)
