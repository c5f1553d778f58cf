"""Checksums of what is moved, written ``algorithm:hex``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import BinaryIO, Protocol

import google_crc32c

#: Bytes hashed at a time.
BLOCK = 1 << 20
_HASHES = ("md5", "sha1", "sha256", "sha512")


class Checksum(Protocol):
    """A checksum in the making. Not thread-safe."""

    def update(self, block: bytes | memoryview, /) -> None:
        """Take in `block`."""

    def text(self) -> str:
        """``algorithm:hex`` of all that was taken in."""


class Crc32c:
    """CRC-32C, the checksum of Google Cloud Storage; its hex is of the big-endian bytes."""

    def __init__(self, value: int = 0) -> None:
        self.value = value

    def update(self, block: bytes | memoryview, /) -> None:
        """Take in `block`."""
        # The C function, which lets other threads run, takes nothing but bytes.
        self.value = google_crc32c.extend(self.value, bytes(block))

    def join(self, other: Crc32c, length: int) -> None:
        """Take in the `length` bytes that `other` is the checksum of."""
        self.value = _multiplied(self.value, _power(8 * length)) ^ other.value

    def text(self) -> str:
        """``crc32c:`` and eight hex digits."""
        return f"crc32c:{self.value:08x}"


# CRC-32C as polynomials over GF(2), lowest power in the highest bit: the checksum of A+B is that of
# A times x^(bits of B), modulo this polynomial, plus that of B.
_POLYNOMIAL = 0x82F63B78
_ONE = 1 << 31


def _multiplied(left: int, right: int) -> int:
    product = 0
    while left:
        if left & _ONE:
            product ^= right
        left = left << 1 & 0xFFFFFFFF
        right = right >> 1 ^ (_POLYNOMIAL if right & 1 else 0)
    return product


def _power(exponent: int) -> int:
    """x to the `exponent`, by squaring."""
    result, square = _ONE, _ONE >> 1
    while exponent:
        if exponent & 1:
            result = _multiplied(result, square)
        square = _multiplied(square, square)
        exponent >>= 1
    return result


class _Hashlib:
    def __init__(self, algorithm: str) -> None:
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm, usedforsecurity=False)

    def update(self, block: bytes | memoryview, /) -> None:
        self._hash.update(block)

    def text(self) -> str:
        return f"{self._algorithm}:{self._hash.hexdigest()}"


def like(text: str | None) -> Checksum | None:
    """A new checksum of the algorithm of `text`; None for no text or an algorithm unknown here."""
    algorithm = (text or "").partition(":")[0]
    if algorithm == "crc32c":
        return Crc32c()
    return _Hashlib(algorithm) if algorithm in _HASHES else None


def of_file(source: BinaryIO, checksum: Checksum) -> str:
    """The text of `checksum` with what is left of `source` taken in."""
    while block := source.read(BLOCK):
        checksum.update(block)
    return checksum.text()


def of_tree(files: Iterable[tuple[str, str | None]]) -> str | None:
    """The checksum of a tree, from the names and checksums of its files.

    It is that of the lines ``CHECKSUM  NAME``, sorted by name; None when a file has none.
    """
    lines = sorted(files)
    texts = [text for _, text in lines]
    whole = like(texts[0]) if texts else None
    if whole is None or None in texts:
        return None
    for name, text in lines:
        whole.update(f"{text}  {name}\n".encode())
    return whole.text()
