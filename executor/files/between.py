"""FireWorks' ``_files_out`` and ``_files_in`` between Fireworks that run on different machines.

FireWorks hands a file from one Firework to the next by its path: when a launch ends, the Rocket
writes the path of each file of ``_files_out`` into ``_files_prev`` of the children's specs, and the
child's Rocket copies from there what its ``_files_in`` names. With a storage that is no shared
directory, that path becomes an address in the storage, and this is done around the Rocket:

- before the end of a launch is reported, `FilesBetween.handed_over` stores the files and writes
  their addresses in the place of the paths;
- before the Rocket copies, `bring` fetches what lies at such addresses, and names the copies in
  the Firework that the Rocket has; `settle`, before its first task, names the addresses again and
  removes the copies. So FireWorks copies, and unpacks what is compressed, with its own code.

An address is a URL (``gs://bucket/folder/_files/...``), or ``portfire-storage:_files/...`` where a
machine's own name for the store tells others nothing (``nfs``): then each executor looks in the
storage of its own settings.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fireworks.core.firework import Firework

from executor.context import JobContext
from executor.failures import PhaseError
from executor.files.moving import AnnouncingWatch, Moved, store_outputs
from executor.files.storage import JobStorage, job_storage
from executor.files.workspace import remove_tree
from executor.phases import told_phase
from messaging.errors import JobError
from storage_backends.contract import Transfer, Upload
from storage_backends.errors import StorageDeniedError
from storage_backends.paths import checked_name
from storage_backends.places.choice import Defaults, Place, default_place
from storage_backends.places.locations import OWN, is_url

log = logging.getLogger(__name__)

#: Folder in the storage that holds them; nothing in it is ever replaced or removed.
_FOLDER = "_files"
#: URLs that mean something on one machine only.
_HERE = ("file:", "local:", "memory:")
#: How FireWorks writes, in an FWAction's ``mod_spec``, what it hands over.
_PREVIOUS = "_files_prev->"


class FilesBetween:
    """The files that one launch gets from its parents and leaves to its children.

    Used from the Rocket's main thread. With ``local`` storage, or none that has a place of its own,
    it does nothing, and FireWorks' paths stay.
    """

    def __init__(self, context: JobContext, *, attempt: str) -> None:
        """`attempt` is a folder's name, another one for each attempt of each launch."""
        self._context = context
        self._folder = f"{_FOLDER}/{attempt}"
        self._specs: dict[str, Any] = {}
        self._addresses: dict[str, str] = {}
        self._copies: Path | None = None
        self._failed = False

    def bring(self, firework: Firework) -> None:
        """Fetch what `firework` takes in from addresses, and name the copies in its spec.

        Raises PhaseError: stage-in.
        """
        spec = firework.spec
        wanted, previous = spec.get("_files_in"), spec.get("_files_prev")
        if not isinstance(wanted, Mapping) or not isinstance(previous, dict):
            return
        self._addresses = {
            key: previous[key] for key in wanted if key in previous and _is_address(previous[key])
        }
        # A recovered launch has its files already: FireWorks does not copy then.
        if not self._addresses or spec.get("_recovery"):
            return
        self._specs = previous
        self._copies = Path(tempfile.mkdtemp(prefix=".portfire-", dir=Path.cwd()))
        with told_phase("stage-in", self._tell) as fields:
            moved = Moved(dict(self._fetched(self._copies, fields)))
            fields.update(bytes=moved.bytes, cached=moved.cached, files=moved.files())

    def settle(self) -> None:
        """The Rocket has copied: the spec is as it was, and the copies go. Idempotent."""
        if self._copies is not None:
            self._specs.update(self._addresses)
            remove_tree(self._copies)
            self._copies = None

    def handed_over(self, action: dict[str, Any], launch_dir: str) -> dict[str, Any]:
        """`action` (of ``FWAction.to_dict()``) with addresses for the paths of files, now stored.

        Raises PhaseError: stage-out; and JobInterrupted when the lease is lost. After a failure it
        stores nothing more, and returns `action` as it is.
        """
        paths = dict(_paths(action["mod_spec"]))
        place = self._place() if paths and not self._failed else None
        if place is None:
            return action
        self._context.confirm_lease()
        self._failed = True
        with told_phase("stage-out", self._tell) as fields:
            uploads = [_upload(key, path, Path(launch_dir)) for key, path in paths.items()]
            storage = self._below(place, f"{self._folder}/")
            fields["backend"] = storage.kind
            moved = store_outputs(storage, uploads, self._context)
            fields.update(bytes=moved.bytes, files=moved.files())
        self._failed = False
        addresses = {
            key: _address(place, f"{self._folder}/{upload.name}")
            for key, upload in zip(paths, uploads, strict=True)
        }
        return {**action, "mod_spec": _renamed(action["mod_spec"], addresses)}

    def _fetched(self, copies: Path, fields: dict[str, Any]) -> Iterator[tuple[str, Transfer]]:
        # Parents may have had different stores: the event names the last.
        for number, (key, address) in enumerate(self._addresses.items()):
            # Under its own name: by its end FireWorks knows what is compressed.
            name = address.rpartition("/")[2]
            target = copies / str(number) / checked_name(name, f"file {key!r} of _files_prev")
            storage = self._storage(address.removesuffix(name))
            fields["backend"] = storage.kind
            watch = AnnouncingWatch("stage-in", self._context)
            # FireWorks only reads it, and then it is removed.
            wanted = {storage.prefix + name: target}
            found = storage.backend.fetch_all(wanted, watch=watch, read_only=True)
            self._specs[key] = str(target)
            yield key, found[storage.prefix + name]

    def _storage(self, folder: str) -> JobStorage:
        """The store and folder of an address without its last part."""
        if not folder.startswith(OWN):
            storage = job_storage(self._context, prefix=folder)
            assert storage is not None  # a URL is a place
            return storage
        place = self._place()
        if place is None:
            raise JobError(
                f"the file is in the storage of the executors ({folder}), and this one has none: "
                "give all of them the same storage and storage_options"
            )
        return self._below(place, folder.removeprefix(OWN))

    def _below(self, place: Place, folder: str) -> JobStorage:
        return JobStorage.of(replace(place, prefix=place.prefix + folder), self._context)

    def _place(self) -> Place | None:
        """Where the executor has its files, unless that is a shared directory."""
        defaults = Defaults(self._context.storage, self._context.storage_options)
        place = default_place(defaults, os.environ)
        return None if place is None or place.backend == "local" else place

    def _tell(self, event: str, fields: dict[str, Any]) -> None:
        self._context.emit(f"job.{event}", **fields)


def store_if_possible(
    files: FilesBetween, action: dict[str, Any], launch_dir: str
) -> dict[str, Any]:
    """`FilesBetween.handed_over` for a launch that has failed anyway: what it raises is logged."""
    try:
        return files.handed_over(action, launch_dir)
    except PhaseError as exc:
        log.warning("could not store _files_out of a failed launch: %s", exc.reason)
        return action


def _is_address(value: object) -> bool:
    return isinstance(value, str) and (value.startswith(OWN) or is_url(value))


def _paths(mods: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """The key and path of each file that `mods` hand over."""
    for mod in mods:
        values = mod.get("_set")
        for name, value in values.items() if isinstance(values, Mapping) else ():
            if name.startswith(_PREVIOUS) and isinstance(value, str) and value.startswith("/"):
                yield name.removeprefix(_PREVIOUS), value


def _upload(key: str, path: str, launch_dir: Path) -> Upload:
    source = Path(os.path.normpath(path))
    if not source.is_relative_to(os.path.normpath(launch_dir)):
        raise StorageDeniedError(
            f"file {path} of _files_out is not in the launch directory: copy it there first"
        )
    return Upload(source, checked_name(f"{key}/{source.name}", "file of _files_out"), launch_dir)


def _address(place: Place, name: str) -> str:
    root = place.root_url
    full = place.prefix + name
    # A URL has no query.
    if root is None or root.startswith(_HERE) or "?" in full or "#" in full:
        return OWN + name
    return f"{root}/{full}"


def _renamed(mods: list[dict[str, Any]], addresses: Mapping[str, str]) -> list[dict[str, Any]]:
    """A copy of `mods` that hands over addresses."""
    renamed = []
    for mod in mods:
        values = mod.get("_set")
        if isinstance(values, Mapping):
            changed = {
                name: addresses.get(name.removeprefix(_PREVIOUS), value)
                if name.startswith(_PREVIOUS)
                else value
                for name, value in values.items()
            }
            mod = {**mod, "_set": changed}
        renamed.append(mod)
    return renamed
