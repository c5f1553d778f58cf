"""Uploading a large file to S3 in parts, side by side."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, BinaryIO

from storage_backends.errors import StorageCorruptError, StorageError
from storage_backends.objects.store import StoredObject
from storage_backends.pool import TransferPool
from storage_backends.retrying import Retry
from storage_backends.s3.bucket import S3Bucket
from storage_backends.watch import Watch

log = logging.getLogger(__name__)

PART_SIZE = 8 << 20
_MOST_PARTS = 10_000
#: Parts of one file on their way at the same time: bounds the memory.
_LANES = 8
#: Of one part, so that a long upload does not begin again for it.
_PART_RETRY = Retry(longest=4.0, deadline=30.0)


def write_parts(
    bucket: S3Bucket, pool: TransferPool, name: str, source: BinaryIO, size: int, watch: Watch
) -> StoredObject:
    """Make the object `name` the `size` bytes of `source`; see ObjectStore.write.

    S3 keeps the parts apart until all are there; when that fails they are deleted.
    """
    crc = bucket.crc()
    begun = bucket.call("create_multipart_upload", Key=name, **crc)
    which = {"Key": name, "UploadId": begun["UploadId"]}
    parts = _Parts(bucket, {**which, **crc}, source, size)
    try:
        whole = watch.part()
        lanes = pool.run([partial(parts.lane, first, whole) for first in range(_LANES)], whole.stop)
        sent = sorted(chain.from_iterable(lanes), key=lambda part: int(part["PartNumber"]))
        watch.check()
        done = bucket.call("complete_multipart_upload", **which, MultipartUpload={"Parts": sent})
    except BaseException:
        _abort(bucket, which)
        raise
    return StoredObject(name, size, done["ETag"])


@dataclass
class _Parts:
    """The parts of one upload. Its lanes run on threads of their own."""

    bucket: S3Bucket
    #: Names the upload in each request.
    which: dict[str, str]
    source: BinaryIO
    size: int

    def __post_init__(self) -> None:
        self.part_size = max(PART_SIZE, -(-self.size // _MOST_PARTS))
        self._reading = threading.Lock()  # guards the position of `source`

    def lane(self, first: int, watch: Watch) -> list[dict[str, Any]]:
        """Send every `_LANES`-th part from `first` on; what S3 wants to hear of them at the end."""
        starts = range(first * self.part_size, self.size, _LANES * self.part_size)
        return [_PART_RETRY.call(partial(self._send, start), watch) for start in starts]

    def _send(self, start: int, watch: Watch) -> dict[str, Any]:
        watch.check()
        number = start // self.part_size + 1
        data = self._taken(start)
        answer = self.bucket.call("upload_part", **self.which, PartNumber=number, Body=data)
        self.bucket.compared(answer, data)
        watch.moved(len(data))
        said = {key: answer[key] for key in ("ETag", "ChecksumCRC32") if key in answer}
        return {"PartNumber": number, **said}

    def _taken(self, start: int) -> bytes:
        with self._reading:
            self.source.seek(start)
            return taken(self.source, min(self.part_size, self.size - start))


def taken(source: BinaryIO, size: int) -> bytes:
    """The next `size` bytes; raises StorageCorruptError when `source` has become shorter."""
    pieces = []
    while size and (piece := source.read(size)):
        pieces.append(piece)
        size -= len(piece)
    if size:
        raise StorageCorruptError(f"the file was changed while it was read: {size} bytes less")
    return b"".join(pieces)


def _abort(bucket: S3Bucket, which: dict[str, Any]) -> None:
    try:
        bucket.call("abort_multipart_upload", **which)
    except StorageError as exc:
        log.warning("parts of %s may stay in bucket %s: %s", which["Key"], bucket.name, exc)
