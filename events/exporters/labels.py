"""Label values: few, short and on one line, whatever a message says."""

from __future__ import annotations

from collections.abc import Iterable

UNKNOWN = "unknown"
OTHER = "other"
#: Distinct values of one label; beyond, new ones are `OTHER`. Each costs its series for ever.
MOST_VALUES = 50
_MAX_LENGTH = 64


class LabelValues:
    """The values of one label. Not thread-safe."""

    def __init__(self, known: Iterable[str] = (), most: int = MOST_VALUES) -> None:
        """With `known`, these are all there are; else the first `most` that come."""
        self._values = set(known)
        self._open = not self._values
        self._most = most

    def value(self, text: object) -> str:
        """What stands for `text` in the label."""
        if text is None or text == "":
            return UNKNOWN
        name = " ".join(str(text).split())[:_MAX_LENGTH]
        if name in self._values:
            return name
        if not self._open or len(self._values) >= self._most:
            return OTHER
        self._values.add(name)
        return name
