"""Serialised objects that the dispatcher passes on without loading their classes.

FireWorks rebuilds every task and user object of a Firework whenever it reads one, so that its
commands need the user's code. The dispatcher only moves documents: each serialised object becomes
an `Opaque`, which FireWorks takes for a loaded object and writes back unchanged.
"""

from __future__ import annotations

from typing import Any


class Opaque:
    """A serialised object in disguise; `to_dict` gives back exactly what was put in."""

    def __init__(self, serialised: dict[str, Any]) -> None:
        self._serialised = serialised
        # FireWorks' deserialisation leaves alone whatever has this attribute.
        self._fw_name = str(serialised.get("_fw_name", ""))

    def to_dict(self) -> dict[str, Any]:
        """The serialised form; the caller must not change it."""
        return self._serialised

    def get(self, key: str, default: Any = None) -> Any:
        """A field of the serialised form, as a loaded Firetask would answer."""
        return self._serialised.get(key, default)


def opaque(value: Any) -> Any:
    """A copy of a document in which every serialised object is an `Opaque`."""
    if isinstance(value, dict):
        if "_fw_name" in value or ("@module" in value and "@class" in value):
            return Opaque(value)
        return {key: opaque(item) for key, item in value.items()}
    if isinstance(value, list):
        return [opaque(item) for item in value]
    return value
