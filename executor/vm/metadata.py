"""The metadata server of a Compute Engine VM: plain reads, and reads that wait for a change."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from messaging.errors import NotFoundError, ServiceError

_DEFAULT_HOST = "metadata.google.internal"
_ROOT = "/computeMetadata/v1/"
_FLAVOR = ("Metadata-Flavor", "Google")
_PRODUCT = Path("/sys/class/dmi/id/product_name")
#: All metadata of a VM have 512 kB at most.
_MAX_BYTES = 2_000_000


def metadata_host(environ: Mapping[str, str], product: Path = _PRODUCT) -> str | None:
    """``HOST`` or ``HOST:PORT`` of this machine's metadata server; None off Compute Engine.

    As google.auth finds it: the environment says so, or the machine calls itself Google's.
    """
    if environ.get("GCE_METADATA_HOST"):
        return environ["GCE_METADATA_HOST"]
    if environ.get("NO_GCE_CHECK", "").lower() == "true":
        return None
    try:
        name = product.read_text()
    except OSError:
        return None
    return _DEFAULT_HOST if name.startswith("Google") else None


def this_metadata_host() -> str | None:
    """`metadata_host` of this process's environment."""
    return metadata_host(os.environ)


@dataclass(frozen=True)
class Metadatum:
    """What stands at one path."""

    text: str
    #: Names this state of it; none from servers that do not wait for changes.
    etag: str | None


class MetadataConnection:
    """One reader of a metadata server. For one thread; `close` may be called from any."""

    def __init__(self, host: str) -> None:
        self.host = host
        self._closed = False
        self._connection: http.client.HTTPConnection | None = None

    def read(self, path: str, timeout: float, **query: str) -> Metadatum:
        """What stands at `path`, such as ``instance/name``.

        `timeout` bounds each wait for the server, in seconds. Raises NotFoundError when there is
        no such path, ServiceError for everything else that keeps us from it.
        """
        # Not through a proxy, whatever the environment says: http.client knows none.
        try:
            with closing(http.client.HTTPConnection(self.host, timeout=timeout)) as connection:
                self._connection = connection
                connection.connect()
                if self._closed:
                    raise ServiceError(f"the connection to metadata server {self.host} was closed")
                return self._exchange(connection, path, query)
        except (OSError, http.client.HTTPException, UnicodeError) as exc:
            why = str(exc) or type(exc).__name__
            raise ServiceError(f"metadata server {self.host} does not answer: {why}") from exc
        finally:
            self._connection = None

    def wait(self, path: str, etag: str, seconds: float, **query: str) -> Metadatum:
        """`read`, but only once it is no longer the state called `etag`, or after `seconds`."""
        waiting = {"wait_for_change": "true", "last_etag": etag, "timeout_sec": str(int(seconds))}
        return self.read(path, seconds + 10.0, **{**query, **waiting})

    def close(self) -> None:
        """End a read that waits, and refuse others. Idempotent."""
        self._closed = True
        connection = self._connection
        wire = connection.sock if connection is not None else None
        if wire is not None:
            with contextlib.suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)

    def _exchange(
        self, connection: http.client.HTTPConnection, path: str, query: Mapping[str, str]
    ) -> Metadatum:
        target = f"{_ROOT}{path}{'?' if query else ''}{urlencode(query)}"
        connection.request("GET", target, headers=dict([_FLAVOR]))
        response = connection.getresponse()
        body = response.read(_MAX_BYTES + 1)
        if response.getheader(_FLAVOR[0]) != _FLAVOR[1]:
            raise ServiceError(f"what answers at {self.host} is no metadata server of Google's")
        if response.status == http.HTTPStatus.NOT_FOUND:
            raise NotFoundError(f"metadata server {self.host} has no {path}")
        if response.status != http.HTTPStatus.OK:
            raise ServiceError(f"metadata server {self.host} answers {path} with {response.status}")
        if len(body) > _MAX_BYTES:
            raise ServiceError(f"metadata server {self.host} answers {path} without end")
        return Metadatum(body.decode(), response.getheader("ETag"))
