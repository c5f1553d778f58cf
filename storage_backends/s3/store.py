"""Amazon S3, and whatever else speaks its protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from messaging.errors import UsageError
from storage_backends.errors import (
    StorageChangedError,
    StorageError,
    StorageNotFoundError,
    StorageTransientError,
)
from storage_backends.objects.store import ObjectStore, Sink, StoredObject
from storage_backends.objects.streaming import copy_stream
from storage_backends.pool import TransferPool
from storage_backends.protocols.errors import one_line
from storage_backends.s3.bucket import S3Bucket
from storage_backends.s3.parts import PART_SIZE, taken, write_parts
from storage_backends.watch import Watch

#: Connections beyond the pool's: callers work on their own transfers too.
_CALLERS = 32


class S3Store(ObjectStore):
    """The objects of one bucket, each by its exact key; see ObjectStore.

    The version is the ETag, and a read asks for just that one (`If-Match`). Compared are the MD5 of
    objects that were uploaded in one request, where the ETag is one (see `S3Bucket.checksum`), and
    the CRC32 that botocore sends with every upload and part for S3 to check, and that comes back
    with a whole object. Larger objects have parts that are compared, and no checksum of the whole.
    """

    range_size = 32 << 20

    def __init__(self, bucket: S3Bucket, pool: TransferPool) -> None:
        self.url = f"s3://{bucket.name}"
        self._bucket = bucket
        self._pool = pool
        #: Whether the ETags of listings are taken for checksums; not known before there is one.
        self._etags_tell: bool | None = None

    @classmethod
    def open(cls, url: str, options: Mapping[str, Any], pool: TransferPool) -> S3Store:
        """The store at ``s3://BUCKET``; raises UsageError. Touches no network."""
        name = url.partition("://")[2].rstrip("/")
        if not name or ("/" in name and not name.startswith("arn:")):
            raise UsageError(f"storage URL {one_line(url)!r}: expected s3://BUCKET and no more")
        return cls(S3Bucket(name, options, pool.threads + _CALLERS), pool)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See ObjectStore."""
        asked: dict[str, Any] = {"Prefix": prefix}
        while True:
            page = self._bucket.call("list_objects_v2", **asked)
            for item in page.get("Contents", ()):
                yield self._listed(item)
            if not page.get("IsTruncated"):
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]

    def stat(self, name: str) -> StoredObject:
        """See ObjectStore."""
        try:
            answer = self._bucket.call("head_object", Key=name)
        except StorageError as exc:
            raise self._reason(name) or exc from exc
        return StoredObject(
            name, int(answer["ContentLength"]), answer["ETag"], self._bucket.checksum(answer)
        )

    def read(self, found: StoredObject, start: int, end: int, into: Sink, watch: Watch) -> None:
        """See ObjectStore."""
        # A whole object is not asked for as a range: S3 sends its CRC32 only without one.
        whole = end - start == found.size
        asked = {} if whole else {"Range": f"bytes={start}-{end - 1}"}
        if found.version:
            asked["IfMatch"] = found.version
        try:
            answer = self._bucket.call("get_object", Key=found.name, **asked)
        except StorageNotFoundError as exc:
            raise StorageChangedError(f"it was there and is not now: {exc}") from exc
        body = answer["Body"]
        if found.checksum and self._bucket.checksum(answer) is None:
            # Listed like one with an MD5, but encrypted so that its ETag is none: to be looked up.
            self._bucket.loop.call_soon_threadsafe(body.close)
            raise StorageChangedError("its ETag is no checksum of it")
        with self._bucket.errors():
            copied = copy_stream(self._bucket.loop, body.read, body.close, into, watch)
        if copied != end - start:
            raise StorageTransientError(f"{copied} bytes came of {end - start}")

    def write(self, name: str, source: BinaryIO, size: int, watch: Watch) -> StoredObject:
        """See ObjectStore; a large file goes up in parts, side by side."""
        if size > PART_SIZE:
            return write_parts(self._bucket, self._pool, name, source, size, watch)
        data = taken(source, size)
        watch.moved(size)  # before it appears: a stop is heard up to then
        answer = self._bucket.call("put_object", Key=name, Body=data)
        return StoredObject(name, size, answer["ETag"], self._bucket.compared(answer, data))

    def make_directory(self, name: str) -> None:
        """See ObjectStore: an empty object of that name, as S3's own console makes it."""
        self._bucket.call("put_object", Key=name, Body=b"")

    def delete(self, name: str) -> None:
        """See ObjectStore."""
        self._bucket.call("delete_object", Key=name)

    def _listed(self, item: Mapping[str, Any]) -> StoredObject:
        """An object of a listing, which does not tell whether its ETag is a checksum.

        In most buckets all are or none is, so one object is asked about, once. `read` finds out
        the exceptions.
        """
        name, size = item["Key"], item["Size"]
        checksum = self._bucket.checksum(item)
        if checksum and self._etags_tell is None:
            try:
                self._etags_tell = self.stat(name).checksum is not None
            except StorageError:  # listing may be all that is allowed, or it is gone meanwhile
                checksum = None
        return StoredObject(name, size, item["ETag"], checksum if self._etags_tell else None)

    def _reason(self, name: str) -> StorageError | None:
        """Why HEAD was refused: its answer has no body, that of GET says which name is wrong."""
        try:
            answer = self._bucket.call("get_object", Key=name, Range="bytes=0-0")
        except StorageError as exc:
            return exc
        self._bucket.loop.call_soon_threadsafe(answer["Body"].close)
        return None
