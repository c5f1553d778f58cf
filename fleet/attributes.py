"""Metadata attributes of VMs: ``KEY=VALUE`` texts, checked before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from messaging.errors import UsageError

_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")
#: Whoever may look at a VM may read them, as may each job on it.
_SECRET = re.compile(
    r"password|passwd|secret|token|private.?key|api.?key|credential", re.IGNORECASE
)
#: Compute Engine's limits, in bytes.
_MAX_VALUE, _MAX_ALL = 262_144, 524_288


def parse(texts: Iterable[str]) -> dict[str, str]:
    """``KEY=VALUE`` each; a value may hold ``=`` and ``,``. Raises UsageError."""
    attributes: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"-m {text}: metadata is KEY=VALUE, such as quit=soon")
        if key in attributes:
            raise UsageError(f"-m {text}: {key} is given twice")
        attributes[key] = value
    return check(attributes)


def check(attributes: Mapping[str, object]) -> dict[str, str]:
    """As texts; raises UsageError when a VM could not have them, or should not."""
    texts = {str(key): "" if value is None else str(value) for key, value in attributes.items()}
    for key, value in texts.items():
        if not _KEY.fullmatch(key):
            raise UsageError(
                f"metadata {key!r}: a key has letters, digits, - and _, at most 128 of them"
            )
        if _SECRET.search(key):
            raise UsageError(
                f"metadata {key!r} looks like a secret, and each job on a VM can read its "
                "metadata: executors need none; use the VMs' service account"
            )
        if len(value.encode()) > _MAX_VALUE:
            raise UsageError(f"metadata {key!r} is over {_MAX_VALUE} bytes")
    if sum(len(key) + len(value.encode()) for key, value in texts.items()) > _MAX_ALL:
        raise UsageError(f"the metadata is over {_MAX_ALL} bytes in all")
    return texts


def two_in_one(attributes: Mapping[str, str]) -> list[str]:
    """Keys whose value looks as if two pairs had been meant, as in ``db=a,pool=b``."""
    return [key for key, value in attributes.items() if re.search(r",[A-Za-z][\w-]*=", value)]


def merged(items: Iterable[tuple[str, str]], changes: Mapping[str, str | None]) -> dict[str, str]:
    """A VM's attributes with `changes` made; None removes a key."""
    attributes = {**dict(items), **changes}
    return {key: value for key, value in attributes.items() if value is not None}
