"""The embedded LaunchPad: FireWorks on mongomock, kept in one file that a killed run leaves whole.

mongomock-persistence reads its file when it opens and writes it in place when the interpreter ends:
a killed process loses everything, and one killed while it writes destroys the file. So it works on
a copy, and the file itself is replaced, whole, every few seconds and at the end.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import threading
import time
from pathlib import Path
from typing import IO, Any

from bson import json_util

from messaging.errors import UsageError

log = logging.getLogger(__name__)

#: Where the embedded LaunchPad keeps its database unless told otherwise.
DEFAULT_FILE = Path(".portfire") / "launchpad.json"
#: The variable by which FireWorks is told to use mongomock, and with which file.
VARIABLE = "MONGOMOCK_SERVERSTORE_FILE"
_SAVE_SECONDS = 5.0
#: Saving takes this part of the time at most, however large the database.
_SAVING_SHARE = 0.05


class EmbeddedLaunchPad:
    """The file of an embedded LaunchPad while this process has it. `close` ends that."""

    def __init__(self, file: Path) -> None:
        """Lock the file, making it if it is not there, and have FireWorks use it.

        Must come before FireWorks is imported. Raises UsageError when another run has it, when it
        is damaged, or when the packages for it are missing.
        """
        from dispatcher.launchpad import use_embedded_launchpad

        self.file = file
        self._lock = _lock(file)
        if not file.exists():
            file.write_text(json.dumps({}), encoding="utf-8")
        _check(file)
        self._working = file.with_suffix(".working")
        shutil.copyfile(file, self._working)
        use_embedded_launchpad(self._working)
        self._launchpad: Any = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="save-launchpad", daemon=True)

    def keep(self, launchpad: Any) -> None:
        """Save this LaunchPad's database every few seconds from now on."""
        self._launchpad = launchpad
        self._thread.start()

    def close(self) -> None:
        """Save for the last time and let others have the file. Idempotent."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._launchpad is not None and not self._lock.closed:
            self._save()
        self._lock.close()

    def _run(self) -> None:
        pause = _SAVE_SECONDS
        while not self._stopping.wait(pause):
            began = time.monotonic()
            self._save()
            pause = max(_SAVE_SECONDS, (time.monotonic() - began) / _SAVING_SHARE)

    def _save(self) -> None:
        """Replace the file by the database as it is now, in mongomock-persistence's form."""
        database = self._launchpad.db
        collections = {
            name: {
                "name": name,
                "documents": [[document["_id"], document] for document in database[name].find()],
            }
            for name in database.list_collection_names()
        }
        new = self.file.with_suffix(".new")
        try:
            new.write_text(json_util.dumps({database.name: collections}), encoding="utf-8")
            new.replace(self.file)
        except OSError as exc:
            log.error("the embedded LaunchPad %s cannot be saved: %s", self.file, exc.strerror)


def _lock(file: Path) -> IO[str]:
    """Each program keeps the whole database in memory: two would undo each other."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = file.with_suffix(".lock").open("w")
    except OSError as exc:
        raise UsageError(
            f"the embedded LaunchPad {file} cannot be used: {exc.strerror}; run in a directory "
            "that you may write to"
        ) from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        lock.close()
        raise UsageError(
            f"another run is using the embedded LaunchPad {file}: wait for its end, or use a "
            "MongoDB, which many may share (-l)"
        ) from exc
    return lock


def _check(file: Path) -> None:
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise UsageError(
            f"the embedded LaunchPad {file} cannot be read ({exc}): move it away to start anew"
        ) from exc


def file_from_environment() -> Path | None:
    """The file that the environment tells FireWorks to use."""
    value = os.environ.get(VARIABLE)
    return Path(value) if value else None
