"""Makes a disk image: a VM that installs and switches itself off, an image of its disk, no VM.

::

    VM made ─ startup.sh installs ─ "the image is ready" ─ TERMINATED ─ image made ─ VM deleted
                   └ "STEP failed", too late, interrupted ───────────────────────────┘

The VM tells by its serial port how far it is, so it needs no rights. That it is off is not enough:
a VM that was switched off half-way would make an image that lacks something. Whatever happens, the
VM is deleted; one that goes on running after this process was killed is by `maxRunDuration`.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from fleet import dry_run
from fleet.api import NeverEndedError
from fleet.compute_engine import ComputeEngine
from fleet.errors import ComputeError, one_line, remedy
from fleet.image_order import ImageOrder
from fleet.images import Images
from fleet.vms import BATCH_LABEL, Vm
from messaging.errors import NotFoundError, PortfireError, UsageError

log = logging.getLogger(__name__)

#: The attribute by which startup.sh installs, and switches the VM off.
ATTRIBUTE = {"make_image": "true"}
#: What startup.sh says then.
_READY = "portfire-startup: the image is ready"
_FAILED = re.compile(r"portfire-startup: (\w+) failed:")
_SAID = re.compile(r"startup-script: (.+)")
#: What is left of the serial port's text, in characters; it says why something failed.
_TAIL = 100_000
#: For taking back an image, in seconds.
_CLEANUP_SECONDS = 60.0


@dataclass(frozen=True)
class Waiting:
    """How to wait for the VM, in seconds."""

    #: For it to have installed all, and again for the image.
    timeout: float = 1800.0
    #: Between two looks; startup.sh waits for longer before it switches the VM off.
    interval: float = 5.0

    @property
    def longest_life(self) -> int:
        """After this Compute Engine deletes the VM itself, if we could not; whole seconds."""
        return min(int(2 * self.timeout) + 1200, 120 * 86_400)


def make_image(
    engine: ComputeEngine,
    order: ImageOrder,
    attributes: Mapping[str, object],
    waiting: Waiting,
    tell: Callable[[str], None],
) -> None:
    """Make the image by a VM of this engine, whose prefix is the order's `builder`; blocks.

    `attributes` are those of the VM: what startup.sh installs. `tell` is called with what goes on,
    again and again. With the engine's `dry_run` the requests are printed instead.

    Raises UsageError when there is such an image or VM, ComputeError when it could not be made.
    """
    attributes = {**attributes, **ATTRIBUTE}
    if engine.dry_run:
        _show(engine, order, attributes)
        return
    images = Images(engine.api)
    _check_free(engine, order, images)
    made = False
    try:
        tell("making the VM")
        with engine.fleet(1, attributes=attributes) as [vm]:
            disk = _installed(images, vm, waiting, tell)
            tell(f"making image {order.name} of its disk")
            _of_disk(engine, order, images, disk, vm.labels[BATCH_LABEL], waiting)
            made = True
            tell("deleting the VM")
    except ComputeError as exc:
        if made:
            raise ComputeError(f"image {order.name} is made, but {exc}", exc.code) from exc
        raise


def _check_free(engine: ComputeEngine, order: ImageOrder, images: Images) -> None:
    if images.find(order.name) is not None:
        raise UsageError(
            f"there is an image {order.name} already: choose another name (VMs take the newest of "
            f"the family), or run `gcloud compute images delete {order.name}`"
        )
    if there := engine.vms():
        raise UsageError(
            f"VM {there[0].name} is there: another make-image works with it, or was killed; then "
            f"run `portfire gce delete {engine.prefix}`"
        )


def _installed(images: Images, vm: Vm, waiting: Waiting, tell: Callable[[str], None]) -> str:
    """Wait until the VM is off and has installed all; the path of its disk."""
    began = time.monotonic()
    said, position = "", 0
    while True:
        try:
            # In this order: when it is off, the text is all that it said.
            status, disk = images.status(vm.zone, vm.name)
            text, position = images.console(vm.zone, vm.name, position)
        except NotFoundError as exc:
            raise ComputeError(f"VM {vm.name} was deleted before it was ready: try again") from exc
        said = (said + text)[-_TAIL:]
        if failed := _FAILED.search(said):
            raise ComputeError(
                f"{failed[1]} failed on VM {vm.name}: {_why(said[: failed.start()])}: "
                "check -m portfire_package, pip_packages, and the network of the VM"
            )
        if status in ("TERMINATED", "STOPPED"):
            if _READY in said:
                return disk
            raise ComputeError(f"VM {vm.name} was switched off before it was ready: try again")
        passed = time.monotonic() - began
        if passed > waiting.timeout:
            raise ComputeError(
                f"VM {vm.name} was not ready after {waiting.timeout:g} s ({_why(said)}): a longer "
                "--timeout, or a larger --machine-type, may do"
            )
        tell(f"VM {vm.name} installs Docker and Portfire: {passed:.0f} s")
        time.sleep(waiting.interval)


def _why(said: str) -> str:
    """The last error that the startup script's programs told of, or the last line."""
    lines = [line.strip() for line in _SAID.findall(said) if "portfire-startup:" not in line]
    errors = [line for line in lines if re.match(r"E:|error", line, re.IGNORECASE)]
    last = (errors or lines)[-1:]
    return one_line(last[0])[:300] if last else "its startup script said nothing"


def _of_disk(
    engine: ComputeEngine,
    order: ImageOrder,
    images: Images,
    disk: str,
    batch: str,
    waiting: Waiting,
) -> None:
    with _taken_back_on_error(engine, order, images, batch):
        pending = images.insert(order.body(disk, batch))
        failure = engine.api.wait(pending, time.monotonic() + waiting.timeout)
        if failure is not None:
            advice = remedy(failure.code)
            raise ComputeError(
                f"cannot make image {order.name}: {failure.code}: {failure.message}"
                + (f": {advice}" if advice else ""),
                failure.code,
                failure.message,
            )


@contextmanager
def _taken_back_on_error(
    engine: ComputeEngine, order: ImageOrder, images: Images, batch: str
) -> Iterator[None]:
    """An image that is not known to be whole is deleted, if it is of this run."""
    try:
        yield
    except BaseException:
        try:
            found = images.find(order.name)
            if found is not None and found.labels.get(BATCH_LABEL) == batch:
                pending = images.delete(order.name)
                if engine.api.wait(pending, time.monotonic() + _CLEANUP_SECONDS) is not None:
                    raise NeverEndedError("it is refused") from None
        except PortfireError as exc:
            log.warning(
                "image %s may be left half made (%s): run `gcloud compute images delete %s`",
                order.name,
                exc,
                order.name,
            )
        raise


def _show(engine: ComputeEngine, order: ImageOrder, attributes: Mapping[str, object]) -> None:
    for request in dry_run.image(engine.plan(0, 1, 1, {}, attributes), order):
        sys.stdout.write(f"{dry_run.text(request)}\n")
