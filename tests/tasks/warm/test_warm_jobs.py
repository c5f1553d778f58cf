"""What a job in a kept container sees, does and leaves."""

from __future__ import annotations

import resource
from collections.abc import Callable

import docker
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messaging.errors import JobError
from tests.tasks.warm.conftest import Slot
from tests.tasks.warm.shells import shell_image

_LEFTOVER = "while :; do date >> /data/late; sleep 0.01; done"


def test_jobs_of_the_same_settings_run_in_one_container(slot: Slot) -> None:
    names = set()
    for _ in range(20):
        assert slot.run(["hostname"]).cause == "success"
        names.add(slot.said)
    assert len(names) == 1
    assert len(slot.containers()) == 1


def test_files_go_in_and_out_and_none_is_seen_by_the_next_job(slot: Slot) -> None:
    for number in range(3):
        slot.next_job()
        (slot.files / "in").mkdir()
        (slot.files / "in/a").write_text(f"{number}\n")
        slot.again(["sh", "-c", "cd /data; ls -a; cat in/a > out; mkdir -p tree/e .hidden"])
        assert slot.said.split() == [".", "..", "in"]
        assert sorted(path.name for path in slot.files.iterdir()) == [
            ".hidden",
            "in",
            "out",
            "tree",
        ]
        assert (slot.files / "out").read_text() == f"{number}\n"
    assert len(slot.containers()) == 1


def test_files_are_back_after_a_failure_too(slot: Slot) -> None:
    ended = slot.sh("echo half > /data/half; exit 3")
    assert ended.exit_code == 3
    assert (slot.files / "half").read_text() == "half\n"


def test_a_job_that_locks_its_directory_spoils_nothing(slot: Slot) -> None:
    slot.sh("echo 1 > /data/a; chmod 000 /data")
    assert (slot.files / "a").exists()
    slot.sh("echo 2 > /data/b; stat -c %a /data")
    assert slot.said == f"{slot.files.stat().st_mode & 0o777:o}\n"


def test_the_output_is_whole_and_opening_the_stream_again_cuts_nothing(slot: Slot) -> None:
    slot.sh("echo one; echo two >&2; echo three > /dev/stderr; echo four > /dev/stdout")
    assert slot.said == "one\ntwo\nthree\nfour\n"
    slot.run(["echo", "other"])
    assert slot.said == "other\n"


def test_much_output_stays_out_of_memory(slot: Slot) -> None:
    slot.run(["true"])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    slot.sh("head -c 300000000 /dev/zero")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert slot.printed.stat().st_size == 300_000_000
    assert grown < 10_000  # KiB
    slot.printed.unlink()


def test_a_listener_hears_the_output_while_the_job_runs(slot: Slot) -> None:
    heard = bytearray()

    def listen(stream: int, block: bytes) -> None:
        assert stream == 1
        heard.extend(block)
        if heard == b"first\n":
            (slot.directory / "kept/1/files/go").touch()

    line = "echo first; while ! [ -e /data/go ]; do sleep 0.01; done; echo second"
    assert slot.sh(line, listen=listen).cause == "success"
    assert bytes(heard) == slot.printed.read_bytes() == b"first\nsecond\n"


def test_background_processes_are_gone_before_the_next_job(slot: Slot) -> None:
    ended = slot.sh(f"setsid sh -c '{_LEFTOVER}' & ({_LEFTOVER}) & sleep 0.1")
    assert ended.cause == "success"
    written = (slot.files / "late").read_text()
    slot.sh("ps -o comm | grep -c -e date -e sleep; ls /data")
    assert slot.said == "0\n"
    assert written
    assert len(slot.containers()) == 1


def test_a_job_inherits_no_more_than_its_standard_streams(slot: Slot) -> None:
    slot.run(["sh", "-c", "ls /proc/$$/fd; cat; ls /portfire-warm; touch /portfire-warm/x || :"])
    assert slot.said.split()[:3] == ["0", "1", "2"]
    assert slot.said.endswith("touch: /portfire-warm/x: Read-only file system\n")


def test_nothing_that_a_job_prints_is_taken_for_its_end(slot: Slot) -> None:
    report = "0m0.0s 0m0.0s\\n0m0.0s 0m0.0s\\n0123456789abcdef 0 2 6\\n"
    ended = slot.sh(f"printf '{report}'; exec >&- 2>&- <&-; exit 4")
    assert ended.exit_code == 4
    assert slot.said.endswith("0123456789abcdef 0 2 6\n")


@pytest.mark.parametrize("line", ["kill 0", "kill -TERM -1", "kill -INT 0; kill -HUP 0"])
def test_a_job_that_signals_all_around_it_ends_as_it_says(slot: Slot, line: str) -> None:
    ended = slot.sh(f"trap '' TERM INT HUP; {line}; exit 0")
    assert ended.cause == "success"
    assert slot.run(["true"]).cause == "success"
    assert len(slot.containers()) == 1


def test_metrics_are_of_one_job(slot: Slot) -> None:
    burn = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"
    busy = slot.sh(burn).metrics
    idle = slot.run(["true"]).metrics
    assert busy["cpu_seconds"] > 0.05
    assert 0 <= idle["cpu_seconds"] < 0.05
    assert busy["seconds"] >= busy["cpu_seconds"] * 0.5


def test_statistics_of_a_longer_job_are_sampled(slot: Slot) -> None:
    metrics = slot.sh("for i in 1 2 3 4 5 6 7 8; do sleep 0.25; done").metrics
    assert metrics["memory"] > 0
    assert metrics["network_received"] >= 0


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_other_shells_keep_a_container_too(
    make_slot: Callable[[str], Slot], client: docker.APIClient, shell: str
) -> None:
    slot = make_slot(shell_image(client, shell))
    for _ in range(3):
        assert slot.run(["echo", "it's", "$HOME", "a\nb"]).cause == "success"
        assert slot.said == "it's $HOME a\nb\n"
    slot.sh("sleep 60 & echo started")
    slot.sh("ls -d /proc/[0-9]* | while read l; do echo one; done")
    assert len(slot.said.splitlines()) <= 5
    assert len(slot.containers()) == 1
    assert slot.sh("kill -SEGV $$").signal == "SIGSEGV"
    assert slot.containers() == []


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    words=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40),
        max_size=5,
    )
)
def test_arguments_arrive_as_they_are(slot: Slot, words: list[str]) -> None:
    slot.run(["printf", "%s\\0", "first", *words])
    assert slot.printed.read_bytes().decode().split("\0") == ["first", *words, ""]


def test_a_very_long_argument_arrives(slot: Slot) -> None:
    word = "x" * 100_000
    slot.run(["echo", word, word, word])
    assert len(slot.said) == 300_003


def test_a_nul_is_refused_and_harms_no_container(slot: Slot) -> None:
    slot.run(["true"])
    with pytest.raises(JobError, match="NUL"):
        slot.run(["echo", "a\0b"])
    assert len(slot.containers()) == 1


def test_a_job_starts_in_its_directory_which_is_made_among_its_files(slot: Slot) -> None:
    for _ in range(2):
        slot.run(["pwd"], working_dir="/data/a/b")
        assert slot.said == "/data/a/b\n"
        assert (slot.files / "a/b").is_dir()
    slot.run(["pwd"], working_dir="/elsewhere")
    assert slot.said == "/elsewhere\n"


def test_each_job_has_its_own_variables_in_the_container_of_all(slot: Slot) -> None:
    said = []
    for own in ({"TRACEPARENT": "it's 1"}, {"TRACEPARENT": "2"}, {}):
        slot.sh("echo ${TRACEPARENT-none}", job_environment=own)
        said.append(slot.said.strip())
    assert said == ["it's 1", "2", "none"]
    assert len(slot.containers()) == 1


def test_the_environment_arrives(slot: Slot) -> None:
    for _ in range(2):
        slot.run(["env"], environment={"A": "it's\n$x", "s": "1", "n": "2"})
        assert "A=it's\n$x\n" in slot.said
        assert {"s=1", "n=2"} <= set(slot.said.splitlines())
    assert "PWD=" not in slot.said
