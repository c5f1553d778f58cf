"""A real GridFTP server for tests: `globus-gridftp-server` from Debian."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import tempfile
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import Popen
from typing import Any

import psutil

from tests.services import guard, missing, session
from tests.services.grid_certificates import GridCertificates
from tests.services.mongodb import free_port
from tests.waiting import wait_until

#: It refuses to serve anybody as root.
_USER = "nobody"


class GridFtpServer:
    """One server on loopback, with files in directories of their own. Not thread-safe.

    It takes anybody, or with `certificates` the user that these are for.

    A context manager: entering starts it, leaving ends it and removes the files.
    """

    def __init__(
        self,
        *options: str,
        directory: Path | None = None,
        owner: int | None = None,
        certificates: GridCertificates | None = None,
    ) -> None:
        #: Pid of the process whose end ends the server.
        self.owner = owner or os.getpid()
        self.port = free_port()
        self._options = options
        self._certificates = certificates
        # Not below pytest's directory, which only its owner may enter.
        self.directory = directory or Path(tempfile.mkdtemp(prefix="portfire-gridftp-"))
        self.directory.chmod(0o755)
        self._process: Popen[bytes] | None = None

    @property
    def url(self) -> str:
        if self._certificates is not None:
            return f"gsiftp://localhost:{self.port}"
        return f"ftp://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server and return when it listens; skips or fails where there is none."""
        for program in ("globus-gridftp-server", "globus-url-copy"):
            if shutil.which(program) is None:
                missing(
                    f"no {program} here: apt-get install"
                    " globus-gridftp-server-progs globus-gass-copy-progs"
                )
        self._process = guard.guarded(
            self._command(), owner=self.owner, log=self.directory / "server.log", grace=1.0
        )
        wait_until(self._listens, timeout=30.0, what=f"a GridFTP server at {self.url}")

    def kill(self) -> None:
        """End the server at once; its files stay. It may be started again."""
        if self._process is not None and self._process.poll() is None:
            connections = self.processes()
            self._process.kill()
            for process in connections:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.wait(30.0)

    def processes(self) -> Sequence[psutil.Process]:
        """The server's processes: one listens, and each connection has another."""
        return psutil.Process(self.guard_pid).children(recursive=True)

    @property
    def guard_pid(self) -> int:
        """Pid of the guard under which the started server runs."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> GridFtpServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.directory)

    def _command(self) -> list[str]:
        interfaces = ["-control-interface", "127.0.0.1", "-data-interface", "127.0.0.1"]
        server = ["globus-gridftp-server", "-p", str(self.port), *interfaces, *self._options]
        if self._certificates is not None:
            environment = self._certificates.server_environment(_account())
            assigned = [f"{name}={value}" for name, value in environment.items()]
            return ["env", *assigned, *server, "-allow-disabled-login"]
        if os.geteuid() == 0:
            server += ["-anonymous-user", _USER]
        return [*server, "-aa"]

    def _listens(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            log = (self.directory / "server.log").read_text(errors="replace")
            raise AssertionError(f"globus-gridftp-server ended at once:\n{log[-2000:]}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def shared_server() -> tuple[str, Path]:
    """URL of the session's server, and the directory below which to make places for files."""

    def start() -> dict[str, Any]:
        files = session.directory() / "gridftp"
        files.mkdir(exist_ok=True)
        session.directory().chmod(0o711)  # the server's user has to come through
        server = GridFtpServer(directory=files, owner=session.owner())
        server.start()
        session.keep("gridftp", server.guard_pid)
        return {"url": server.url, "directory": str(server.directory)}

    answer = session.shared("gridftp", start)
    return answer["url"], Path(answer["directory"])


def _account() -> str:
    return _USER if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def make_place(directory: Path) -> Path:
    """A new directory below a server's, which its user may write."""
    place = directory / uuid.uuid4().hex
    place.mkdir(mode=0o755)
    if os.geteuid() == 0:
        user = pwd.getpwnam(_USER)
        os.chown(place, user.pw_uid, user.pw_gid)
    return place
