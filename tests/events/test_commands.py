"""What `portfire events` and `portfire metrics` print."""

from __future__ import annotations

import io
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import grpc
import pytest
from google.pubsub_v1 import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from events.commands import print_events, print_metrics
from events.metrics import JobMetrics
from events.publisher import EventPublisher
from events.types import JobFinished
from messaging.errors import UsageError
from messaging.names import Names
from messaging.pubsub import Outgoing, PubSub
from messaging.settings import PubSubSettings
from tests.waiting import wait_until

Command = Callable[..., None]


@pytest.fixture
def publisher(pubsub: PubSub, names: Names) -> Iterator[EventPublisher]:
    publisher = EventPublisher(pubsub, names, "exec-1")
    yield publisher
    publisher.close(1.0)


class Running:
    """A printing command in a thread, with what it has written so far."""

    def __init__(self, command: Command, settings: PubSubSettings, filter_: str = "") -> None:
        self.out = io.StringIO()
        self.stop = threading.Event()
        self.thread = threading.Thread(
            target=command, args=(settings, filter_, self.out, self.stop)
        )
        self.thread.start()

    def lines(self) -> list[str]:
        return self.out.getvalue().splitlines()

    def end(self) -> None:
        self.stop.set()
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture
def ready(publisher: EventPublisher) -> Callable[[Running], None]:
    """Waits until a command sees events, by publishing heartbeats until one is printed."""

    def wait(running: Running) -> None:
        def seen() -> bool:
            publisher.publish("executor.heartbeat")
            return len(running.lines()) > 0

        wait_until(seen, what="the first event")

    return wait


def test_events_are_printed_as_json_lines_until_stopped(
    settings: PubSubSettings, publisher: EventPublisher, ready: Callable[[Running], None]
) -> None:
    running = Running(print_events, settings)
    ready(running)
    publisher.publish("job.started", id="a", name="two\nlines", colour="red")
    wait_until(lambda: "colour" in running.out.getvalue(), what="the job's event")
    running.end()
    printed = [json.loads(line) for line in running.lines()]
    assert printed[0]["type"] == "executor.heartbeat"
    assert printed[-1]["name"] == "two\nlines"
    assert printed[-1]["seq"] == 1


def test_metrics_are_a_header_and_a_line_per_job(
    settings: PubSubSettings, publisher: EventPublisher, pubsub: PubSub
) -> None:
    running = Running(print_metrics, settings)
    wait_until(lambda: running.lines(), what="the header")
    publisher.publish("executor.ready")
    publisher.publish("job.started", id="a")
    publisher.publish("job.finished", id="a", state="COMPLETED")
    wait_until(lambda: len(running.lines()) == 2, what="the job's line")
    late = JobFinished(executor="exec-2", id="b", seq=4, state="FIZZLED")
    pubsub.publish(settings.names.events, [Outgoing(late.encode(), late.attributes())])
    publisher.publish("job.started", id="c")
    publisher.publish("job.finished", id="c", state="COMPLETED")
    wait_until(lambda: len(running.lines()) >= 3, what="the third job's line")
    running.end()
    assert running.lines()[0] == JobMetrics.header()
    jobs = [line.split("\t")[2] for line in running.lines()[1:]]
    assert jobs == ["a", "c", "b"], "a job with events missing is printed when waiting ends"


@pytest.mark.parametrize("command", [print_events, print_metrics])
def test_a_wrong_filter_is_a_usage_error_with_its_position(
    command: Command, settings: PubSubSettings
) -> None:
    with pytest.raises(UsageError, match="position 0"):
        command(settings, "type = 3", io.StringIO(), threading.Event())


def test_a_reader_that_goes_away_ends_the_command_quietly(
    settings: PubSubSettings, publisher: EventPublisher
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    out = os.fdopen(writing, "w")
    thread = threading.Thread(
        target=print_events, args=(settings, "", out, threading.Event()), daemon=True
    )
    thread.start()

    def ended() -> bool:
        publisher.publish("executor.heartbeat")
        return not thread.is_alive()

    wait_until(ended, what="the command's end")
    assert out.closed


def test_an_interrupt_leaves_no_subscription_behind(
    settings: PubSubSettings, pubsub: PubSub, names: Names, publisher: EventPublisher
) -> None:
    pubsub.create_topic(names.events)
    program = (
        "import signal, sys, threading\n"
        # A test run in the background of a script has inherited that SIGINT is ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from events.commands import print_events\n"
        "from messaging.settings import PubSubSettings\n"
        f"settings = PubSubSettings.model_validate({settings.model_dump()!r})\n"
        "try:\n"
        "    print_events(settings, '', sys.stdout, threading.Event())\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(42)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        stdout = process.stdout

        def printed() -> bool:
            publisher.publish("executor.heartbeat")
            return bool(select.select([stdout], [], [], 0)[0])

        try:
            wait_until(printed, what="the first event")
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 42
        finally:
            process.kill()
    assert subscriptions(settings) == []


def subscriptions(settings: PubSubSettings) -> list[str]:
    """Names of all subscriptions of this installation."""
    channel = grpc.insecure_channel(settings.emulator_host)
    client = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
    found = client.list_subscriptions(project="projects/portfire-local", timeout=10)
    names = [item.name for item in found if settings.prefix in item.name]
    channel.close()
    return names


def test_without_any_pubsub_named_the_error_says_what_to_set() -> None:
    with pytest.raises(UsageError, match="GOOGLE_CLOUD_PROJECT"):
        print_events(PubSubSettings(), "", io.StringIO(), threading.Event())
