"""Hanging up on a cluster; no broker is needed for a client that has never reached one."""

import asyncio

from aiokafka import AIOKafkaConsumer

from streamrnn.transport.kafka_connection import drop_consumer


def test_dropping_a_consumer_that_was_never_started_ends_no_task_but_its_own() -> None:
    """It has no coordinator and no fetcher, as many a task runs no method of anything."""

    async def somebody_elses(done: asyncio.Event) -> None:
        await done.wait()

    async def scenario() -> None:
        done = asyncio.Event()
        other = asyncio.create_task(somebody_elses(done))
        await asyncio.sleep(0)
        await drop_consumer(AIOKafkaConsumer(bootstrap_servers="127.0.0.1:1"))
        done.set()
        await other

    asyncio.run(scenario())
