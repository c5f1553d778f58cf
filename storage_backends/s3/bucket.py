"""One bucket of S3 by its own API, on the connections of s3fs."""

from __future__ import annotations

import hashlib
import re
from asyncio import AbstractEventLoop
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from s3fs import S3FileSystem

from messaging.errors import UsageError
from storage_backends.errors import StorageCorruptError
from storage_backends.protocols.errors import one_line
from storage_backends.s3.errors import FAULTS, from_s3

_OPTIONS = ("key", "secret", "token", "endpoint_url", "region")
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')


class S3Bucket:
    """Requests to a bucket, each tried once and in bounded time. Safe for many threads.

    By s3fs's `call_s3`: its file-like methods strip slashes from names, cache listings and cannot
    tell versions apart. All requests run on fsspec's one event loop; `loop` is that.
    """

    def __init__(self, name: str, options: Mapping[str, Any], connections: int) -> None:
        """Raises UsageError for wrong `options`, those of FsspecBackend. Touches no network."""
        self.name = name
        self._system = _file_system(options, connections)

    @property
    def loop(self) -> AbstractEventLoop:
        """Where bodies of answers are read."""
        loop: AbstractEventLoop = self._system.loop
        return loop

    def call(self, method: str, **asked: Any) -> Any:
        """S3's answer to `method`, with botocore's names; raises StorageError."""
        with self.errors():
            return self._system.call_s3(method, Bucket=self.name, **asked)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Whatever S3 and its libraries raise within becomes a StorageError."""
        try:
            yield
        except FAULTS as exc:
            raise from_s3(exc, self.name) from exc

    def crc(self) -> dict[str, str]:
        """What an upload in parts asks for, so that S3 checks each part, if it shall.

        An endpoint that knows no CRC32 is set by AWS_REQUEST_CHECKSUM_CALCULATION=when_required,
        as for AWS' own tools.
        """
        with self.errors():
            config = self._system.s3.meta.config
        wanted = getattr(config, "request_checksum_calculation", None) == "when_supported"
        return {"ChecksumAlgorithm": "CRC32"} if wanted else {}

    def checksum(self, answer: Mapping[str, Any]) -> str | None:
        """``md5:hex`` of the content, where S3's `answer` tells it.

        The ETag is it for what was uploaded in one request, as plain or encrypted with S3's own key
        ("AES256", the default); not with KMS or a customer's key, nor in S3 Express' buckets.
        """
        own_key = answer.get("ServerSideEncryption", "AES256") == "AES256"
        if not own_key or answer.get("SSECustomerAlgorithm") or self.name.endswith("--x-s3"):
            return None
        plain = _MD5.fullmatch(answer.get("ETag", ""))
        return f"md5:{plain[1]}" if plain else None

    def compared(self, answer: Mapping[str, Any], data: bytes) -> str | None:
        """The checksum by `answer` to the upload of `data`, if any; raises StorageCorruptError."""
        received = self.checksum(answer)
        if received is None:
            return None
        sent = f"md5:{hashlib.md5(data, usedforsecurity=False).hexdigest()}"
        if received != sent:
            raise StorageCorruptError(f"S3 received {received}, {sent} was sent")
        return sent


def _file_system(options: Mapping[str, Any], connections: int) -> S3FileSystem:
    for option in _OPTIONS:
        if not isinstance(options.get(option) or "", str):
            raise UsageError(f"storage option {option!r} of S3 must be text")
    given = {option: options[option] for option in _OPTIONS if options.get(option)}
    if ("key" in given) != ("secret" in given):
        raise UsageError("storage options 'key' and 'secret' of S3 go together: one is missing")
    region = given.pop("region", None)
    own = {"use_listings_cache": False, **given, **options["fsspec"]}
    own["client_kwargs"] = {
        **({"region_name": region} if region else {}),
        **own.get("client_kwargs", {}),
    }
    own["config_kwargs"] = {
        "connect_timeout": 10.0,
        "read_timeout": 60.0,
        "max_pool_connections": connections,
        "retries": {"total_max_attempts": 1},
        **own.get("config_kwargs", {}),
    }
    try:
        # Not an instance that fsspec keeps: another job's credentials may differ.
        system = S3FileSystem(**{**own, "skip_instance_cache": True})
    except (TypeError, ValueError, KeyError) as exc:
        raise UsageError(f"storage option 'fsspec' of S3: {one_line(exc)}") from exc
    system.retries = 1
    return system
