"""Files on a web server, to read: ``http://`` and ``https://``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from functools import partial
from html.parser import HTMLParser
from typing import Any, BinaryIO, NoReturn
from urllib.parse import quote, unquote, urljoin

import aiohttp
from fsspec.asyn import sync
from fsspec.implementations.http import HTTPFileSystem

from messaging.errors import UsageError
from storage_backends.errors import (
    StorageChangedError,
    StorageDeniedError,
    StorageError,
    StorageNotFoundError,
    StorageTransientError,
)
from storage_backends.objects.store import ObjectStore, Sink, StoredObject
from storage_backends.objects.streaming import copy_stream
from storage_backends.pool import TransferPool
from storage_backends.protocols.errors import from_status, one_line, shown_url
from storage_backends.watch import Watch

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=60.0)
#: What is compressed on the way has another size, or none.
_AS_IT_IS = {"Accept-Encoding": "identity"}
#: Seconds that a file must be old for its time to tell it from one that replaced it: HTTP's times
#: are whole seconds.
_SETTLED = 2.0
#: HEAD is not for everybody: some servers do not have it, some links are signed for GET only.
_NO_HEAD = (400, 403, 405, 501)
_LONGEST_NAME = 1024


class HttpStore(ObjectStore):
    """The files below a URL, to read; see ObjectStore. Changing anything is refused.

    A tree is what the server's index pages link to, page by page; a server without them has files
    only. The version is the ETag, else time and size of the file; a file that was changed just now
    has none, since many servers make their ETags of times too. A read fails when its answer has
    another version or size. Compared are sizes: HTTP has no checksum that servers agree on.

    On fsspec's connections and event loop. Its `ls` passes over some names (``httpd.conf``), and
    its `info` says of every failure that the file does not exist, so both are done here.
    """

    def __init__(self, url: str, system: HTTPFileSystem, pool: TransferPool) -> None:
        self.url = shown_url(url)
        self._root = url.rstrip("/")
        self._system = system
        self._pool = pool

    @classmethod
    def open(cls, url: str, options: Mapping[str, Any], pool: TransferPool) -> HttpStore:
        """The store at `url`; raises UsageError. Touches no network."""
        own = dict(options["fsspec"])
        client = {"timeout": _TIMEOUT, "auto_decompress": False, **own.pop("client_kwargs", {})}
        try:
            # Not an instance that fsspec keeps: another job's credentials may differ.
            system = HTTPFileSystem(
                **own, client_kwargs=client, encoded=True, skip_instance_cache=True
            )
        except (TypeError, ValueError) as exc:
            raise UsageError(f"storage option 'fsspec' of HTTP: {one_line(exc)}") from exc
        return cls(url, system, pool)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See ObjectStore. A request for each directory and one for each file's size."""
        waiting = [prefix]
        while waiting:
            pages = self._pool.run(partial(self._children, name) for name in waiting)
            found = [name for page in pages for name in page]
            waiting = [name for name in found if name.endswith("/")]
            yield from (StoredObject(name, 0) for name in waiting)
            files = [name for name in found if not name.endswith("/")]
            yield from self._pool.run(partial(self.stat, name) for name in files)

    def stat(self, name: str) -> StoredObject:
        """See ObjectStore."""
        answer = self._ask("HEAD", name)
        if answer.status in _NO_HEAD:
            answer = self._ask("GET", name)
        return self._described(answer, name)

    def read(self, found: StoredObject, start: int, end: int, into: Sink, watch: Watch) -> None:
        """See ObjectStore. Only whole files: `range_size` is None."""
        assert (start, end) == (0, found.size), "there are no ranges"
        answer = self._ask("GET", found.name, body=True)
        try:
            now = self._described(answer, found.name)
        except StorageError:
            self._close(answer)
            raise
        if now.size != found.size or (found.version and now.version != found.version):
            self._close(answer)
            raise StorageChangedError("the file was changed meanwhile")
        with _errors():
            loop = self._system.loop
            copied = copy_stream(loop, answer.content.read, answer.close, into, watch)
        if copied != found.size:
            raise StorageTransientError(f"{copied} bytes came of {found.size}")

    def write(self, name: str, source: BinaryIO, size: int, watch: Watch) -> StoredObject:  # noqa: ARG002 - refused
        """Refused."""
        self._refuse()

    def make_directory(self, name: str) -> None:  # noqa: ARG002 - refused
        """Refused."""
        self._refuse()

    def delete(self, name: str) -> None:  # noqa: ARG002 - refused
        """Refused."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise StorageDeniedError("HTTP is only read from")

    def _children(self, directory: str) -> Sequence[str]:
        """The names that the index page of `directory` links to; none where there is no page."""
        try:
            answer = self._ask("GET", directory, body=True)
        except StorageNotFoundError:
            return ()
        if answer.content_type != "text/html":
            self._close(answer)
            return ()
        with _errors():
            page = sync(self._system.loop, partial(answer.text, errors="replace"))
        links = _Links(str(answer.url))
        links.feed(page)
        names = sorted(directory + unquote(link) for link in links.children)
        if any(len(name) > _LONGEST_NAME for name in names):
            raise StorageDeniedError("it has directories without end: a link leads back up")
        return names

    def _ask(self, method: str, name: str, *, body: bool = False) -> aiohttp.ClientResponse:
        """The server's answer; its `body` is still to come, and to be closed, where wanted.

        Raises StorageError where the server refuses, but for a HEAD that it does not know.
        """

        async def ask() -> aiohttp.ClientResponse:
            session = await self._system.set_session()
            url = self._system.encode_url(f"{self._root}/{quote(name)}")
            own = dict(self._system.kwargs)
            headers = {**_AS_IT_IS, **own.pop("headers", {})}
            answer: aiohttp.ClientResponse
            answer = await session.request(method, url, headers=headers, **own)
            if not body or answer.status >= 400:
                answer.close()
            return answer

        with _errors():
            answer: aiohttp.ClientResponse = sync(self._system.loop, ask)
        if answer.status >= 400 and not (method == "HEAD" and answer.status in _NO_HEAD):
            raise from_status(answer.status, answer.reason)
        return answer

    def _close(self, answer: aiohttp.ClientResponse) -> None:
        self._system.loop.call_soon_threadsafe(answer.close)

    def _described(self, answer: aiohttp.ClientResponse, name: str) -> StoredObject:
        if answer.url.path.endswith("/"):
            raise StorageNotFoundError("it is a directory")
        if answer.content_length is None:
            raise StorageDeniedError("the server does not say how long the file is")
        return StoredObject(name, answer.content_length, _version(answer.headers))


def _version(headers: Mapping[str, str]) -> str | None:
    """What tells this file from one that replaces it; None where nothing does."""
    etag, modified = headers.get("ETag"), headers.get("Last-Modified")
    if modified is None:
        return etag
    try:
        # Both by the server's own clock.
        age = parsedate_to_datetime(headers.get("Date", "")) - parsedate_to_datetime(modified)
    except (TypeError, ValueError):  # no date, or one with and one without a time zone
        return etag
    if age.total_seconds() < _SETTLED:
        return None
    return etag or f"{modified} {headers['Content-Length']}"


class _Links(HTMLParser):
    """The names, as they stand in URLs, of what lies directly below a page and is linked there."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self._page = page
        self.children: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Takes the links; HTMLParser calls this for each tag."""
        target = dict(attrs).get("href") if tag == "a" else None
        # Links that sort the page, or show a part of it, are queries and fragments.
        if not target or "?" in target or "#" in target:
            return
        url = urljoin(self._page, target)
        name = url[len(self._page) :]
        if url.startswith(self._page) and name and "/" not in name[:-1]:
            self.children.add(name)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (aiohttp.InvalidURL, aiohttp.ClientSSLError) as exc:
        raise StorageDeniedError(one_line(exc)) from exc
    except asyncio.TimeoutError as exc:
        raise StorageTransientError("the server did not answer in time") from exc
    except (aiohttp.ClientError, OSError) as exc:
        raise StorageTransientError(one_line(exc) or type(exc).__name__) from exc
