"""Running Globus' programs: `globus-url-copy` for the bytes, a control child for all else."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from messaging.errors import UsageError
from storage_backends.errors import StorageNotFoundError, StorageTransientError, naming
from storage_backends.gridftp.errors import error_from, says_exists, says_unknown
from storage_backends.watch import Watch

_CHILD = [sys.executable, "-I", "-S", str(Path(__file__).with_name("globus_child.py"))]
#: How long nothing may move, in seconds.
STALL = 60.0
#: Bytes a second that a server hashes at least, for the time that a checksum may take.
_SLOW_HASH = 20e6
#: Seconds between two looks at a child: how soon a stop is noticed.
_LOOK = 0.1
#: Connections that move the files of a batch side by side.
_CONNECTIONS = 4
_CHECKSUM = "MD5"
#: Lines of a listing that are the directory, or the one above.
_ITSELF = re.compile(r"[^ ]*type=[cp]dir;", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Copy:
    """One file to be copied, by its two URLs; `name` is for errors."""

    name: str
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What a server says of a name."""

    #: Relative to the directory that was listed; or all of a path.
    name: str
    directory: bool
    size: int
    #: What tells two files apart whatever their names are; empty where the server does not say.
    unique: str


class Globus:
    """Globus' programs with the credentials of `environ`. Safe for concurrent use."""

    def __init__(
        self, environ: Mapping[str, str], *, streams: int = 1, stall: float = STALL
    ) -> None:
        if shutil.which("globus-url-copy", path=environ.get("PATH")) is None:
            raise UsageError(
                "no program globus-url-copy, which storage backend 'gridftp' needs:"
                " apt-get install globus-gass-copy-progs"
            )
        # Its words are read: in English, whatever the user's language is.
        self._environ = {**environ, "LC_ALL": "C"}
        self._streams = streams
        self._stall = stall

    def copy(self, copies: Sequence[Copy], watch: Watch, *, upload: bool) -> None:
        """Copy files; makes directories of their targets. Raises for the first that fails.

        Tells `watch` the bytes about as they move. What failed may be there in part.
        """
        left = list(copies)
        if len(left) > 1:
            left = self._copy_batch(left, watch, upload)
        # One by one what the batch left: its program does not say which error was whose.
        for copy in left:
            place = copy.target if upload else copy.source
            with naming("storing" if upload else "fetching", copy.name, place):
                code, said = self._run(["-cd", copy.source, copy.target], watch, upload)
                if code:
                    raise error_from(said)

    @contextmanager
    def control(self, watch: Watch) -> Iterator[Control]:
        """A child for small requests; for one thread, and ended with the context."""
        with (
            tempfile.TemporaryFile() as said,
            _child(["control"], self._environ, subprocess.PIPE, subprocess.PIPE, said) as process,
        ):
            yield Control(process, watch, self._stall)

    def _copy_batch(self, copies: list[Copy], watch: Watch, upload: bool) -> list[Copy]:
        """Copy what can be copied; what is left."""
        with tempfile.TemporaryDirectory(prefix="portfire-globus-") as directory:
            pairs, failed = Path(directory) / "pairs", Path(directory) / "failed"
            pairs.write_text("".join(f'"{c.source}" "{c.target}"\n' for c in copies), "ascii")
            batch = ["-cd", "-c", "-cc", str(min(_CONNECTIONS, len(copies)))]
            arguments = [*batch, "-df", str(failed), "-f", str(pairs)]
            code, _ = self._run(arguments, watch, upload)
            if not code:
                return []
            if not failed.exists():
                return copies
            left = failed.read_text("utf-8", "replace")
            return [copy for copy in copies if f'"{copy.source}"' in left] or copies

    def _run(self, arguments: Sequence[str], watch: Watch, upload: bool) -> tuple[int, str]:
        """Run globus-url-copy to its end; its exit code and what it said."""
        streams = ["-p", str(self._streams)] if self._streams > 1 else []
        # Ours comes first, and says why; this one is for where a child's progress is hidden.
        stall = ["-stall-timeout", str(int(2 * self._stall) or 1)]
        command = ["run", "globus-url-copy", "-q", *stall, *streams, *arguments]
        with (
            tempfile.TemporaryFile() as said,
            _child(command, self._environ, subprocess.DEVNULL, subprocess.DEVNULL, said) as process,
        ):
            self._attend(process, watch, upload)
            said.seek(0)
            return process.wait(), said.read(1 << 16).decode(errors="replace")

    def _attend(self, process: subprocess.Popen[bytes], watch: Watch, upload: bool) -> None:
        """Wait for the end of `process`; tell its progress, and see that there is some."""
        ended = os.pidfd_open(process.pid)
        progress = watch.part()
        try:
            seen, moved = None, time.monotonic()
            while not select.select([ended], [], [], _LOOK)[0]:
                watch.check()
                now = _io_of(process.pid)
                if now != seen or now is None:
                    seen, moved = now, time.monotonic()
                if now:
                    count = now[0] if upload else now[1]
                    progress.moved(count - progress.bytes)
                if time.monotonic() - moved > self._stall:
                    raise StorageTransientError(f"nothing has moved for {self._stall:g} s")
        finally:
            os.close(ended)
            # The caller counts the files that arrived.
            progress.forget()
        watch.check()


class Control:
    """Small requests to a server. Not thread-safe; each call blocks, and raises StorageError."""

    def __init__(self, process: subprocess.Popen[bytes], watch: Watch, stall: float) -> None:
        self._process = process
        self._watch = watch
        self._stall = stall

    def stat(self, url: str) -> Facts:
        """What is at `url`."""
        return _facts(self._ask("stat", url))

    def list(self, url: str) -> list[Facts]:
        """What the directory at `url` holds, in any order."""
        lines = self._ask("list", url).split("\r\n")
        return [_facts(line) for line in lines if line and not _ITSELF.match(line)]

    def checksum(self, url: str, size: int) -> str | None:
        """The checksum of a file of `size` bytes; None from a server that computes none."""
        text = self._ask("checksum", url, _CHECKSUM, unless=says_unknown, longer=size / _SLOW_HASH)
        return f"{_CHECKSUM.lower()}:{text.lower()}" if text else None

    def move(self, url: str, target: str) -> None:
        """Rename a file, also over another one."""
        self._ask("move", url, target)

    def mkdir(self, url: str) -> None:
        """Make a directory, unless it is there."""
        self._ask("mkdir", url, unless=says_exists)

    def delete(self, url: str, *, directory: bool = False) -> None:
        """Delete a file or an empty directory, if there."""
        with contextlib.suppress(StorageNotFoundError):
            self._ask("rmdir" if directory else "delete", url)

    def _ask(
        self,
        operation: str,
        *arguments: str,
        unless: Callable[[str], bool] = lambda _: False,
        longer: float = 0.0,
    ) -> str:
        """The answer; empty where `unless` says so of the server's error."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(json.dumps([operation, *arguments]).encode() + b"\n")
            stdin.flush()
        except OSError as exc:
            raise StorageTransientError("Globus' FTP client has ended") from exc
        answer = json.loads(self._line(stdout, time.monotonic() + self._stall + longer))
        if answer["error"] is None:
            return answer["value"] or ""
        if unless(answer["error"]):
            return ""
        raise error_from(answer["error"])

    def _line(self, stdout: IO[bytes], end: float) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            self._watch.check()
            if time.monotonic() > end:
                raise StorageTransientError("the server does not answer")
            if select.select([stdout], [], [], _LOOK)[0]:
                block = os.read(stdout.fileno(), 1 << 16)
                if not block:
                    raise StorageTransientError("Globus' FTP client has ended")
                line += block
        return line


@contextmanager
def _child(
    command: Sequence[str], environ: Mapping[str, str], stdin: int, stdout: int, stderr: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """A child process that is gone when the context is left."""
    with subprocess.Popen(
        [*_CHILD, *command],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=dict(environ),
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def _facts(line: str) -> Facts:
    """What a line of MLST or MLSD says: ``Type=file;Size=3;...; NAME``."""
    told, _, name = line.partition(" ")
    facts = dict(fact.lower().partition("=")[::2] for fact in told.split(";"))
    size = facts.get("size", "")
    directory = facts.get("type") in ("dir", "cdir", "pdir")
    if "type" not in facts or not (directory or size.isdecimal()):
        raise StorageTransientError(f"the server described a file as {line[:80]!r}")
    return Facts(name, directory, 0 if directory else int(size), facts.get("unique", ""))


def _io_of(pid: int) -> tuple[int, int] | None:
    """Bytes that a process has read from files and written to them; None where that is hidden."""
    try:
        facts = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
        return int(facts["rchar"]), int(facts["wchar"])
    except (OSError, KeyError, ValueError):
        return None
