"""A broker that lets in only whom it knows, and each only where he has a right: SASL, TLS, ACLs."""

import asyncio
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from aiokafka.protocol.admin import CreateAclsRequest

from tests.kafka.broker import Broker, free_port
from tests.kafka.plain_clients import administrator

TOPIC, GROUP, TRANSACTIONAL_ID = 2, 3, 5  # org.apache.kafka.common.resource.ResourceType
LITERAL, PREFIXED = 3, 4
OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Alter": 7, "Describe": 8, "DescribeConfigs": 10}
ALLOW = 3
MODULES = "org.apache.kafka.common.security"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


class Right(NamedTuple):
    """What an ACL allows."""

    operation: str
    kind: int
    name: str
    pattern: int = LITERAL


class Certificates:
    """An authority of our own, and what it has signed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.authority = folder / "ca.pem"
        self._openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=streamrnn tests"),
            *("-keyout", folder / "ca.key", "-out", self.authority),
        )

    def signed(self, name: str) -> tuple[Path, Path]:
        """A certificate of this name for this machine, and its key."""
        key, request, certificate = (self.folder / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        extensions = self.folder / "extensions"
        extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        self._openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        )
        self._openssl(
            *("x509", "-req", "-in", request, "-CA", self.authority, "-CAkey", self.folder / "ca.key"),
            *("-CAcreateserial", "-days", "2", "-extfile", extensions, "-out", certificate),
        )
        return certificate, key

    def _openssl(self, *words: str | Path) -> None:
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, cwd=self.folder)


class GuardedBroker(Broker):
    """Besides the tests' open listener one for each protocol that knows users, none of whom may do anything."""

    def __init__(self, folder: Path, users: Iterable[str]) -> None:
        """The password of a user is `secret-` and his name."""
        self.certificates = made = Certificates(folder / "certificates")
        certificate, key = made.signed("broker")
        store = folder / "certificates" / "broker-store.pem"
        store.write_text(key.read_text() + certificate.read_text())
        self.ports = {protocol: free_port() for protocol in ("SASL_PLAINTEXT", "SASL_SSL", "SSL")}
        port, controller = free_port(), free_port()
        listeners = [f"PLAINTEXT://127.0.0.1:{port}", f"CONTROLLER://127.0.0.1:{controller}"]
        properties = {
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
            + ",".join(f"{protocol}:{protocol}" for protocol in self.ports),
            "inter.broker.listener.name": "PLAINTEXT",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",  # nobody has to say who they are at the open listener
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(store),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(made.authority),
            "listener.name.ssl.ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^CN=(.*?)$/$1/,DEFAULT",
        }
        known = " ".join(f'user_{name}="{password(name)}"' for name in users)
        for protocol, number in self.ports.items():
            listeners.append(f"{protocol}://127.0.0.1:{number}")
            if protocol.startswith("SASL"):
                section = f"listener.name.{protocol.lower()}"
                properties[f"{section}.sasl.enabled.mechanisms"] = ",".join(MECHANISMS)
                for mechanism in MECHANISMS:
                    plain = mechanism == "PLAIN"
                    login = f"plain.PlainLoginModule required {known}" if plain else "scram.ScramLoginModule required"
                    properties[f"{section}.{mechanism.lower()}.sasl.jaas.config"] = f"{MODULES}.{login};"
        properties["listeners"] = ",".join(listeners)
        super().__init__(folder, port=port, controller_port=controller, properties=properties)
        for name in users:
            for mechanism in MECHANISMS[1:]:
                self._format_arguments += ["--add-scram", f"{mechanism}=[name={name},password={password(name)}]"]

    def allow(self, user: str, rights: Iterable[Right]) -> None:
        """Give him these rights."""

        async def session() -> None:
            async with administrator(self.bootstrap_servers) as admin:
                for right in rights:
                    request = CreateAclsRequest(
                        right.kind, right.name, right.pattern, f"User:{user}", "*", OPERATIONS[right.operation], ALLOW
                    )
                    answer = await admin._send_request(request)
                    assert not any(code for code, _ in answer.creation_responses), answer

        with ThreadPoolExecutor(1) as thread:  # a loop may be running in this one
            thread.submit(asyncio.run, session()).result()


def password(name: str) -> str:
    return f"secret-{name}"
