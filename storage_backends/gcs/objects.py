"""How Cloud Storage describes an object, read into a StoredObject and back."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from storage_backends.objects.checksum import Crc32c
from storage_backends.objects.store import StoredObject


def described(resource: Mapping[str, Any]) -> StoredObject:
    """The object that a resource of the JSON API describes."""
    crc32c = resource.get("crc32c")
    return StoredObject(
        name=resource["name"],
        size=int(resource.get("size", 0)),
        version=_text(resource.get("generation")),
        checksum=_checksum(crc32c) if crc32c else None,
    )


def checksum_in(header: str) -> str | None:
    """The CRC-32C that the header ``X-Goog-Hash`` (``crc32c=...,md5=...``) names."""
    for part in header.replace(" ", "").split(","):
        if part.startswith("crc32c="):
            return _checksum(part.removeprefix("crc32c="))
    return None


def encoded(checksum: Crc32c) -> str:
    """The checksum as Cloud Storage writes it: base64 of the big-endian bytes."""
    return base64.b64encode(checksum.value.to_bytes(4, "big")).decode()


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _checksum(crc32c: str) -> str:
    return f"crc32c:{base64.b64decode(crc32c).hex()}"
