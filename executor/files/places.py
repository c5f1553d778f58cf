"""Where an executor's jobs run: their directories, and nothing left there or on the engine."""

from __future__ import annotations

import os
import re
import tempfile
import time
from pathlib import Path

from executor.containers.finding import remove_containers, warm_job
from executor.containers.residents import Residence
from executor.files.workspace import remove_private, remove_tree
from executor.held_job import HeldJob
from messaging.wire import LaunchJob, RawJob

#: What a launch directory must have room for at the least: FireWorks' and our own small files.
_PROBE_BYTES = 65_536
#: Seconds for which a successful try is believed, as long as the file system says it has room.
_PROBE_SECONDS = 1.0


class JobPlaces:
    """Makes a directory for each job, and clears up before and after jobs. Thread-safe."""

    def __init__(
        self, workdir: Path, residence: Residence, *, executor: str, prefix: str, keep: bool
    ) -> None:
        """`keep`: the directories of launches stay."""
        self._workdir = workdir
        self._residence = residence
        self._executor = executor
        self._prefix = prefix
        self._keep = keep
        #: Monotonic time of the last successful probe.
        self._probed = 0.0

    def make(self, held: HeldJob) -> Path:
        """A new, private one: a second delivery of an attempt must not find the first one's.

        Raises OSError, also when the disk is full: that is not the fault of the job that comes
        next.
        """
        word = re.sub(r"[^A-Za-z0-9._-]", "_", held.id)[:80]
        prefix = f"{word}-{held.attempt}"[:100]
        directory = Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=self._workdir))
        try:
            self._check_space(directory)
            self._residence.began(directory, raw=isinstance(held.job, RawJob))
        except OSError:
            directory.rmdir()
            raise
        return directory

    def _check_space(self, directory: Path) -> None:
        """Raise OSError unless there is room: a quota shows only when something is written."""
        now = time.monotonic()
        if self._probed + _PROBE_SECONDS < now or not _says_it_has_room(directory):
            _probe(directory)
            self._probed = now

    def clear_way(self, held: HeldJob) -> None:
        """Before a job that ran before: the container that may still run for it goes."""
        # The id of a raw job is its sender's to choose: it may be another's.
        if held.ran_before and isinstance(held.job, LaunchJob):
            remove_containers(job=held.id, prefix=self._prefix)

    def leave(self, held: HeldJob) -> None:
        """After a job that cleared up itself."""
        directory = Path(held.directory)
        if isinstance(held.job, RawJob) or not self._keep:
            remove_tree(directory)
        self._residence.ended(directory)

    def clear_up(self, held: HeldJob) -> None:
        """After a job that could not clear up itself any more."""
        remove_containers(executor=self._executor, job=held.id, attempt=held.attempt)
        for directory in {held.directory, held.launch_dir} - {""}:
            remove_private(Path(directory))

    def clear_warm(self, slot: int, pid: int) -> None:
        """After the end of a slot's child: the containers that it kept, if it did not see to it."""
        job = warm_job(slot, pid)
        directory = self._residence.directory / job
        if directory.exists():
            remove_containers(executor=self._executor, job=job)
            remove_tree(directory)


def _says_it_has_room(directory: Path) -> bool:
    found = os.statvfs(directory)
    # Some file systems count no inodes.
    inodes = found.f_favail > 0 or found.f_files == 0
    return inodes and found.f_bavail * found.f_frsize >= _PROBE_BYTES


def _probe(directory: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=directory) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, str(directory.parent)) from exc
