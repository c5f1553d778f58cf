"""``gcs``: Google Cloud Storage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO
from urllib.parse import quote

from google.cloud.storage import Blob

from messaging.errors import UsageError
from storage_backends.contract import StorageBackend
from storage_backends.errors import (
    StorageChangedError,
    StorageCorruptError,
    StorageNotFoundError,
)
from storage_backends.gcs.connection import GcsConnection
from storage_backends.gcs.errors import gcs_errors
from storage_backends.gcs.objects import checksum_in, described
from storage_backends.gcs.upload import GcsUpload
from storage_backends.objects.backend import ObjectBackend
from storage_backends.objects.store import ObjectStore, Sink, StoredObject
from storage_backends.pool import TransferPool
from storage_backends.retrying import Retry
from storage_backends.watch import Watch

#: Small: as many of them are in memory as there are ranges under way.
_BLOCK = 1 << 18
_LISTED = "items(name,size,generation,crc32c),nextPageToken"


class GcsBackend(ObjectBackend):
    """The bucket of the option ``bucket``.

    Other options: ``placeholders``, whether to make a directory placeholder for every directory
    above a file, as gcsfuse without ``--implicit-dirs`` needs (leave them out for a bucket with
    hierarchical namespace); ``endpoint``, another server of the same API, without credentials if
    it is ``http://``; ``project``, the client library's, which requests for objects do not need.
    """

    @classmethod
    def open(cls, options: dict[str, Any], pool: TransferPool) -> StorageBackend:
        """See the contract. Finds credentials only when first used."""
        bucket = _text(options, "bucket")
        if bucket is None:
            raise UsageError("storage backend 'gcs' needs 'bucket': the name of a bucket")
        if "/" in bucket:
            raise UsageError(f"storage option bucket {bucket!r}: expected a name without '/'")
        endpoint = _text(options, "endpoint")
        if endpoint is not None and not endpoint.startswith(("https://", "http://")):
            raise UsageError(f"storage option endpoint {endpoint!r}: expected https://HOST")
        placeholders = options.get("placeholders", True)
        if not isinstance(placeholders, bool):
            raise UsageError(
                f"storage option placeholders {placeholders!r}: expected true or false"
            )
        # As many threads more may fetch for themselves; what is not used costs nothing.
        connection = GcsConnection(_text(options, "project"), endpoint, 4 * pool.threads)
        return cls(GcsStore(connection, bucket, placeholders), pool, Retry.of(options))


class GcsStore(ObjectStore):
    """The objects of one bucket. A version is a generation."""

    range_size = 32 << 20
    wants_listing = True

    def __init__(self, connection: GcsConnection, bucket: str, placeholders: bool) -> None:
        self.url = f"gs://{bucket}"
        self.wants_directories = placeholders
        self._connection = connection
        self._bucket = bucket

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See ObjectStore."""
        with gcs_errors():
            for blob in self._connection.client.list_blobs(
                self._bucket,
                prefix=prefix or None,
                fields=_LISTED,
                timeout=self._connection.timeout,
                retry=None,
            ):
                yield _described(blob)

    def stat(self, name: str) -> StoredObject:
        """See ObjectStore."""
        blob = self._blob(name)
        with gcs_errors():
            blob.reload(timeout=self._connection.timeout, retry=None)
        return _described(blob)

    def read(self, found: StoredObject, start: int, end: int, into: Sink, watch: Watch) -> None:
        """See ObjectStore. What is stored compressed comes compressed: that is what is checked."""
        whole = start == 0 and end == found.size
        headers = {"Accept-Encoding": "gzip"}
        if not whole:
            headers["Range"] = f"bytes={start}-{end - 1}"
        try:
            response = self._connection.request(
                "GET",
                f"/download/storage/v1/b/{self._bucket}/o/{quote(found.name, safe='')}",
                params={"alt": "media", "generation": found.version},
                headers=headers,
                expected=(200,) if whole else (206,),
                stream=True,
            )
        except StorageNotFoundError as exc:
            raise StorageChangedError(f"generation {found.version} is gone: {exc}") from exc
        with response:
            _require_same(response.headers, found)
            left = end - start
            while left > 0:
                with gcs_errors():
                    block = response.raw.read(min(left, _BLOCK), decode_content=False)
                if not block:
                    raise StorageCorruptError(f"{left} bytes of {end - start} did not come")
                into.write(block)
                watch.moved(len(block))
                left -= len(block)
            with gcs_errors():
                # Takes note of the end, so that the connection can be used again.
                if response.raw.read(1, decode_content=False):
                    raise StorageCorruptError(f"more than {end - start} bytes came")

    def write(self, name: str, source: BinaryIO, size: int, watch: Watch) -> StoredObject:
        """See ObjectStore."""
        return self.upload(name, None)(source, size, watch)

    def upload(
        self, name: str, listed: Mapping[str, StoredObject] | None
    ) -> Callable[[BinaryIO, int, Watch], StoredObject]:
        """See ObjectStore."""
        known = None
        if listed is not None:
            known = int(listed[name].version or 0) if name in listed else 0
        return GcsUpload(self._connection, self._bucket, name, self.stat, known)

    def make_directory(self, name: str) -> None:
        """See ObjectStore: a placeholder, an empty object, as gcsfuse and the console make them."""
        GcsUpload(self._connection, self._bucket, name, self.stat, 0).create_empty()

    def delete(self, name: str) -> None:
        """See ObjectStore."""
        try:
            with gcs_errors():
                self._blob(name).delete(timeout=self._connection.timeout, retry=None)
        except StorageNotFoundError:
            return

    def close(self) -> None:
        """See ObjectStore."""
        self._connection.close()

    def _blob(self, name: str) -> Blob:
        return self._connection.client.bucket(self._bucket).blob(name)


def _require_same(headers: Mapping[str, str], found: StoredObject) -> None:
    """Raise StorageChangedError where the answer says that it is of another generation.

    Cloud Storage answers with the one asked for; not every other server of its API does.
    """
    _, _, size = headers.get("Content-Range", "").partition("/")
    checksum = checksum_in(headers.get("X-Goog-Hash", ""))
    generation = headers.get("X-Goog-Generation")
    pairs = ((size, str(found.size)), (generation, found.version), (checksum, found.checksum))
    for said, known in pairs:
        if said and known and said != known:
            raise StorageChangedError(f"it is another version now: {said}, not {known}")


def _described(blob: Blob) -> StoredObject:
    return described(
        {
            "name": blob.name,
            "size": blob.size or 0,
            "generation": blob.generation,
            "crc32c": blob.crc32c,
        }
    )


def _text(options: dict[str, Any], option: str) -> str | None:
    value = options.get(option)
    if value is not None and (not isinstance(value, str) or not value):
        raise UsageError(f"storage option {option} {value!r}: expected a text")
    return value
