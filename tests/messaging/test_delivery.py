"""A subscription's waiting clients, on an event loop of the test's own and without gRPC."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from messaging.broker.delivery import LiveSubscription, Stream
from messaging.broker.protocol import PubsubMessage, Subscription
from messaging.broker.status import not_found
from messaging.broker.validation import fill_in
from messaging.filters import parse_filter


def on_loop(test: Callable[[LiveSubscription], Awaitable[None]]) -> None:
    """Run `test` with a fresh subscription whose ack deadline nobody outlives."""

    async def run() -> None:
        settings = Subscription(name="projects/p/subscriptions/s", ack_deadline_seconds=600)
        fill_in(settings)
        subscription = LiveSubscription(
            settings, parse_filter(""), time.monotonic, lambda _message, _attempts: True
        )
        await asyncio.wait_for(test(subscription), 20)

    asyncio.run(run())


def sized(*payloads: bytes) -> list[tuple[Any, int]]:
    return [(PubsubMessage(data=data), len(data)) for data in payloads]


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_client_that_leaves_in_the_moment_of_delivery_swallows_nothing() -> None:
    async def scene(subscription: LiveSubscription) -> None:
        leaving = asyncio.create_task(subscription.pull(1, 60))
        await settle()
        subscription.publish(sized(b"x"))
        leaving.cancel()
        [delivery] = await subscription.pull(1, 5)
        assert delivery.message.data == b"x"
        with pytest.raises(asyncio.CancelledError):
            await leaving

    on_loop(scene)


def test_waiting_clients_are_served_in_the_order_they_came() -> None:
    async def scene(subscription: LiveSubscription) -> None:
        pulls = [asyncio.create_task(subscription.pull(1, 60)) for _ in range(3)]
        await settle()
        pulls[1].cancel()
        await settle()
        subscription.publish(sized(b"first", b"second"))
        assert (await pulls[0])[0].message.data == b"first"
        assert (await pulls[2])[0].message.data == b"second"

    on_loop(scene)


def test_what_a_stream_had_not_written_goes_to_others_at_once() -> None:
    async def scene(subscription: LiveSubscription) -> None:
        stream = Stream(600, 0, 0)
        subscription.attach(stream)
        subscription.publish(sized(b"x", b"y"))
        subscription.detach(stream)
        again = await subscription.pull(2, 5)
        assert [delivery.message.data for delivery in again] == [b"x", b"y"]

    on_loop(scene)


def test_two_streams_share_what_comes() -> None:
    async def scene(subscription: LiveSubscription) -> None:
        streams = [Stream(600, 2, 0), Stream(600, 2, 0)]
        for stream in streams:
            subscription.attach(stream)
        subscription.publish(sized(b"1", b"2", b"3", b"4", b"5"))
        batches = [await stream.next_batch() for stream in streams]
        assert [len(batch) for batch in batches] == [2, 2]
        assert streams[0].room == 0

    on_loop(scene)


def test_an_expired_message_wakes_a_waiting_client() -> None:
    async def scene(subscription: LiveSubscription) -> None:
        subscription.publish(sized(b"x"))
        [held] = await subscription.pull(1, 5)
        waiting = asyncio.create_task(subscription.pull(1, 60))
        await settle()
        subscription.extend([held.ack_id], 0.05)
        assert (await waiting)[0].message.data == b"x"

    on_loop(scene)


def test_closing_ends_all_who_wait_and_forgets_the_messages() -> None:
    async def scene(subscription: LiveSubscription) -> None:
        subscription.publish(sized(b"taken", b"taken too"))
        [taken] = await subscription.pull(1, 5)
        await subscription.pull(1, 5)
        stream = Stream(600, 0, 0)
        subscription.attach(stream)
        waiting = asyncio.create_task(subscription.pull(1, 60))
        await settle()
        subscription.close(not_found("s"))
        assert subscription.ack([taken.ack_id]) == [taken.ack_id]
        assert await subscription.pull(10, 0) == []
        for waiter in (waiting, stream.next_batch()):
            with pytest.raises(type(not_found("s"))):
                await waiter

    on_loop(scene)
