"""The Dockerfile's own steps, done in a folder that was empty: there is no container engine to do them."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.deploy.tools import DEPLOY, ROOT
from tests.kafka.broker import free_port
from tests.service.program import records

DOCKERFILE = DEPLOY / "Dockerfile"
PORT = 9109  # what the health check asks


class Image:
    """Stages become folders: /opt and /build lie in one, and the base image's Python is a virtual environment."""

    def __init__(self, root: Path) -> None:
        self.root = root
        lines = DOCKERFILE.read_text().replace("\\\n", " ").splitlines()
        self.steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
        subprocess.run([sys.executable, "-m", "venv", root / "base"], check=True)

    def inside(self, text: str) -> str:
        return re.sub(r"(?<![\w.])/(opt|build)\b", rf"{self.root}/\1", text)

    def shell(self, command: str, folder: Path) -> str:
        environment = {"PATH": f"{self.root}/base/bin:/usr/bin:/bin", "HOME": str(self.root), "EXTRAS": ""}
        made = subprocess.run(
            ["sh", "-c", self.inside(command)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, f"{command}\n{made.stdout}{made.stderr}"
        return made.stdout

    def build(self) -> None:
        """Every WORKDIR, COPY and RUN of both stages, in order."""
        folder = self.root
        for word, rest in self.steps:
            if word == "WORKDIR":
                folder = Path(self.inside(rest))
                folder.mkdir(parents=True, exist_ok=True)
            elif word == "RUN":
                self.shell(rest, folder)
            elif word == "COPY" and not rest.startswith("--from"):
                *sources, target = rest.split()
                for source in sources:
                    place = folder / target / source if target == "./" else folder / target
                    copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                    copy(ROOT / source, place)
        shutil.rmtree(self.root / "build")  # the last stage has only what --from=build brings

    def argument(self, word: str) -> str:
        return [rest for step, rest in self.steps if step == word][-1]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    made = Image(tmp_path_factory.mktemp("image"))
    made.build()
    return made


def test_what_the_dockerfile_installs_forecasts_and_answers_its_health_check(image: Image, tmp_path: Path) -> None:
    (command,) = json.loads(image.argument("ENTRYPOINT"))
    run, flag, _ = json.loads(image.argument("CMD"))
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(records(50, 5)) + b"\n")
    config = tmp_path / "config.yaml"
    config.write_text(
        f"transport: file\nfile: {{input: in.jsonl, output: out.jsonl}}\nhttp: {{port: {free_port()}}}\n"
    )
    program = image.root / "opt" / "streamrnn" / "bin" / command
    assert subprocess.run([program, run, flag, config], cwd=tmp_path, check=False).returncode == 0
    assert (tmp_path / "out.jsonl").read_bytes().count(b"\n") == 50

    checked = image.argument("HEALTHCHECK").split("CMD", 1)[1]
    python, *arguments = json.loads(checked)
    ask = [str(image.root / "opt" / "streamrnn" / "bin" / python), *arguments]
    assert subprocess.run(ask, capture_output=True, check=False).returncode != 0, "nobody is there yet"
    sets = ["--set=kafka.bootstrap_servers=127.0.0.1:1", f"--set=http.port={PORT}"]
    sets += ["--set=transport=kafka"]
    daemon = subprocess.Popen([program, run, flag, config, *sets], cwd=tmp_path)
    try:
        deadline = time.monotonic() + 30
        while subprocess.run(ask, capture_output=True, check=False).returncode != 0:
            assert time.monotonic() < deadline, shlex.join(ask)
            time.sleep(0.2)
        daemon.terminate()
        assert daemon.wait(30) == 0
    finally:
        daemon.kill()


def test_the_result_can_install_nothing_and_belongs_to_nobody(image: Image) -> None:
    for place in (image.root / "opt" / "streamrnn", image.root / "base"):
        found = {path.name.split("-")[0] for path in place.glob("lib/python3*/site-packages/*")}
        assert not found & {"pip", "setuptools", "wheel"}
    user, group = map(int, image.argument("USER").split(":"))
    assert user > 0
    assert group > 0


def test_only_what_is_installed_is_sent_to_the_builder(image: Image) -> None:
    wanted = {
        source
        for word, rest in image.steps
        if word == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }
    allowed = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert set(allowed) == wanted
