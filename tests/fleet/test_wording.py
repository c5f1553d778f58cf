"""What users write: metadata, options, places. Wrong ones are refused before anything is sent."""

from __future__ import annotations

import pytest

from fleet.attributes import merged, parse, two_in_one
from fleet.options import template_fields
from fleet.place import Place
from fleet.startup import startup_attributes
from fleet.template import VmTemplate, scope_url
from messaging.errors import UsageError


def test_a_value_may_hold_equals_signs_and_commas() -> None:
    assert parse(["a=x=1,y=2", "b=", "c=gs://bucket/x,y"]) == {
        "a": "x=1,y=2",
        "b": "",
        "c": "gs://bucket/x,y",
    }


def test_two_pairs_in_one_are_noticed() -> None:
    assert two_in_one(parse(["db=a,pool=b", "list=a,b"])) == ["db"]


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["quit"], "KEY=VALUE"),
        (["a=1", "a=2"], "twice"),
        (["a b=1"], "a key has"),
        (["=1"], "a key has"),
        (["password=x"], "secret"),
        (["MONGO_TOKEN=x"], "secret"),
        (["a=" + "x" * 262_145], "262144 bytes"),
        (["a=" + "x" * 262_144, "b=" + "x" * 262_144], "524288 bytes"),
    ],
)
def test_metadata_that_a_vm_should_not_have_is_refused(texts: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        parse(texts)
    assert len(str(caught.value)) < 300 or says.endswith("bytes")


def test_changes_leave_other_attributes_alone() -> None:
    assert merged([("a", "1"), ("b", "2")], {"b": None, "c": "3"}) == {"a": "1", "c": "3"}


@pytest.mark.parametrize(
    ("option", "field", "value"),
    [
        ("machine-type=n2-standard-2,e2-small", "machine_types", ("n2-standard-2", "e2-small")),
        ("boot-disk-size=1TB", "disk_gb", 1024),
        ("boot-disk-type=pd-ssd", "disk_type", "pd-ssd"),
        ("network-interface=no-address", "external_address", False),
        ("no-address", "external_address", False),
        ("preemptible", "spot", True),
        ("provisioning-model=SPOT", "spot", True),
        ("max-run-duration=1d12h", "max_run_seconds", 129_600),
        ("scopes=compute-rw,storage-rw", "scopes", ("compute-rw", "storage-rw")),
        ("accelerator=type=nvidia-tesla-t4,count=2", "accelerator", ("nvidia-tesla-t4", 2)),
        ("labels=a=1,b=2", "labels", {"a": "1", "b": "2"}),
        ("maintenance-policy=TERMINATE", "maintenance_policy", "TERMINATE"),
    ],
)
def test_borealis_options_mean_what_they_meant(option: str, field: str, value: object) -> None:
    key, _, text = option.partition("=")
    fields = template_fields({key: text})
    assert fields == {field: value}
    VmTemplate(**fields)


def test_a_custom_machine_is_two_options() -> None:
    fields = template_fields({"custom-cpu": "2", "custom-memory": "8GB"})
    assert fields == {"machine_types": ("custom-2-8192",)}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"machine-typ": "x"}, "no such option; there are: accelerator"),
        ({"boot-disk-size": "big"}, "a size such as 50GB"),
        ({"max-run-duration": "soon"}, "a time such as"),
        ({"custom-cpu": "2"}, "custom-memory"),
        ({"network-interface": "eth0"}, "no-address"),
        ({"instance-termination-action": "STOP"}, "always deleted"),
        ({"image-family": ""}, "needs a value"),
        ({"no-address": "yes"}, "has no value"),
        ({"accelerator": "type=x,count=0"}, "1 or more"),
        ({"labels": "a"}, "KEY=VALUE"),
    ],
)
def test_an_option_that_is_wrong_is_named(options: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        template_fields(options)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"machine_types": ("big",)}, "'big' is no machine type"),
        ({"labels": {"Team": "x"}}, "label Team=x"),
        ({"disk_gb": 5}, "10 GB or more"),
        ({"max_run_seconds": 5}, "from 30 seconds"),
        ({"spot": True, "maintenance_policy": "MIGRATE"}, "cannot MIGRATE"),
    ],
)
def test_a_vm_that_cannot_be_is_refused(fields: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        VmTemplate(**fields)  # type: ignore[arg-type] # wrong on purpose


@pytest.mark.parametrize(
    ("zone", "region", "says"),
    [
        ("", "", "name a place"),
        ("europe-west4-a", "europe-west4", "not both"),
        ("mars", "", "'mars' is no zone; `gcloud compute zones list`"),
        ("", "mars", "'mars' is no region; `gcloud compute zones list`"),
        ("europe-west4", "", "as a region, name it by --region"),
        ("", "europe-west4-a", "as a zone, name it by --zone"),
    ],
)
def test_zones_and_regions_are_told_apart(zone: str, region: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Place(project="p", zone=zone, region=region)


def test_images_are_found_where_google_keeps_them() -> None:
    homes = {
        family: VmTemplate(image_family=family).image_home("mine")
        for family in ("debian-12", "cos-stable", "ubuntu-2404-lts-amd64", "fireworker")
    }
    assert list(homes.values()) == ["debian-cloud", "cos-cloud", "ubuntu-os-cloud", "mine"]
    assert VmTemplate(image_family="debian-12", image_project="x").image_home("mine") == "x"


def test_scopes_have_gclouds_short_names() -> None:
    assert scope_url("storage-rw").endswith("/auth/devstorage.read_write")
    assert scope_url("cloud-platform") == "https://www.googleapis.com/auth/cloud-platform"
    assert scope_url("https://x/y") == "https://x/y"


def test_an_image_of_ones_own_is_left_to_start_by_itself() -> None:
    assert startup_attributes("auto", "fireworker", {}) == {}
    with pytest.raises(UsageError, match="one of auto, script, cos, none"):
        startup_attributes("magic", "debian-12", {})


def test_public_images_are_told_how_to_start_an_executor() -> None:
    for family in ("debian-12", "ubuntu-2404-lts-amd64"):
        [(key, script)] = startup_attributes("auto", family, {}).items()
        assert key == "startup-script"
        assert script.startswith("#!")
    [(key, config)] = startup_attributes("auto", "cos-stable", {"portfire_image": "x"}).items()
    assert key == "user-data"
    assert config.startswith("#cloud-config")
    assert startup_attributes("none", "debian-12", {}) == {}
    assert "startup-script" in startup_attributes("script", "mine", {})
