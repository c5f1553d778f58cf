"""Uploads to Cloud Storage that end well when tried again, and never replace what is newer.

Each upload carries a precondition: the generation that the name had when somebody first looked, or
0 for a name that was free. For a tree one listing has looked at all names. A single file is taken
to be new, which most outputs are: one request. Only when Cloud Storage says otherwise (412) is the
generation asked for, and the upload repeated with it: three requests to replace a file, where
looking first would be two for every file. When that first request fails in another way, the name is
looked at before anything is sent again. For a file that is too large for one request, looking first
costs nothing beside it. What was found once holds for all attempts.

A 412 later on means that the object was written meanwhile: by this upload's own attempt whose
answer was lost, if size and checksum are the same, which is success; else by somebody else, whose
object stays.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import requests

from storage_backends.errors import (
    StorageChangedError,
    StorageCorruptError,
    StorageNotFoundError,
    StorageTransientError,
)
from storage_backends.gcs.connection import GcsConnection
from storage_backends.gcs.objects import described, encoded
from storage_backends.objects import checksum
from storage_backends.objects.checksum import Crc32c
from storage_backends.objects.store import StoredObject
from storage_backends.watch import TransferStoppedError, Watch

#: Larger files are sent in a session of their own, which an attempt that failed can go on with.
SINGLE_REQUEST = 4 << 20
_BLOCK = 1 << 20
_OCTETS = "application/octet-stream"
_UNFINISHED = 308


class GcsUpload:
    """One upload of one file, which may take several attempts. Not thread-safe.

    `known` is the generation that the name has: 0 for none, None when nobody has looked. `look`
    asks for what is there now.
    """

    def __init__(
        self,
        connection: GcsConnection,
        bucket: str,
        name: str,
        look: Callable[[str], StoredObject],
        known: int | None,
    ) -> None:
        self._connection = connection
        self._path = f"/upload/storage/v1/b/{bucket}/o"
        self._name = name
        self._look = look
        self._known = known
        self._hashed: Crc32c | None = None
        self._session: str | None = None
        #: An attempt has been sent, and nobody has looked since, nor before.
        self._in_doubt = False

    def __call__(self, source: BinaryIO, size: int, watch: Watch) -> StoredObject:
        """One attempt; see `ObjectStore.write`."""
        if self._hashed is None:
            # First, and sent along: so Cloud Storage refuses other bytes before they are an object.
            self._hashed = Crc32c()
            checksum.of_file(source, self._hashed)
        watch = watch.part()  # what is sent for nothing is not counted
        if self._in_doubt and (landed := self._landed(size, watch)):
            return landed
        if self._known is None and size > SINGLE_REQUEST:
            self._known = _generation(self._there())
        blind = self._known is None
        try:
            return self._send(source, size, watch)
        except TransferStoppedError:
            raise
        except StorageChangedError:
            self._session = None
            self._in_doubt = blind
            if landed := self._landed(size, watch):
                return landed
            if not blind:
                raise
            return self._send(source, size, watch)
        except (StorageTransientError, StorageCorruptError):
            self._in_doubt = blind
            if blind and (landed := self._landed(size, watch)):
                return landed
            raise

    def create_empty(self) -> None:
        """Make an empty object unless there is an object of that name."""
        self._hashed = Crc32c()
        with contextlib.suppress(StorageChangedError):
            self._post(b"", 0, Watch())

    def _send(self, source: BinaryIO, size: int, watch: Watch) -> StoredObject:
        watch.check()
        if size <= SINGLE_REQUEST:
            source.seek(0)
            answer = self._post(source.read(size), size, watch)
        else:
            answer = self._put(source, size, watch)
        stored = _stored(answer)
        if not self._is_ours(stored, size):
            raise StorageCorruptError(
                f"{size} bytes with {self._crc32c.text()} were sent, "
                f"{stored.size} with {stored.checksum} are stored"
            )
        return stored

    def _post(self, data: bytes, size: int, watch: Watch) -> requests.Response:
        if len(data) != size:
            raise StorageCorruptError(
                f"{len(data)} bytes were read of {size}: it changed meanwhile"
            )
        watch.moved(size)  # before it leaves, so that a stop still counts
        boundary = uuid.uuid4().hex
        body = (
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n"
            f"{self._metadata()}\r\n--{boundary}\r\nContent-Type: {_OCTETS}\r\n\r\n"
        ).encode()
        return self._connection.request(
            "POST",
            self._path,
            params=self._params("multipart"),
            headers={"Content-Type": f"multipart/related; boundary={boundary}"},
            data=b"".join((body, data, f"\r\n--{boundary}--\r\n".encode())),
            expected=(200,),
        )

    def _put(self, source: BinaryIO, size: int, watch: Watch) -> requests.Response:
        """Send all in one request, from where an attempt before this one was cut off."""
        start = 0
        if self._session is None:
            self._session = self._begin(size)
        else:
            answer = self._ask(self._session, size)
            if answer is None:
                raise self._forgotten()
            if answer.status_code != _UNFINISHED:
                watch.moved(size)
                return answer
            start = _received(answer)
        watch.moved(start)
        try:
            answer = self._connection.request(
                "PUT",
                self._session,
                headers={"Content-Range": f"bytes {start}-{size - 1}/{size}"},
                data=_Body(source, start, size, watch),
                expected=(200, 201, _UNFINISHED),
            )
        except StorageNotFoundError as exc:
            raise self._forgotten() from exc
        if answer.status_code == _UNFINISHED:
            raise StorageTransientError(f"only {_received(answer)} of {size} bytes have arrived")
        return answer

    def _begin(self, size: int) -> str:
        answer = self._connection.request(
            "POST",
            self._path,
            params=self._params("resumable"),
            headers={
                "Content-Type": "application/json; charset=UTF-8",
                "X-Upload-Content-Type": _OCTETS,
                "X-Upload-Content-Length": str(size),
            },
            data=self._metadata().encode(),
            expected=(200, 201),
        )
        return answer.headers["Location"]

    def _ask(self, session: str, size: int) -> requests.Response | None:
        """How far the upload has come; None where the session is gone."""
        try:
            return self._connection.request(
                "PUT",
                session,
                headers={"Content-Range": f"bytes */{size}", "Content-Length": "0"},
                expected=(200, 201, _UNFINISHED),
            )
        except StorageNotFoundError:
            return None

    def _forgotten(self) -> StorageTransientError:
        """The session is gone, which says nothing of the object or bucket."""
        self._session = None
        return StorageTransientError("Cloud Storage has forgotten the upload: it begins anew")

    def _params(self, kind: str) -> dict[str, Any]:
        return {"uploadType": kind, "ifGenerationMatch": self._known or 0}

    def _metadata(self) -> str:
        return json.dumps({"name": self._name, "crc32c": encoded(self._crc32c)})

    def _is_ours(self, stored: StoredObject, size: int) -> bool:
        return stored.size == size and stored.checksum in (None, self._crc32c.text())

    def _there(self) -> StoredObject | None:
        try:
            return self._look(self._name)
        except StorageNotFoundError:
            return None

    def _landed(self, size: int, watch: Watch) -> StoredObject | None:
        """The object, if what was sent did arrive; else all attempts to come go by what is there.

        An attempt that arrives only after this has been sent for a free name, so it is found by
        the 412 of the next one.
        """
        there = self._there()
        self._known = _generation(there)
        self._in_doubt = False
        watch.forget()
        if there is None or not self._is_ours(there, size):
            return None
        watch.moved(size)
        return there

    @property
    def _crc32c(self) -> Crc32c:
        assert self._hashed is not None
        return self._hashed


class _Body:
    """The bytes of a file from `start` to `size`, by blocks: whole files never are in memory."""

    def __init__(self, source: BinaryIO, start: int, size: int, watch: Watch) -> None:
        self._source = source
        self._start = start
        self._size = size
        self._watch = watch

    def __len__(self) -> int:
        return self._size - self._start

    def __iter__(self) -> Iterator[bytes]:
        self._source.seek(self._start)
        left = len(self)
        while left:
            block = self._source.read(min(left, _BLOCK))
            if not block:
                raise StorageCorruptError(f"{left} bytes are missing: the file changed meanwhile")
            # Before it leaves: without its last block the object never appears.
            self._watch.moved(len(block))
            yield block
            left -= len(block)


def _generation(found: StoredObject | None) -> int:
    """0 for no object."""
    return int((found and found.version) or 0)


def _stored(answer: requests.Response) -> StoredObject:
    try:
        return described(answer.json())
    except (ValueError, KeyError, TypeError) as exc:
        reason = f"Cloud Storage's answer describes no object: {answer.text[:80]!r}"
        raise StorageTransientError(reason) from exc


def _received(answer: requests.Response) -> int:
    """How many bytes Cloud Storage has of an unfinished upload."""
    _, _, last = answer.headers.get("Range", "").partition("-")
    return int(last) + 1 if last else 0
