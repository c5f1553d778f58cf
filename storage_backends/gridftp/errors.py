"""What Globus' programs say of a failure, as the storage layer's errors."""

from __future__ import annotations

import re

from storage_backends.errors import (
    StorageDeniedError,
    StorageError,
    StorageNotFoundError,
    StorageTransientError,
)

#: What a server answers begins with its code.
_ANSWER = re.compile(r"^\d{3}[ -]", re.MULTILINE)
_MISSING = re.compile(
    r"no such file|not a directory|is a directory|name too long|not found|PATH_NOT_FOUND"
    r"|too many levels of symbolic links",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"permission denied|not permitted|read-only file system|PERMISSION_DENIED|not authorized"
    r"|access denied|restricted",
    re.IGNORECASE,
)
#: A login that the server refuses, or Globus' security at either end.
_NO_CREDENTIAL = re.compile(
    r"^53[0-5][ -]|globus_gsi|globus_gss|gss_\w+_context|globus_credential|GSS Major",
    re.IGNORECASE | re.MULTILINE,
)
_EXISTS = re.compile(r"file exists|PATH_EXISTS", re.IGNORECASE)
#: Another refusal. A 500 may pass: it is a server's word for any failure of its disks.
_REFUSED = re.compile(r"^5(?!00)\d\d[ -]", re.MULTILINE)
_UNKNOWN = re.compile(
    r"^50[0-4][ -].*(unknown|implemented|supported|invalid command|unrecognized)",
    re.IGNORECASE | re.MULTILINE,
)
_LOST_LIBRARY = re.compile(r"cannot open shared object")
_CODE = re.compile(r"^(?:\d{3}[ -]\s*)+")
_NOISE = re.compile(
    r"^(End\.?|globus_ftp_client: the server responded with an error|GlobusError:.*"
    r"|GridFTP-Errno:.*|There were errors with.*|GSS failure:|GSS Major Status: General failure"
    r"|GSS Minor Status Error Chain:|globus_gsi_gssapi: Error with .*"
    r"|.*gss_init_sec_context failed)$"
)
_PREFIXES = ("globus_xio: ", "A system call failed: ", "GridFTP-Reason: ", "GridFTP-Error-String: ")
_LONGEST = 300


def error_from(text: str) -> StorageError:
    """The typed error for what a Globus program or library said, in one line."""
    reason = one_line(text)
    if _LOST_LIBRARY.search(text):
        return StorageDeniedError(f"{reason}: apt-get install globus-gass-copy-progs")
    if _NO_CREDENTIAL.search(text):
        return StorageDeniedError(f"{reason}; is the proxy certificate valid, and known there?")
    if not _ANSWER.search(text):
        return StorageTransientError(reason)
    if _MISSING.search(text):
        return StorageNotFoundError(reason)
    if _DENIED.search(text) or _REFUSED.search(text):
        return StorageDeniedError(reason)
    return StorageTransientError(reason)


def says_exists(text: str) -> bool:
    """Whether something could not be made because it is there."""
    return bool(_EXISTS.search(text))


def says_unknown(text: str) -> bool:
    """Whether the server does not know the command."""
    return bool(_UNKNOWN.search(text))


def one_line(text: str) -> str:
    """The telling lines of what Globus said, joined; never empty."""
    told: list[str] = []
    for line in text.splitlines():
        plain = _CODE.sub("", line.strip()).removeprefix("error: ").strip()
        for prefix in _PREFIXES:
            plain = plain.removeprefix(prefix)
        if plain and not _NOISE.match(plain) and not any(plain in before for before in told):
            told.append(plain)
    whole = "; ".join(told) or "Globus gave no reason"
    printable = "".join(letter if letter.isprintable() else "?" for letter in whole)
    return printable if len(printable) <= _LONGEST else f"{printable[: _LONGEST - 3]}..."
