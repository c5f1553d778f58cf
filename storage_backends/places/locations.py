"""Reading the URL of a place in a store: which kind of store, its root, and the path below it.

==========================  ========  ==========================  ==================
URL                         kind      root                        path
==========================  ========  ==========================  ==================
``gs://bucket/a/b``         gcs       ``bucket``                  ``a/b``
``s3://bucket/a/b``         s3        ``bucket``                  ``a/b``
``gsiftp://host:2811/a/b``  gridftp   ``gsiftp://host:2811``      ``a/b``
``memory://x/a/b``          fsspec    ``memory://x``              ``a/b``
``https://host/a/b``        fsspec    ``https://host/a/b``
``file:///a/b``             fsspec    ``file:///a/b``
==========================  ========  ==========================  ==================

The last two are roots as they are: in the one ``%20`` means a space, and in the other nothing above
the directory may be reached by a symbolic link. In all others every character means itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from messaging.errors import UsageError
from storage_backends.paths import checked_name

#: What `storage_backends.places.choice` tells apart; ``s3`` is served by the backend ``fsspec``.
Kind = Literal["local", "nfs", "gcs", "s3", "gridftp", "plgdata", "fsspec"]

#: Before a name in the executor's own storage, where no URL would tell others of it.
OWN = "portfire-storage:"

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_KINDS: dict[str, Kind] = {
    "gs": "gcs",
    "gcs": "gcs",
    "s3": "s3",
    "s3a": "s3",
    "gsiftp": "gridftp",
    "gridftp": "gridftp",
}
#: Their whole URL is the root.
_WHOLE = ("file", "local", "http", "https")
#: What may not stand before an ``@``: other protocols name a user or, as abfs does, a container.
_WITHOUT_USER = ("gs", "gcs", "s3", "s3a", "gsiftp", "gridftp", "http", "https")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}")


@dataclass(frozen=True, slots=True)
class Location:
    """What a URL says."""

    kind: Kind
    #: A bucket's name for gcs and s3, else a URL without a slash at its end.
    root: str
    #: Checked; no slash at its end.
    path: str = ""


def is_url(text: str) -> bool:
    """Whether `text` names a protocol, rightly or not."""
    return _URL.match(text) is not None


def read_url(url: str) -> Location:
    """The place that `url` names. Raises UsageError and PathError, without any password."""
    match = _URL.fullmatch(url)
    if match is None:
        raise UsageError(f"storage URL {_shown(url)!r}: expected PROTOCOL://PLACE")
    scheme, rest = match[1].lower(), match[2]
    _check(scheme, rest, url)
    authority, _, path = rest.partition("/")
    path = path.removesuffix("/")
    if path:
        plain = unquote(path) if scheme in ("http", "https") else path
        checked_name(f"{plain}/", "path of the URL")  # so that no slash is left at its end
    if scheme in _WHOLE or not authority:
        return Location("fsspec", f"{scheme}://{authority}/{path}".removesuffix("/"))
    kind = _KINDS.get(scheme, "fsspec")
    if kind in ("gcs", "s3"):
        return Location(kind, checked_bucket(authority), path)
    return Location(kind, f"{'gsiftp' if kind == 'gridftp' else scheme}://{authority}", path)


def checked_bucket(name: object) -> str:
    """`name`, if it may be a bucket's (or an S3 access point's). Raises UsageError."""
    if isinstance(name, str) and (_BUCKET.fullmatch(name) or _is_access_point(name)):
        return name
    shown = _shown(name) if isinstance(name, str) else f"a {type(name).__name__}"
    raise UsageError(
        f"bucket {shown!r}: expected 3 or more letters, digits, '-', '_' and '.'; "
        "a folder in it is the prefix"
    )


def _is_access_point(name: str) -> bool:
    return name.startswith("arn:") and name.isprintable() and " " not in name


def _check(scheme: str, rest: str, url: str) -> None:
    wrong = f"storage URL {_shown(url)!r}"
    authority = rest.partition("/")[0]
    before, at, _ = authority.rpartition("@")
    if at and (":" in before or scheme in _WITHOUT_USER):
        raise UsageError(
            f"{wrong} has a user or password: URLs are shown in events and logs; "
            "name credentials in the executor's storage_options or its environment"
        )
    if "?" in rest or "#" in rest:
        raise UsageError(
            f"{wrong} has a '?' or '#': expected no query and no fragment; where they belong to "
            "a name, give the bucket and the prefix as options"
        )
    if "://" in rest:
        raise UsageError(f"{wrong} is a URL in a URL: expected one protocol")
    if " " in authority or not authority.isprintable():
        raise UsageError(f"{wrong}: no bucket or host has blanks or control characters")
    if not authority and (scheme in _KINDS or scheme in ("http", "https")):
        raise UsageError(f"{wrong} names no {'host' if 'ftp' in scheme else 'bucket'}")
    if scheme in ("file", "local") and authority:
        raise UsageError(f"{wrong}: expected three slashes, file:///directory")


def _shown(url: str) -> str:
    """`url` without what may be secret in it, on one line, not long."""
    text = re.sub(r"(?<=://)[^/]*@", "***@", url.partition("?")[0])
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= 80 else text[:77] + "..."
