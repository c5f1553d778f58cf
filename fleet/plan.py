"""What one call of `create` is going to do, once all of it is known to be well-formed."""

from __future__ import annotations

from dataclasses import dataclass

from fleet.place import Place
from fleet.template import Extra, VmTemplate


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The VMs to make."""

    place: Place
    template: VmTemplate
    #: Names of all of them.
    names: tuple[str, ...]
    #: With fewer than so many, none is kept.
    min_count: int
    #: What goes over the template on these: labels and metadata.
    extra: Extra
