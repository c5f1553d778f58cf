"""The two calls of PL-Grid Data's HTTP service.

The calls are those of hyperflow-amqp-executor (its ``plgdata_storage.rb``):

- ``GET {endpoint}/download/{path}`` answers the file;
- ``POST {endpoint}/upload/{directory}``, multipart/form-data with the parts ``proxy`` and ``file``,
  whose file name is the last part of the path.

Both carry the user's proxy certificate, private key included, as the parameter ``proxy``. For
downloads that executor puts it into the URL's query, where servers write it into their logs; here
it goes into the body of the GET, as the service's users do with ``curl -X GET --data-urlencode``,
and into the query only if told so. It is sent as the header ``PROXY`` as well, in Base64, which is
how the service's later users send it. It goes to the endpoint only: redirects are not followed.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter

from messaging.errors import UsageError
from storage_backends.errors import (
    StorageDeniedError,
    StorageError,
    StorageNotFoundError,
    StorageTransientError,
)
from storage_backends.proxy_certificate import read_proxy
from storage_backends.watch import Watch

#: Seconds to connect, and between two blocks of an answer.
_TIMEOUT = (10.0, 60.0)
_BLOCK = 1 << 20
_PASSING = {408, 425, 429}


class PlgDataService:
    """The two calls, each tried once. Safe for concurrent use; raises StorageError's kinds."""

    def __init__(
        self, endpoint: str, proxy: Path, limit: int, threads: int, *, proxy_in_url: bool = False
    ) -> None:
        self.endpoint = endpoint
        self._proxy_in_url = proxy_in_url
        self._proxy = proxy
        self._limit = limit
        self._session = requests.Session()
        # Nothing of one request is for another one.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_connections=1, pool_maxsize=threads))

    def require_room(self, size: int) -> None:
        """Raise StorageDeniedError for a file of `size` bytes that the service would not take."""
        if size > self._limit:
            raise StorageDeniedError(
                f"{size} bytes: PL-Grid Data takes files of up to {self._limit} bytes over HTTP;"
                " use GridFTP for larger ones"
            )

    def download(self, name: str, into: BinaryIO, watch: Watch) -> int:
        """Write a file's bytes to `into`; how many they are."""
        copied = 0
        with self._getting(name) as answer:
            size = answer.headers.get("Content-Length")
            for block in answer.iter_content(_BLOCK):
                into.write(block)
                copied += len(block)
                watch.moved(len(block))
        if size is not None and copied != int(size):
            raise StorageTransientError(f"{copied} bytes came of {size}")
        return copied

    def size(self, name: str) -> int:
        """The size of a file."""
        with self._getting(name) as answer:
            size = answer.headers.get("Content-Length", "")
        if not size.isdecimal():
            raise StorageTransientError("the service did not say its size")
        return int(size)

    def upload(self, name: str, source: BinaryIO, size: int, watch: Watch) -> None:
        """Make `name` the `size` bytes of `source`."""
        self.require_room(size)
        directory, _, last = name.rpartition("/")
        proxy = self._proxy_text()
        body = _Form({"proxy": proxy}, last, source, size, watch)
        url = f"{self.endpoint}/upload/{quote(directory)}"
        headers = {**_header(proxy), "Content-Type": body.content_type}
        with self._asking("POST", url, data=body, headers=headers):
            pass

    def close(self) -> None:
        """Let go of connections."""
        self._session.close()

    def _getting(self, name: str) -> AbstractContextManager[requests.Response]:
        proxy = self._proxy_text()
        # As it is: a compressed answer would have another length.
        headers = {**_header(proxy), "Accept-Encoding": "identity"}
        url = f"{self.endpoint}/download/{quote(name)}"
        where = "params" if self._proxy_in_url else "data"
        return self._asking("GET", url, headers=headers, **{where: {"proxy": proxy}})

    @contextmanager
    def _asking(self, method: str, url: str, **request: Any) -> Iterator[requests.Response]:
        try:
            with self._session.request(
                method, url, stream=True, timeout=_TIMEOUT, allow_redirects=False, **request
            ) as answer:
                _require_ok(answer)
                yield answer
        except requests.RequestException as exc:
            raise _lost(exc) from exc

    def _proxy_text(self) -> str:
        try:
            return read_proxy(self._proxy)
        except UsageError as exc:
            raise StorageDeniedError(str(exc)) from exc


class _Form:
    """A multipart/form-data body that reads its file as it is sent. For one request."""

    def __init__(
        self, fields: Mapping[str, str], file: str, source: BinaryIO, size: int, watch: Watch
    ) -> None:
        boundary = uuid.uuid4().hex
        self.content_type = f"multipart/form-data; boundary={boundary}"
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ]
        quoted = file.replace('"', "%22")  # as browsers do; other letters that matter are refused
        self._head = (
            f"{''.join(parts)}--{boundary}\r\n"
            f'Content-Disposition: form-data; name="file"; filename="{quoted}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._source = source
        self._size = size
        self._watch = watch

    def __len__(self) -> int:
        return len(self._head) + self._size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        left = self._size
        while left:
            block = self._source.read(min(left, _BLOCK))
            if not block:
                raise StorageTransientError("the file became shorter while it was sent")
            yield block
            left -= len(block)
            self._watch.moved(len(block))
        yield self._tail


def _header(proxy: str) -> dict[str, str]:
    return {"PROXY": base64.b64encode(proxy.encode()).decode()}


def _require_ok(answer: requests.Response) -> None:
    """Raise what the status means. Its text stays out: it may repeat what was sent."""
    status = answer.status_code
    if status == requests.codes.ok or 200 < status < 300:
        return
    said = f"the service answered {status}"
    if status in (404, 410):
        raise StorageNotFoundError(f"{said}: it is not there")
    if status in (401, 403):
        raise StorageDeniedError(
            f"{said}: does this proxy certificate give access, and still last?"
        )
    if status == 413:
        raise StorageDeniedError(f"{said}: the file is too large for it")
    if 300 <= status < 400:
        raise StorageDeniedError(f"{said}, a redirect: set PLGDATA_ENDPOINT to the new place")
    if status in _PASSING or status >= 500:
        raise StorageTransientError(said)
    raise StorageDeniedError(said)


def _lost(exc: requests.RequestException) -> StorageError:
    if isinstance(exc, requests.exceptions.SSLError):
        return StorageDeniedError(
            "its TLS certificate is not trusted here: name the CA's file in REQUESTS_CA_BUNDLE"
        )
    if isinstance(exc, requests.Timeout):
        return StorageTransientError("the service did not answer in time")
    return StorageTransientError(f"the connection failed: {type(exc).__name__}")
