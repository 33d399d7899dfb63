"""compose.yaml, as far as it can be read without an engine: what its services say of each other is true."""

from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from streamrnn.service.config import load_config
from streamrnn.service.settings import Config
from tests.deploy.tools import DEPLOY, ROOT

SERVICES: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]


def mounts(service: str) -> dict[PurePosixPath, Path]:
    """What of this repository is seen where."""
    parts = [volume.split(":") for volume in SERVICES[service]["volumes"]]
    return {PurePosixPath(inside): (DEPLOY / ours).resolve() for ours, inside, *_ in parts if ours.startswith(".")}


def read(path: str) -> Any:
    return yaml.safe_load((DEPLOY / path).read_text())


@pytest.fixture(scope="module")
def config() -> Config:
    """What the worker's container is told."""
    (file,) = mounts("streamrnn").values()
    environment = SERVICES["streamrnn"]["environment"]
    return load_config(file, [], {name: str(value) for name, value in environment.items()})


@pytest.mark.parametrize("service", ["streamrnn", "prometheus", "grafana"])
def test_all_that_is_mounted_is_there_and_cannot_be_written(service: str) -> None:
    for path in mounts(service).values():
        assert path.exists()
        assert path.is_relative_to(ROOT)
    ours = [volume for volume in SERVICES[service]["volumes"] if volume.startswith(".")]
    assert ours
    assert all(volume.endswith(":ro") for volume in ours)


def test_the_worker_finds_its_broker_its_configuration_and_its_input(config: Config) -> None:
    host, port = config.kafka.bootstrap_servers.split(":")
    kafka = SERVICES[host]["environment"]
    advertised = dict(entry.split("://") for entry in kafka["KAFKA_ADVERTISED_LISTENERS"].split(","))
    listening = dict(entry.split("://") for entry in kafka["KAFKA_LISTENERS"].split(","))
    (name,) = [name for name, address in advertised.items() if address == f"{host}:{port}"]
    assert listening[name] == f":{port}"
    (inside,) = mounts("streamrnn")
    assert f'"{inside}"' in (DEPLOY / "Dockerfile").read_text(), "the image's command names another file"
    topics = SERVICES["topics"]["command"].split()
    assert topics[topics.index("--topic") + 1] == config.input.topic
    assert f"{host}:{port}" in topics
    assert SERVICES["streamrnn"]["depends_on"]["topics"]["condition"] == "service_completed_successfully"
    grace = float(SERVICES["streamrnn"]["stop_grace_period"].removesuffix("s"))
    assert grace > config.shutdown_timeout


def test_prometheus_asks_the_worker_where_it_listens(config: Config) -> None:
    assert (
        mounts("prometheus")[PurePosixPath("/etc/prometheus")] / "prometheus.yml"
        == DEPLOY / "prometheus/prometheus.yml"
    )
    (job,) = read("prometheus/prometheus.yml")["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    assert target == f"streamrnn:{config.http.port}"
    assert config.http.host == "0.0.0.0"
    assert SERVICES["streamrnn"]["ports"] == [f"127.0.0.1:{config.http.port}:{config.http.port}"]


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    seen = mounts("grafana")
    provisioning = seen[PurePosixPath("/etc/grafana/provisioning")]
    assert provisioning == DEPLOY / "grafana" / "provisioning"
    (source,) = read("grafana/provisioning/datasources/prometheus.yml")["datasources"]
    address = urlsplit(source["url"])
    assert address.hostname in SERVICES
    assert f"127.0.0.1:{address.port}:{address.port}" in SERVICES[address.hostname]["ports"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    (provider,) = read("grafana/provisioning/dashboards/streamrnn.yml")["providers"]
    dashboards = {inside: path for inside, path in seen.items() if inside.suffix == ".json"}
    assert list(dashboards.values()) == [DEPLOY / "grafana" / "streamrnn.json"]
    assert {str(inside.parent) for inside in dashboards} == {provider["options"]["path"]}


def test_nothing_is_reached_from_outside_this_machine() -> None:
    for service in SERVICES.values():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:")
