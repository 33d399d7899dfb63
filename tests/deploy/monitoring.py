"""The rules and the dashboard, their queries taken out, and a real Prometheus to ask."""

import json
import math
import re
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.tools import DEPLOY, tool
from tests.kafka.broker import free_port

RULES = DEPLOY / "prometheus" / "rules.yml"
DASHBOARD = DEPLOY / "grafana" / "streamrnn.json"
COMPARISON = re.compile(r"\s+(==|!=|>=|<=|>|<)\s+-?[0-9.]+")  # never one of the matchers, which have no spaces
VARIABLES = {"$__rate_interval": "30s", "$job": ".+"}


def rules() -> list[dict[str, Any]]:
    """All of them, alerting and recording."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """The dashboard's, rows included."""
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def queries() -> dict[str, str]:
    """What is asked anywhere, by whom: an alert without its comparison, a panel with its variables filled in."""
    found = {str(rule["record"]): str(rule["expr"]) for rule in rules() if "record" in rule}
    found |= {str(rule["alert"]): COMPARISON.sub("", str(rule["expr"])) for rule in rules() if "alert" in rule}
    for panel in panels():
        for target in panel.get("targets", ()):
            query = target["expr"]
            for name, value in VARIABLES.items():
                query = query.replace(name, value)
            found[f"{panel['title']}/{target['refId']}"] = query
    return found


def choices() -> list[tuple[str, str]]:
    """What the dashboard's variables offer: of each, the metric and its label."""
    variables = json.loads(DASHBOARD.read_text())["templating"]["list"]
    asked = " ".join(variable["definition"] for variable in variables if variable["type"] == "query")
    return re.findall(r"label_values\((\w+), (\w+)\)", asked)


class Prometheus:
    """The real one, with the rules of `deploy/`, asking one worker every second."""

    def __init__(self, folder: Path, port: int) -> None:
        config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(RULES)]
        config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._folder, self._port = folder, free_port()

    def __enter__(self) -> "Prometheus":
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    tool("prometheus"),
                    f"--config.file={self._folder}/prometheus.yml",
                    f"--storage.tsdb.path={self._folder}/data",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    def ask(self, query: str) -> list[float]:
        """The values of an instant query; empty also while it is still starting."""
        data = self._get("query", query=query)
        return [float(sample["value"][1]) for sample in data["result"]] if data else []

    def label_values(self, metric: str, label: str) -> list[str]:
        """What the label is, wherever the metric is."""
        return self._get(f"label/{label}/values", **{"match[]": metric}) or []

    def _get(self, path: str, **arguments: str) -> Any:
        """The data of an answer, None while it is still starting."""
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.loads(answer.read())["data"]
        except OSError:
            assert self._process.poll() is None, (self._folder / "prometheus.log").read_text()[-2000:]
            return None

    def answers(self, query: str) -> bool:
        """Whether there is a number among what it returns."""
        return any(math.isfinite(value) for value in self.ask(query))

    def wait_for(self, query: str, seconds: float = 60.0) -> None:
        """Until it returns something."""
        deadline = time.monotonic() + seconds
        while not self.ask(query):
            assert time.monotonic() < deadline, f"no data: {query}"
            time.sleep(0.5)
