"""A fleet: the executors' VMs of one name prefix, made, listed, told to quit, and deleted.

From Python::

    from portfire import ComputeEngine, VmTemplate

    engine = ComputeEngine("sim", project="my-project", region="europe-west4",
                           template=VmTemplate(spot=True))
    with engine.fleet(50, storage="gs://my-bucket/sim") as vms:
        ...                                # add the workflow, wait for it
    # here all of them are deleted, whatever happened
"""

from __future__ import annotations

import logging
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from fleet import changes, dry_run
from fleet.api import Api, Patience
from fleet.attributes import check as checked
from fleet.changes import Progress, quiet
from fleet.creation import Batch, left_over, undone_on_error
from fleet.errors import ComputeError
from fleet.names import legal_prefix, make_names
from fleet.options import template_fields
from fleet.place import Place
from fleet.plan import Plan
from fleet.startup import startup_attributes
from fleet.template import Extra, VmTemplate
from fleet.vms import BATCH_LABEL, EXECUTOR, FLEET_LABEL, LABEL, Outcome, Vm, sorted_vms
from messaging.errors import UsageError

log = logging.getLogger(__name__)


class ComputeEngine:
    """The VMs ``{prefix}-{number}`` of one project. All methods block; for one thread at a time.

    They raise UsageError for what the caller must change, ServiceError when Compute Engine is away,
    ComputeError for what it refuses; what befalls single VMs is in their outcomes instead.
    """

    #: At most so many are made by one call, lest a slip of the finger be expensive.
    MAX_VMS = 100

    def __init__(
        self,
        name_prefix: str,
        *,
        project: str = "",
        zone: str = "",
        region: str = "",
        template: VmTemplate | None = None,
        options: Mapping[str, Any] | None = None,
        startup: str = "auto",
        dry_run: bool = False,
        endpoint: str = "",
        patience: Patience | None = None,
        progress: Progress = quiet,
    ) -> None:
        """Connects at the first call. A zone or region is needed to make VMs only.

        With `dry_run` requests that would change something are written to standard output, as
        JSON, instead of being sent. `endpoint` is another server than Google's. `options` are
        those of ``-o``, and go over the template, project and place. Raises UsageError.
        """
        self.prefix = legal_prefix(name_prefix)
        fields = template_fields(options or {})
        project = fields.pop("project", project)
        if "zone" in fields:
            zone, region = fields.pop("zone"), ""
        self.template = replace(template or VmTemplate(), **fields)
        self.startup = startup
        self.dry_run = dry_run
        self._project, self._zone, self._region = project, zone, region
        self._endpoint, self._patience = endpoint, patience
        #: Who is told how far it is; may be set at any time.
        self.progress = progress
        self._connected: Api | None = None

    @property
    def api(self) -> Api:
        """The connection; raises UsageError without credentials or project."""
        if self._connected is None:
            self._connected = Api(self._project, self._endpoint, self._patience)
        return self._connected

    def make_names(self, base: int = 0, count: int = 1) -> list[str]:
        """Names of `count` VMs from number `base` on."""
        return make_names(self.prefix, base, count)

    def create(
        self,
        base: int = 0,
        count: int = 1,
        command_options: Mapping[str, Any] | None = None,
        *,
        min_count: int = 1,
        attributes: Mapping[str, object] | None = None,
        **metadata: object,
    ) -> list[Outcome]:
        """Make VMs; what came of each. With fewer than `min_count` of them, none is left.

        `command_options` are those of ``-o``. Interrupted, or when it raises, it takes away what it
        made. `attributes` and `metadata` are the VMs': executors take their settings from them.
        """
        plan = self.plan(
            base, count, min_count, command_options or {}, {**(attributes or {}), **metadata}
        )
        if self.dry_run:
            self._show(dry_run.creation(plan))
            return []
        batch = Batch(self.api, plan, self.progress)
        with undone_on_error(batch):
            return self._make(batch)

    @contextmanager
    def fleet(
        self,
        count: int,
        base: int = 0,
        command_options: Mapping[str, Any] | None = None,
        *,
        min_count: int = 1,
        attributes: Mapping[str, object] | None = None,
        **metadata: object,
    ) -> Iterator[list[Vm]]:
        """As `create`, for the length of a block: at its end the VMs are deleted, in every ending.

        Raises ComputeError when there are fewer than `min_count`, and when VMs may be left.
        """
        plan = self.plan(
            base, count, min_count, command_options or {}, {**(attributes or {}), **metadata}
        )
        batch = Batch(self.api, plan, self.progress)
        with undone_on_error(batch):
            outcomes = self._make(batch)
            made = {outcome.name for outcome in outcomes if outcome.ok}
            failed = [outcome for outcome in outcomes if not outcome.ok]
            if not made:
                # Those that were made and deleted again do not say why.
                causes = [outcome for outcome in failed if outcome.code] or failed
                raise ComputeError(f"too few VMs could be made: {causes[0]}")
            for outcome in failed:
                log.warning("not made: %s", outcome)
            yield sorted_vms(vm for vm in batch.vms() if vm.name in made)
        if left := batch.remove(wait=True):
            raise ComputeError(left_over(left))

    def vms(self) -> list[Vm]:
        """The VMs of this prefix that Portfire made, in all zones, by number."""
        return _find(self.api, {FLEET_LABEL: self.prefix})

    def delete(self, base: int | None = None, count: int | None = None) -> list[Outcome]:
        """Delete VMs of this prefix that Portfire made: all of them, or `count` from `base` on."""
        return self.delete_vms(self.select(base, count))

    def delete_vms(self, vms: list[Vm]) -> list[Outcome]:
        """Delete these."""
        if self.dry_run:
            self._show(dry_run.deletion(self.api.project, vms))
            return []
        return changes.delete_vms(self.api, vms, self.progress)

    def set_metadata(
        self,
        base: int | None = None,
        count: int | None = None,
        *,
        remove: Sequence[str] = (),
        attributes: Mapping[str, object] | None = None,
        **metadata: object,
    ) -> list[Outcome]:
        """Set attributes, and remove others, on all VMs of this prefix or `count` from `base`."""
        wanted: dict[str, str | None] = {
            **checked({**(attributes or {}), **metadata}),
            **dict.fromkeys(remove),
        }
        if not wanted:
            raise UsageError("no metadata to set: name some by -m KEY=VALUE")
        vms = self.select(base, count)
        if self.dry_run:
            self._show(dry_run.metadata(self.api, vms, wanted))
            return []
        return changes.set_metadata(self.api, vms, wanted, self.progress)

    def quit_soon(self, base: int | None = None, count: int | None = None) -> list[Outcome]:
        """Ask executors to end after the jobs that they run now, and to delete their VMs."""
        return self.set_metadata(base, count, quit="soon")

    def quit_when_idle(self, base: int | None = None, count: int | None = None) -> list[Outcome]:
        """Ask executors to end as soon as there is nothing for them to do."""
        return self.set_metadata(base, count, quit="when-idle")

    def select(self, base: int | None = None, count: int | None = None) -> list[Vm]:
        """The VMs that there are, all of the prefix or of these numbers."""
        vms = self.vms()
        if base is None and count is None:
            return vms
        names = set(self.make_names(base or 0, 1 if count is None else count))
        return [vm for vm in vms if vm.name in names]

    def plan(
        self,
        base: int,
        count: int,
        min_count: int,
        options: Mapping[str, Any],
        metadata: Mapping[str, object],
    ) -> Plan:
        """What `create` would do. All that can be wrong with it is found here, before sending."""
        names = self.make_names(base, self._capped(base, count))
        if not 1 <= min_count <= len(names):
            raise UsageError(f"--min-count is {min_count}: from 1 to the count, {len(names)}")
        fields = template_fields(options)
        if "zone" in fields or "project" in fields:
            raise UsageError("zone and project are the whole ComputeEngine's: give them to that")
        template = replace(self.template, **fields)
        place = Place(
            # A dry run with a project needs no credentials.
            project=self._project or self.api.project,
            zone=self._zone,
            region=self._region,
        )
        started_by = startup_attributes(self.startup, template.image_family, metadata)
        texts = checked({**started_by, **metadata})
        labels = {LABEL: EXECUTOR, FLEET_LABEL: self.prefix, BATCH_LABEL: uuid.uuid4().hex[:12]}
        return Plan(
            place=place,
            template=template,
            names=tuple(names),
            min_count=min_count,
            extra=Extra(labels, texts),
        )

    def _make(self, batch: Batch) -> list[Outcome]:
        plan = batch.plan
        self.api.check_image(
            plan.template.image_home(plan.place.project), plan.template.image_family
        )
        # Also in other zones: an executor's id is its VM's name.
        taken = {vm.name: vm for vm in self.vms()}
        free = [name for name in plan.names if name not in taken]
        made = {outcome.name: outcome for outcome in batch.make(free)} if free else {}
        outcomes = [made[name] if name in made else _taken(taken[name]) for name in plan.names]
        good = {outcome.name for outcome in outcomes if outcome.ok}
        if len(good) < plan.min_count:
            return self._withdrawn(batch, outcomes)
        if left := batch.remove(keep=good):
            log.warning("%s", left_over(left))
        return outcomes

    def _withdrawn(self, batch: Batch, outcomes: list[Outcome]) -> list[Outcome]:
        left = batch.remove(wait=True)
        if left:
            log.warning("%s", left_over(left))
        why = f"deleted again, for fewer than {batch.plan.min_count} could be made"
        return [
            replace(outcome, ok=False, reason=why) if outcome.ok else outcome
            for outcome in outcomes
        ]

    def _capped(self, base: int, count: int) -> int:
        if count > self.MAX_VMS:
            log.warning(
                "%d VMs were asked for; %d are made at most at a time: for more, say it again with "
                "--base %d",
                count,
                self.MAX_VMS,
                base + self.MAX_VMS,
            )
        return min(count, self.MAX_VMS)

    def _show(self, requests: list[dict[str, Any]]) -> None:
        sys.stdout.write("".join(f"{text}\n" for text in map(dry_run.text, requests)))


def _taken(vm: Vm) -> Outcome:
    return Outcome(
        name=vm.name, ok=False, zone=vm.zone, code="alreadyExists", reason="there is such a VM"
    )


def list_all(*, project: str = "", endpoint: str = "") -> list[Vm]:
    """All VMs that Portfire made in a project, by prefix and number."""
    return _find(Api(project, endpoint), {})


def _find(api: Api, labels: dict[str, str]) -> list[Vm]:
    vms, unseen = api.vms({LABEL: EXECUTOR, **labels})
    if unseen:
        log.warning("the VMs in %s cannot be seen now: try again later", ", ".join(unseen))
    return sorted_vms(vms)
