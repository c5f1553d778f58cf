"""Raw jobs are read, sent to a pool, and answered."""

from __future__ import annotations

import io
import threading
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import grpc
import pytest

from messaging.broker import Broker
from messaging.errors import NotFoundError, ServiceError, UsageError
from messaging.names import Names
from messaging.pubsub import Outgoing, PubSub, Received
from messaging.settings import PubSubSettings
from messaging.submit import read_jobs, submit
from messaging.wire import RawJob, Reply, decode_job

SUBSCRIPTION = "executors"


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as broker:
        yield broker


@pytest.fixture
def names() -> Names:
    return Names(f"test-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def pubsub(broker: Broker, names: Names) -> Iterator[PubSub]:
    settings = PubSubSettings(emulator_host=broker.address)
    with settings.connect() as pubsub:
        pubsub.create_topic(names.jobs)
        pubsub.create_subscription(names.pool_jobs("default"), names.jobs)
        yield pubsub


def jobs(*ids: str) -> list[tuple[RawJob, str]]:
    return [(RawJob(executable="wc", args=[job_id]), job_id) for job_id in ids]


def pulled(pubsub: PubSub, names: Names, count: int) -> list[Received]:
    found: list[Received] = []
    for _ in range(20):
        batch = pubsub.pull(names.pool_jobs("default"), count - len(found), 1.0)
        pubsub.acknowledge(names.pool_jobs("default"), [item.ack_id for item in batch])
        found += batch
        if len(found) == count:
            return found
    raise AssertionError(f"only {len(found)} of {count} jobs came")


@pytest.fixture
def answering(pubsub: PubSub, names: Names) -> Iterator[Callable[..., threading.Thread]]:
    """Starts an executor's double: it answers `count` jobs, each with these messages."""
    threads = []

    def start(count: int, answer: Callable[[dict[str, str]], list[bytes]]) -> threading.Thread:
        def run() -> None:
            for item in pulled(pubsub, names, count):
                data = answer(item.attributes)
                pubsub.publish(item.attributes["reply_to"], [Outgoing(body) for body in data])

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return threads[-1]

    yield start
    for thread in threads:
        thread.join(20)


def ok(job: str) -> bytes:
    return Reply(job=job, exit_status=0, stdout=f"{job}!").encode()


def test_without_waiting_the_jobs_are_sent_at_once(pubsub: PubSub, names: Names) -> None:
    assert list(submit(pubsub, names, jobs("a", "b"), wait=False, pool="gpu")) == []
    messages = pulled(pubsub, names, 2)
    assert {m.attributes["job"]: decode_job(m.data) for m in messages} == {
        job_id: job for job, job_id in jobs("a", "b")
    }
    assert messages[0].attributes | {"job": ""} == {"job": "", "pool": "gpu", "type": "raw"}


def test_jobs_are_sent_as_a_part_of_their_senders_trace(pubsub: PubSub, names: Names) -> None:
    list(submit(pubsub, names, jobs("a"), wait=False, traceparent="00-1-2-01"))
    (message,) = pulled(pubsub, names, 1)
    assert message.attributes["traceparent"] == "00-1-2-01"


def test_each_job_gets_one_reply_and_the_reply_box_is_deleted(
    pubsub: PubSub, names: Names, answering: Callable[..., threading.Thread]
) -> None:
    boxes = set()

    def answer(attributes: dict[str, str]) -> list[bytes]:
        boxes.add(attributes["reply_to"])
        reply = ok(attributes["job"])
        return [b"noise", ok("stranger"), reply, reply]

    answering(3, answer)
    replies = list(submit(pubsub, names, jobs("a", "b", "c"), wait=True, timeout=30))
    assert sorted(reply.job for reply in replies) == ["a", "b", "c"]
    assert {reply.stdout for reply in replies} == {"a!", "b!", "c!"}
    (box,) = boxes
    assert not pubsub.topic_exists(box)
    assert not pubsub.subscription_exists(box)


def only_a(attributes: dict[str, str]) -> list[bytes]:
    return [ok("a")] if attributes["job"] == "a" else []


def test_a_timeout_says_how_many_replies_are_missing(
    pubsub: PubSub, names: Names, answering: Callable[..., threading.Thread]
) -> None:
    answering(2, only_a)
    got: list[Reply] = []
    replies = submit(pubsub, names, jobs("a", "b"), wait=True, timeout=3.0)
    with pytest.raises(ServiceError, match="1 of 2 replies missing after 3 s, job b"):
        got.extend(replies)
    assert [reply.job for reply in got] == ["a"]


def test_an_interrupt_while_waiting_deletes_the_reply_box(
    pubsub: PubSub, names: Names, answering: Callable[..., threading.Thread]
) -> None:
    boxes = set()

    def answer(attributes: dict[str, str]) -> list[bytes]:
        boxes.add(attributes["reply_to"])
        return only_a(attributes)

    answering(2, answer)
    replies = submit(pubsub, names, jobs("a", "b"), wait=True)
    assert isinstance(replies, Generator)
    assert next(replies).job == "a"
    with pytest.raises(KeyboardInterrupt):
        replies.throw(KeyboardInterrupt())
    (box,) = boxes
    assert not pubsub.topic_exists(box)
    assert not pubsub.subscription_exists(box)


def test_a_reply_that_cannot_be_acknowledged_still_counts(
    broker: Broker, pubsub: PubSub, names: Names, answering: Callable[..., threading.Thread]
) -> None:
    def answer(attributes: dict[str, str]) -> list[bytes]:
        broker.fail_next("Acknowledge", grpc.StatusCode.UNAVAILABLE)
        return [ok(attributes["job"])]

    answering(1, answer)
    assert len(list(submit(pubsub, names, jobs("a"), wait=True, timeout=30))) == 1


def test_a_pull_that_fails_is_tried_again(
    broker: Broker, pubsub: PubSub, names: Names, answering: Callable[..., threading.Thread]
) -> None:
    def answer(attributes: dict[str, str]) -> list[bytes]:
        # The pull that waits already gets the first reply, the next one fails.
        broker.fail_next("Pull", grpc.StatusCode.UNAVAILABLE)
        return [ok(attributes["job"])]

    answering(2, answer)
    assert len(list(submit(pubsub, names, jobs("a", "b"), wait=True, timeout=30))) == 2


def test_without_a_jobs_topic_the_error_names_it(pubsub: PubSub) -> None:
    for wait in (True, False):
        with pytest.raises(NotFoundError, match="nowhere-jobs: start an executor"):
            list(submit(pubsub, Names("nowhere"), jobs("a"), wait=wait))


def test_a_file_holds_one_job_or_a_list_and_stdin_holds_lines(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text('{"executable": "a"}')
    (tmp_path / "list.json").write_text('[{"executable": "b"},\n{"executable": "c"}]')
    stdin = io.StringIO('{"executable": "d"}\n\n{"executable": "e"}\n')
    read = read_jobs([str(tmp_path / "one.json"), str(tmp_path / "list.json"), "-"], stdin)
    assert [job.executable for job, _ in read] == ["a", "b", "c", "d", "e"]
    assert len({job_id for _, job_id in read}) == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"executable": "a",\n "args": ]}', "line 2, column 10: not JSON"),
        ('[\n {"executable": "a"},\n\n {"args": "x"}\n]', "line 4: .*executable is missing"),
        ('[{"executable": "a"},\n"b"]', "line 2: .*expected an object"),
        ('\n\n{"executable": ""}', "line 3: .*executable"),
        ('{"kind": "launch"}', "line 1: "),
        ('{"executable": "a", "version": "2.0"}', "line 1: .*version"),
        ("[" * 100_000, "not JSON"),
        ('{"executable": "\\ud800"}', "line 1: "),
        ("", "line 1, column 1"),
    ],
)
def test_what_is_no_job_is_named_with_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "job.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=rf"job\.json, .*{said}"):
        read_jobs([str(path)], io.StringIO())


def test_a_bad_line_of_stdin_is_named() -> None:
    stdin = io.StringIO('{"executable": "a"}\n{"executable": 3}\n')
    with pytest.raises(UsageError, match=r"standard input, line 2: .*executable"):
        read_jobs(["-"], stdin)
    with pytest.raises(UsageError, match="standard input, line 1, column 1: not JSON"):
        read_jobs(["-"], io.StringIO("nope\n"))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.json: No such file"):
        read_jobs([str(tmp_path / "gone.json")], io.StringIO())
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"binary\.json is not UTF-8"):
        read_jobs([str(tmp_path / "binary.json")], io.StringIO())
