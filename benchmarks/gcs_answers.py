"""What Google Cloud Storage's JSON API answers to the requests that clients send for files.

A request or parameter that is not known here is refused, so that no measurement rests on an answer
that means something else.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import google_crc32c

from benchmarks.memory_bucket import Held, MemoryBucket, PreconditionError, checksum

#: Longer uploads are counted and checked, not kept.
_KEPT = 16 << 20
_PAGE = 1_000
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(?:\d+|\*)|\*)/(\d+|\*)")
#: Those that change nothing here, beside those each call looks at.
_IDLE = {"alt", "fields", "generation", "name", "prettyPrint", "projection", "upload_id"}
_KNOWN = _IDLE | {"ifGenerationMatch", "maxResults", "pageToken", "prefix", "uploadType"}


@dataclass(frozen=True, slots=True)
class Request:
    """The head of one request."""

    method: str
    target: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back: `body`, or `count` bytes of the large content from `start` on."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    start: int = 0
    count: int = 0


@dataclass(slots=True)
class Upload:
    """A body as it comes, and how the object shall be named when it is complete."""

    name: str
    if_generation: int | None
    kept: bytearray | None = field(default_factory=bytearray)
    received: int = 0
    crc: int = 0

    def add(self, data: bytes) -> None:
        """Take the next bytes."""
        self.crc = google_crc32c.extend(self.crc, data)
        self.received += len(data)
        if self.kept is not None:
            self.kept += data
            if self.received > _KEPT:
                self.kept = None


class Api:
    """Answers requests from `bucket`. For one thread."""

    def __init__(self, bucket: MemoryBucket) -> None:
        self._bucket = bucket
        self._uploads: dict[str, Upload] = {}
        self._ids = itertools.count()

    def receiver(self, request: Request) -> Upload:
        """Where the body of `request` goes; `answer` wants it when it is complete."""
        query = dict(parse_qsl(urlsplit(request.target).query))
        return self._uploads.get(query.get("upload_id", "")) or Upload(
            query.get("name", ""), _number(query.get("ifGenerationMatch"))
        )

    def answer(self, request: Request, upload: Upload) -> Answer:
        """The answer to `request`, whose body is in `upload`."""
        url = urlsplit(request.target)
        query = dict(parse_qsl(url.query))
        unknown = query.keys() - _KNOWN
        if unknown:
            return Answer(400, f"unknown parameters: {', '.join(sorted(unknown))}".encode())
        parts = url.path.partition("/storage/v1/b/")[2].split("/", 2)
        name = unquote(parts[2]) if len(parts) > 2 else ""
        if url.path.startswith("/upload/"):
            return self._upload(request, query, upload)
        if request.method == "DELETE":
            return Answer(204 if self._bucket.delete(name) else 404)
        if len(parts) == 1:
            return _json({"kind": "storage#bucket", "id": parts[0], "name": parts[0]})
        if not name:
            return self._list(query)
        held = self._bucket.get(name)
        if held is None or str(held.generation) != query.get("generation", str(held.generation)):
            return Answer(404, b"no such object")
        return _media(request, held) if query.get("alt") == "media" else _json(_resource(held))

    def _list(self, query: Mapping[str, str]) -> Answer:
        limit = int(query.get("maxResults", _PAGE))
        found = self._bucket.names(query.get("prefix", ""), query.get("pageToken", ""))
        page = list(itertools.islice(found, limit + 1))
        listed: dict[str, Any] = {"items": [_resource(held) for held in page[:limit]]}
        if len(page) > limit:
            listed["nextPageToken"] = page[limit].name
        return _json(listed)

    def _upload(self, request: Request, query: Mapping[str, str], upload: Upload) -> Answer:
        kind = query.get("uploadType")
        try:
            if kind == "resumable":
                return self._resumable(request, query, upload)
            if kind == "multipart":
                upload = _multipart(request.headers["content-type"], upload)
            return self._complete(upload)
        except PreconditionError:
            return Answer(412, b"conditionNotMet")

    def _resumable(self, request: Request, query: Mapping[str, str], upload: Upload) -> Answer:
        if "upload_id" not in query:
            metadata = json.loads(upload.kept or b"{}")
            session = f"u{next(self._ids)}"
            name = metadata.get("name") or query["name"]
            self._uploads[session] = Upload(name, upload.if_generation)
            place = f"http://{request.headers['host']}{request.target}&upload_id={session}"
            return Answer(200, headers={"Location": place})
        if _total(request.headers) not in {None, upload.received}:
            end = {"Range": f"bytes=0-{upload.received - 1}"} if upload.received else {}
            return Answer(308, headers=end)
        del self._uploads[query["upload_id"]]
        return self._complete(upload)

    def _complete(self, upload: Upload) -> Answer:
        held = self._bucket.put_counted(
            upload.name,
            upload.received,
            checksum(upload.crc),
            upload.if_generation,
            None if upload.kept is None else bytes(upload.kept),
        )
        return _json(_resource(held))


def _multipart(content_type: str, sent: Upload) -> Upload:
    """The object in a multipart/related body: its metadata, then its content."""
    body = bytes(sent.kept or b"")
    boundary = b"--" + content_type.partition("boundary=")[2].strip('"').encode()
    metadata_at = body.index(b"\r\n\r\n") + 4
    metadata_end = body.index(b"\r\n" + boundary, metadata_at)
    content_at = body.index(b"\r\n\r\n", metadata_end) + 4
    metadata = json.loads(body[metadata_at:metadata_end])
    upload = Upload(metadata.get("name") or sent.name, sent.if_generation)
    upload.add(body[content_at : body.rindex(b"\r\n" + boundary)])
    if metadata.get("crc32c", checksum(upload.crc)) != checksum(upload.crc):
        raise ValueError(f"{upload.name}: the crc32c sent is not that of the content")
    return upload


def _media(request: Request, held: Held) -> Answer:
    start, end = 0, held.size
    wanted = _RANGE.fullmatch(request.headers.get("range", ""))
    headers = {
        "Content-Type": "application/octet-stream",
        "ETag": f'"{held.generation}"',
        "X-Goog-Generation": str(held.generation),
        "X-Goog-Hash": f"crc32c={held.crc32c}",
        "X-Goog-Stored-Content-Encoding": "identity",
        "X-Goog-Stored-Content-Length": str(held.size),
    }
    if wanted:
        start = int(wanted[1])
        end = min(end, int(wanted[2]) + 1 if wanted[2] else end)
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{held.size}"
        if start >= end:
            return Answer(416, b"no such range")
    status = 206 if wanted else 200
    if held.large:
        return Answer(status, headers=headers, start=start, count=end - start)
    if held.body is None:
        return Answer(410, b"this content was counted, not kept")
    return Answer(status, held.body[start:end], headers)


def _resource(held: Held) -> dict[str, str]:
    return {
        "kind": "storage#object",
        "id": f"bench/{held.name}/{held.generation}",
        "name": held.name,
        "bucket": "bench",
        "generation": str(held.generation),
        "metageneration": "1",
        "size": str(held.size),
        "crc32c": held.crc32c,
        "etag": str(held.generation),
        "contentType": "application/octet-stream",
        "selfLink": f"/storage/v1/b/bench/o/{quote(held.name, safe='')}",
    }


def _json(value: Any) -> Answer:
    return Answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _total(headers: Mapping[str, str]) -> int | None:
    """The object's size that a Content-Range names; None where it names none."""
    named = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    if named is None:
        return None
    return -1 if named[2] == "*" else int(named[2])
