"""Kafka as the chamber has it: one broker or a cluster of three, and a network of its own for each worker."""

import asyncio
from pathlib import Path

from aiokafka import AIOKafkaClient
from aiokafka.structs import TopicPartition

from tests.chaos.proxy import Proxy
from tests.kafka.broker import Broker, free_port

WORKERS = 4  # at most: each has a listener of its own


class Cluster:
    """Brokers, and for each worker a proxy before each of them."""

    def __init__(self, folder: Path, brokers: int) -> None:
        ports = {
            name: [free_port() for _ in range(brokers)]
            for name in ("plain", "controller", *map(_name, range(WORKERS)))
        }
        voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in enumerate(ports["controller"], 1))
        replicas, in_sync = (3, 2) if brokers >= 3 else (1, 1)
        self.replication = replicas
        self.networks = [
            [Proxy(ports[_name(worker)][n], free_port()) for n in range(brokers)] for worker in range(WORKERS)
        ]
        self.brokers = []
        for n in range(brokers):
            listeners = [f"PLAINTEXT://127.0.0.1:{ports['plain'][n]}"]
            advertised = [*listeners]
            for worker in range(WORKERS):
                listeners.append(f"{_name(worker)}://127.0.0.1:{ports[_name(worker)][n]}")
                advertised.append(f"{_name(worker)}://127.0.0.1:{self.networks[worker][n].port}")
            names = ["PLAINTEXT", "CONTROLLER", *map(_name, range(WORKERS))]
            properties = {
                "listeners": ",".join([*listeners, f"CONTROLLER://127.0.0.1:{ports['controller'][n]}"]),
                "advertised.listeners": ",".join(advertised),
                "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in names),
                "inter.broker.listener.name": "PLAINTEXT",
                "default.replication.factor": str(replicas),
                "min.insync.replicas": str(in_sync),
                "offsets.topic.replication.factor": str(replicas),
                "transaction.state.log.replication.factor": str(replicas),
                "transaction.state.log.min.isr": str(in_sync),
                "auto.create.topics.enable": "false",  # or a reader would make the output topic
                "replica.lag.time.max.ms": "3000",
                "group.min.session.timeout.ms": "1000",
                "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
                "message.max.bytes": str(12 << 20),
                "replica.fetch.max.bytes": str(12 << 20),
                "log.message.timestamp.after.max.ms": str((1 << 63) - 1),
            }
            self.brokers.append(
                Broker(
                    folder / f"broker-{n + 1}",
                    node=n + 1,
                    port=ports["plain"][n],
                    controller_port=ports["controller"][n],
                    voters=voters,
                    properties=properties,
                )
            )

    @property
    def bootstrap_servers(self) -> str:
        """Where the chamber's own clients go: no network fails there."""
        return ",".join(broker.bootstrap_servers for broker in self.brokers)

    def bootstrap_of(self, worker: int) -> str:
        """Where this worker goes."""
        return ",".join(f"127.0.0.1:{proxy.port}" for proxy in self.networks[worker])

    async def start(self) -> None:
        """Start everything and wait until requests are answered."""
        for broker in self.brokers:
            broker.spawn()
        for broker in self.brokers:
            await asyncio.to_thread(broker.wait)
        for proxy in self.proxies():
            await proxy.open()

    def stop(self) -> None:
        """End everything at once."""
        for broker in self.brokers:
            broker.kill()
        for proxy in self.proxies():
            proxy.refuse()

    def proxies(self) -> list[Proxy]:
        """All of them."""
        return [proxy for network in self.networks for proxy in network]

    async def leader(self, topic: str, partition: int) -> Broker:
        """The broker that leads this partition now."""
        client = AIOKafkaClient(bootstrap_servers=self.bootstrap_servers)
        await client.bootstrap()
        try:
            client.set_topics([topic])
            await client.force_metadata_update()
            node = client.cluster.leader_for_partition(TopicPartition(topic, partition))
        finally:
            await client.close()
        return self.brokers[(node or 1) - 1]


def _name(worker: int) -> str:
    return f"WORKER{worker}"
