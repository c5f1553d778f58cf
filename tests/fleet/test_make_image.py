"""`portfire gce make-image`: an image is made of a VM that installed all, and no VM is left."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from fleet.api import Patience
from fleet.compute_engine import ComputeEngine
from fleet.errors import ComputeError
from fleet.image_making import Waiting, make_image
from fleet.image_order import ImageOrder
from messaging.errors import PortfireError, UsageError
from tests.commands.programs import finish, start
from tests.fleet.conftest import PROJECT, Command, Engines
from tests.fleet.test_gce_command import _requests, _variables
from tests.services.gce import FakeGce, Fault
from tests.services.gce_world import Trouble
from tests.waiting import wait_until

MAKE = ("make-image", "portfire-1", "--zone", "europe-west4-a")
VM = "portfire-1-builder-0"
LINE = "google_metadata_script_runner[7]: startup-script: "
READY = f"{LINE}portfire-startup: the image is ready: switching the VM off\n"
FAILED = (
    f"{LINE}ERROR: No matching distribution found for portfire==0\n"
    f"{LINE}portfire-startup: attempt 5 of 5 failed: install_portfire\n"
    f"{LINE}portfire-startup: install_portfire failed: this VM runs no executor; see above\n"
)


def _installs(gce: FakeGce, said: str = READY) -> None:
    """The VMs' startup scripts have this to say, and switch the VM off."""

    def start(vm: Any) -> None:
        gce.world.switch_off(vm["name"], said)

    gce.world.on_start = start


def _made_by(engine: ComputeEngine, timeout: float = 30.0, **attributes: object) -> list[str]:
    told: list[str] = []
    waiting = Waiting(timeout=timeout, interval=0.02)
    make_image(engine, ImageOrder(name="portfire-1"), attributes, waiting, told.append)
    return told


def _builder(engines: Engines) -> ComputeEngine:
    return engines(ImageOrder(name="portfire-1").builder, startup="script")


def test_vms_are_made_of_the_image_and_no_other_is_left(gce: FakeGce, command: Command) -> None:
    _installs(gce)
    words = ("-m", "portfire_package=gs://b/p.whl", "--labels", "team=x", "--disk-size", "20GB")
    ended = command(*MAKE, "--family", "mine", *words)
    assert ended.code == 0, ended
    assert ended.output == "made: image portfire-1 of family mine\n"
    assert gce.names == []
    [built] = [call.body for call in gce.called("instances.insert")]
    items = {item["key"]: item["value"] for item in built["metadata"]["items"]}
    assert items["make_image"] == "true"
    assert items["portfire_package"] == "gs://b/p.whl"
    assert items["startup-script"].startswith("#!")
    assert built["scheduling"]["instanceTerminationAction"] == "DELETE"
    image = gce.world.images["portfire-1"]
    assert (image["status"], image["family"]) == ("READY", "mine")
    assert image["labels"]["team"] == "x"
    assert command("create", "sim", "-f", "mine", "--zone", "europe-west4-b").code == 0
    assert gce.attributes("sim-0") == {}, "nothing is installed: the image starts by itself"


def test_progress_is_told_until_the_vm_is_off(gce: FakeGce, engines: Engines) -> None:
    told: list[str] = []
    waiting = Waiting(timeout=30.0, interval=0.02)

    def tell(text: str) -> None:
        told.append(text)
        if "installs" in text:
            gce.world.switch_off(VM, READY)

    make_image(_builder(engines), ImageOrder(name="portfire-1"), {}, waiting, tell)
    assert [text.split()[0] for text in told[:4]] == ["making", "VM", "making", "deleting"]


def test_what_failed_on_the_vm_is_said_and_the_vm_is_deleted(
    gce: FakeGce, engines: Engines
) -> None:
    def start(vm: Any) -> None:
        gce.world.consoles[vm["name"]] = FAILED

    gce.world.on_start = start
    says = "install_portfire failed on VM .*No matching distribution found for portfire==0: check"
    with pytest.raises(ComputeError, match=says):
        _made_by(_builder(engines))
    assert gce.names == []
    assert gce.called("images.insert") == []


def test_a_vm_that_is_off_and_not_ready_makes_no_image(gce: FakeGce, engines: Engines) -> None:
    _installs(gce, f"{LINE}Setting up docker.io\n")
    with pytest.raises(ComputeError, match="switched off before it was ready"):
        _made_by(_builder(engines))
    assert gce.names == []
    assert gce.called("images.insert") == []


def test_a_vm_that_is_never_ready_is_deleted_in_time(gce: FakeGce, engines: Engines) -> None:
    gce.world.on_start = lambda vm: gce.world.consoles.update({vm["name"]: f"{LINE}unpacking\n"})
    with pytest.raises(ComputeError, match=r"not ready after 0.2 s \(unpacking\): a longer"):
        _made_by(_builder(engines), timeout=0.2)
    assert gce.names == []


def test_a_vm_that_goes_meanwhile_is_told_of(gce: FakeGce, engines: Engines) -> None:
    gce.world.on_start = lambda vm: threading.Timer(
        0.3, gce.world.remove, ["europe-west4-a", vm["name"]]
    ).start()
    with pytest.raises(ComputeError, match="was deleted before it was ready"):
        _made_by(_builder(engines))


def test_a_stock_out_is_one_line_and_nothing_is_made(gce: FakeGce, command: Command) -> None:
    gce.stock_out()
    ended = command(*MAKE)
    assert ended.code == 1
    assert "ZONE_RESOURCE_POOL_EXHAUSTED" in ended.error_line
    assert gce.names == []


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("images.insert", 403, "forbidden", "Required permission"), "compute.storageAdmin"),
        (Fault("images.insert", 503, after=True), "Backend Error: try again"),
    ],
)
def test_an_image_that_is_refused_leaves_neither_image_nor_vm(
    gce: FakeGce, engines: Engines, fault: Fault, says: str
) -> None:
    _installs(gce)
    fault.times = 1_000_000
    gce.faults.append(fault)
    patience = Patience(operation=30.0, retry=0.5)
    engine = engines("portfire-1-builder", startup="script", patience=patience)
    with pytest.raises(PortfireError, match=says) as caught:
        _made_by(engine)
    assert len(str(caught.value).splitlines()) == 1
    assert gce.names == []
    assert gce.world.images == {}


def test_an_answer_that_was_lost_makes_one_image(gce: FakeGce, engines: Engines) -> None:
    _installs(gce)
    gce.faults.append(Fault("images.insert", 503, after=True, times=2))
    _made_by(_builder(engines))
    assert gce.world.images["portfire-1"]["status"] == "READY"


def test_somebody_elses_image_of_that_name_is_left_alone(gce: FakeGce, engines: Engines) -> None:
    theirs = {"name": "portfire-1", "status": "READY", "labels": {"portfire_batch": "theirs"}}

    def start(vm: Any) -> None:
        gce.world.images["portfire-1"] = theirs
        gce.world.switch_off(vm["name"], READY)

    gce.world.on_start = start
    with pytest.raises(ComputeError, match="already exists"):
        _made_by(_builder(engines))
    assert gce.world.images == {"portfire-1": theirs}
    assert gce.names == []
    with pytest.raises(UsageError, match="there is an image portfire-1 already"):
        _made_by(_builder(engines))


def test_a_vm_that_is_left_is_not_touched_but_named(gce: FakeGce, engines: Engines) -> None:
    _builder(engines).create()
    with pytest.raises(UsageError, match="run `portfire gce delete portfire-1-builder`"):
        _made_by(_builder(engines))
    assert gce.names == [VM]


def test_a_vm_that_may_be_left_is_told_after_the_image(gce: FakeGce, engines: Engines) -> None:
    _installs(gce)
    gce.faults.append(Fault("instances.delete", 403, "forbidden", "no", times=1000))
    with pytest.raises(ComputeError, match=r"image portfire-1 is made, but VMs may be left") as e:
        _made_by(_builder(engines))
    assert len(str(e.value).splitlines()) == 1


def test_interrupted_it_leaves_nothing(gce: FakeGce, tmp_path: Path) -> None:
    process = start(tmp_path, "gce", *MAKE, **_variables(gce))
    wait_until(lambda: gce.called("instances.getSerialPortOutput"), 120.0, "the VM is looked at")
    process.send_signal(signal.SIGTERM)
    ended = finish(process)
    assert ended.code == 130
    assert "Traceback" not in ended.errors
    assert gce.names == []


def test_a_dry_run_prints_what_is_sent(gce: FakeGce, command: Command) -> None:
    shown = _requests(command(*MAKE, "-d").output)
    assert gce.calls == []
    assert [(item["method"], item["path"].partition(PROJECT)[2]) for item in shown] == [
        ("POST", "/zones/europe-west4-a/instances"),
        ("POST", "/global/images"),
        ("DELETE", f"/zones/europe-west4-a/instances/{VM}"),
    ]
    _installs(gce)
    assert command(*MAKE).code == 0
    sent = gce.called("instances.insert")[0].body, gce.called("images.insert")[0].body
    batch = shown[1]["body"]["labels"]["portfire_batch"]
    for item, body in zip(shown, sent, strict=False):
        text = json.dumps(item["body"], sort_keys=True)
        assert text.replace(batch, body["labels"]["portfire_batch"]) == json.dumps(
            body, sort_keys=True
        )


WRONG = {
    "name": (("make-image", "Image_1", "--zone", "europe-west4-a"), "'Image_1' is no name"),
    "family": ((*MAKE, "-f", "My Family"), "'My Family' is no name"),
    "Google's family": ((*MAKE, "-f", "debian-mine"), "choose another"),
    "no zone": (("make-image", "portfire-1"), "name a place: --zone"),
    "region": (("make-image", "portfire-1", "--zone", "europe-west4"), "is no zone"),
    "cos": ((*MAKE, "--source-family", "cos-stable"), "container-optimised OS"),
    "source": ((*MAKE, "--source-family", "debian-1"), "no image family 'debian-1'"),
    "attribute": ((*MAKE, "-m", "make_image=false"), "make-image's own"),
    "label": ((*MAKE, "--labels", "Team=x"), "label Team=x"),
    "option": ((*MAKE, "-o", "disk=5"), "no such option"),
    "timeout": ((*MAKE, "--timeout", "-1"), "--timeout is -1"),
    "for ever": ((*MAKE, "--timeout", "inf"), "--timeout is inf"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line_and_nothing_is_sent(
    gce: FakeGce, command: Command, case: str
) -> None:
    words, says = WRONG[case]
    ended = command(*words)
    assert ended.code == 2, ended
    assert says in ended.error_line
    assert gce.called("instances.insert") == []


def test_operations_that_fail_say_why(
    gce: FakeGce, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    _installs(gce)
    insert = gce.methods.insert_image

    def failing(*words: Any) -> Any:
        answer = insert(*words)
        trouble = Trouble("QUOTA_EXCEEDED", "Quota 'IMAGES' exceeded.")
        operation = gce.world.operations[answer["name"]]
        gce.world.fail(operation, trouble.code, trouble.message)
        return answer

    monkeypatch.setattr(gce.methods, "insert_image", failing)
    with pytest.raises(ComputeError, match=r"QUOTA_EXCEEDED: Quota 'IMAGES' exceeded: ask for"):
        _made_by(_builder(engines))
    assert gce.world.images == {}
    assert gce.names == []
