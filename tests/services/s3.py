"""An S3 service: moto's server, with its buckets in memory."""

from __future__ import annotations

import http.client
import importlib.util
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

from tests.services import guard, missing, session
from tests.services.mongodb import free_port
from tests.waiting import wait_until

#: What moto takes for anybody; enough to sign with.
CREDENTIALS = {"key": "testing", "secret": "testing", "region": "us-east-1"}


class S3Server:
    """One moto server process. Not thread-safe."""

    def __init__(
        self, directory: Path, *, owner: int, environ: dict[str, str] | None = None
    ) -> None:
        """Logs to `directory`; `environ` are settings of moto's."""
        self._port = free_port()
        self.endpoint = f"http://127.0.0.1:{self._port}"
        self._log = directory / f"s3-{self._port}.log"
        self._owner = owner
        self._environ = environ or {}
        self._process: Popen[bytes] | None = None

    @property
    def guard_pid(self) -> int:
        """Pid of the process that ends the server with its owner."""
        assert self._process is not None, "the server was not started"
        return self._process.pid

    def start(self) -> str:
        """Start it and return its URL when it answers; skips or fails where it is missing."""
        if importlib.util.find_spec("moto") is None or importlib.util.find_spec("flask") is None:
            missing("no moto_server here: pip install 'moto[server]'")
        settings = [f"{name}={value}" for name, value in self._environ.items()]
        program = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)]
        self._process = guard.guarded(
            ["/usr/bin/env", *settings, *program], owner=self._owner, log=self._log
        )
        wait_until(self._answers, timeout=60.0, what=f"moto_server at {self.endpoint}")
        return self.endpoint

    def stop(self) -> None:
        """End it; its buckets are lost."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30.0)

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError(f"moto_server ended at once:\n{self._log.read_text()[-2000:]}")
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=1.0)
        try:
            connection.request("GET", "/moto-api/data.json")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


def shared_endpoint() -> str:
    """The URL of the session's server, shared by all workers: use buckets of your own."""

    def start() -> dict[str, Any]:
        server = S3Server(session.directory(), owner=session.owner())
        endpoint = server.start()
        session.keep("s3", server.guard_pid)
        return {"endpoint": endpoint}

    endpoint: str = session.shared("s3", start)["endpoint"]
    return endpoint


@contextmanager
def start_server(environ: dict[str, str]) -> Iterator[str]:
    """A server of one's own for a while, with moto's settings `environ`; the value is its URL."""
    with tempfile.TemporaryDirectory(prefix="portfire-s3-") as directory:
        server = S3Server(Path(directory), owner=os.getpid(), environ=environ)
        try:
            yield server.start()
        finally:
            server.stop()


def client(endpoint: str, key: str = "testing", secret: str = "testing") -> Any:
    """botocore's client of `endpoint`: what others do to a bucket behind a backend's back."""
    # Not on top: tests that want no S3 need not have it.
    from botocore.config import Config
    from botocore.session import Session

    return Session().create_client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 2}, connect_timeout=10, read_timeout=60),
    )


def make_bucket(endpoint: str, prefix: str = "portfire-") -> str:
    """A new empty bucket; returns its name."""
    name = f"{prefix}{uuid.uuid4().hex[:12]}"
    client(endpoint).create_bucket(Bucket=name)
    return name
