"""The Kubernetes objects: built by kubectl, held against the schemas, and read as the daemon will read them."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject, TriggerAuthentication
from cloudcoil.models.prometheus_operator.v1 import PrometheusRule, ServiceMonitor

from streamrnn.service.config import load_config
from tests.deploy.monitoring import RULES
from tests.deploy.tools import DEPLOY, run, said

Object = dict[str, Any]
FOLDERS = ("base", "overlays/gpu", "overlays/autoscaled")
CUSTOM = {kind.__name__: kind for kind in (ScaledObject, TriggerAuthentication, PrometheusRule, ServiceMonitor)}
VERSIONS = ("1.31", "1.37")
OURS = {"app.kubernetes.io/name": "streamrnn"}


def built(folder: str) -> dict[str, Object]:
    """What `kubectl kustomize` makes, by kind."""
    answer = run("kubectl", "kustomize", DEPLOY / "kubernetes" / folder)
    assert answer.returncode == 0, said(answer)
    assert not answer.stderr, said(answer)
    return {made["kind"]: made for made in yaml.safe_load_all(answer.stdout)}


def strict(schema: Any) -> Any:
    """The schema, taking no property that it does not name."""
    if isinstance(schema, dict):
        closed = {name: strict(part) for name, part in schema.items()}
        if "properties" in schema:
            closed.setdefault("additionalProperties", False)
        return closed
    return [strict(part) for part in schema] if isinstance(schema, list) else schema


def check_custom(made: Object) -> None:
    """Raises where it is not what the definition of its kind says."""
    schema = strict(CUSTOM[made["kind"]].model_json_schema(by_alias=True))
    # not checked itself: one pattern, of a field that nobody uses here, is Go's and not Python's
    jsonschema.Draft202012Validator(schema).validate(made)
    assert made["apiVersion"] == schema["properties"]["apiVersion"]["default"]


def container(made: dict[str, Object]) -> Object:
    (found,) = made["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_object_that_kubectl_builds_passes_strict_validation(folder: str) -> None:
    made = built(folder)
    expected = {"ConfigMap", "Secret", "Service", "StatefulSet", "PodDisruptionBudget", "NetworkPolicy"}
    expected |= {"ServiceMonitor", "PrometheusRule"}
    if folder == "overlays/autoscaled":
        expected |= {"ScaledObject", "TriggerAuthentication"}
    assert set(made) == expected
    for kind, found in made.items():
        if kind in CUSTOM:
            check_custom(found)
        else:
            for version in VERSIONS:
                kubernetes_validate.validate(found, version, strict=True)


def test_the_validation_sees_a_property_that_does_not_exist() -> None:
    made = built("overlays/autoscaled")
    made["ScaledObject"]["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behaviour"] = {}
    with pytest.raises(jsonschema.ValidationError, match="behaviour"):
        check_custom(made["ScaledObject"])
    container(made)["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(made["StatefulSet"], VERSIONS[0], strict=True)


def test_the_pods_are_what_every_selector_selects() -> None:
    made = built("base")
    assert made["StatefulSet"]["spec"]["template"]["metadata"]["labels"] == OURS
    assert made["Service"]["metadata"]["labels"] == OURS
    assert made["Service"]["spec"]["selector"] == OURS
    for kind in ("StatefulSet", "PodDisruptionBudget", "ServiceMonitor"):
        assert made[kind]["spec"]["selector"] == {"matchLabels": OURS}, kind
    assert made["NetworkPolicy"]["spec"]["podSelector"] == {"matchLabels": OURS}
    assert made["StatefulSet"]["spec"]["serviceName"] == made["Service"]["metadata"]["name"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_configuration_in_the_pod_is_one_that_streamrnn_takes(folder: str, tmp_path: Path) -> None:
    made = built(folder)
    pod = made["StatefulSet"]["spec"]["template"]["spec"]
    (variable,) = container(made)["env"]
    assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for mount in container(made)["volumeMounts"]:
        inside = tmp_path / mount["mountPath"].lstrip("/")
        inside.mkdir(parents=True, exist_ok=True)
        volume = volumes[mount["name"]]
        if "configMap" in volume:
            assert volume["configMap"]["name"] == made["ConfigMap"]["metadata"]["name"]
            content = made["ConfigMap"]["data"]
        elif "secret" in volume:
            assert volume["secret"]["secretName"] == made["Secret"]["metadata"]["name"]
            content = made["Secret"]["stringData"]
        else:
            continue
        for name, text in content.items():
            (inside / name).write_text(text.replace("/etc/streamrnn", f"{tmp_path}/etc/streamrnn"))
    *_, file = container(made)["args"]
    config = load_config(tmp_path / file.lstrip("/"), [], {variable["name"]: "streamrnn-1"})
    assert config.kafka.group_instance_id == "streamrnn-1"
    assert config.kafka.security.password == made["Secret"]["stringData"]["password"]
    assert Path(str(config.kafka.security.ca_file)).exists()
    assert config.http.host == "0.0.0.0"
    assert container(made)["ports"] == [{"name": "http", "containerPort": config.http.port}]
    assert pod["terminationGracePeriodSeconds"] >= 2 * config.shutdown_timeout
    if "ScaledObject" in made:
        (trigger,) = made["ScaledObject"]["spec"]["triggers"]
        told = trigger["metadata"]
        assert told["bootstrapServers"] == config.kafka.bootstrap_servers
        assert (told["consumerGroup"], told["topic"]) == (config.app_id, config.input.topic)
        assert "replicas" not in made["StatefulSet"]["spec"], "two would decide how many there are"
        assert made["ScaledObject"]["spec"]["scaleTargetRef"]["name"] == made["StatefulSet"]["metadata"]["name"]


def test_neither_a_restore_nor_an_absent_broker_kills_a_pod() -> None:
    found = container(built("base"))
    paths = {name: found[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}


def test_a_pod_may_do_nothing_that_it_need_not() -> None:
    made = built("base")
    pod, found = made["StatefulSet"]["spec"]["template"]["spec"], container(made)
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is pod["enableServiceLinks"] is False
    assert found["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_pod_says_what_it_needs_and_where_it_ends() -> None:
    resources = container(built("base"))["resources"]
    assert set(resources["requests"]) == {"cpu", "memory"}
    assert set(resources["limits"]) == {"memory"}, "a limit of the processor would only make it late"
    assert container(built("overlays/gpu"))["resources"] == {
        "requests": resources["requests"],
        "limits": resources["limits"] | {"nvidia.com/gpu": "1"},
    }


def test_pods_are_replaced_one_by_one_and_none_is_kept_from_leaving_by_an_absent_broker() -> None:
    made = built("base")
    assert made["StatefulSet"]["spec"]["updateStrategy"] == {"type": "RollingUpdate"}
    budget = made["PodDisruptionBudget"]["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")


def test_there_are_never_more_workers_than_partitions() -> None:
    scaled = built("overlays/autoscaled")["ScaledObject"]["spec"]
    (trigger,) = scaled["triggers"]
    assert trigger["type"] == "kafka"
    assert trigger["metadata"]["allowIdleConsumers"] == "false"
    assert 1 <= scaled["minReplicaCount"] <= scaled["maxReplicaCount"]


def test_nobody_but_who_scrapes_is_let_in_and_nothing_but_names_and_kafka_is_reached() -> None:
    made = built("base")
    policy = made["NetworkPolicy"]["spec"]
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"]
    (entry,) = policy["ingress"]
    assert entry["ports"] == [{"protocol": "TCP", "port": "http"}]
    assert entry["from"], "an empty list lets everybody in"
    ports = {(port["protocol"], port["port"]) for way in policy["egress"] for port in way["ports"]}
    assert ports == {("UDP", 53), ("TCP", 53), ("TCP", 9092), ("TCP", 9093)}
    servers = yaml.safe_load(made["ConfigMap"]["data"]["streamrnn.yaml"])["kafka"]["bootstrap_servers"]
    assert ("TCP", int(servers.rpartition(":")[2])) in ports


def test_the_rules_in_the_cluster_are_those_that_are_tested() -> None:
    found, expected = built("base")["PrometheusRule"]["spec"], yaml.safe_load(RULES.read_text())
    assert json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)
