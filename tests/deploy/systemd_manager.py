"""A real systemd with nothing of this machine's in it: a user instance in a mount namespace of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from tests.deploy.tools import DEPLOY, ROOT, tool

DAEMON = next((p for p in ("/usr/lib/systemd/systemd", "/lib/systemd/systemd") if Path(p).exists()), "")
STARTED_WITHIN = 10.0
# What systemd as process 1 has prepared before the first service: here it is not process 1.
NAMESPACE = """
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/user/0 /run/systemd/inaccessible/dir
touch /run/systemd/inaccessible/reg
mkfifo /run/systemd/inaccessible/fifo
mknod /run/systemd/inaccessible/chr c 0 0
chmod 000 /run/systemd/inaccessible/*
exec "$@"
"""
# A user instance cannot make users; the interpreter and this folder may lie where the sandbox would hide them.
HERE = f"""
[Service]
DynamicUser=no
ProtectHome=read-only
PrivateTmp=no
ExecStart=
ExecStart={sys.executable} -m streamrnn run --config %E/streamrnn/%i.yaml
Environment=PYTHONPATH={ROOT}
"""


class Systemd:
    """Has the unit of `deploy/`, and configurations by instance."""

    def __init__(self, folder: Path) -> None:
        assert os.geteuid() == 0, "a systemd of one's own needs root, for its mount namespace"
        assert DAEMON, "systemd is not here: install the Debian package systemd, as .ci/run does"
        self._folder, self._log = folder, folder / "systemd.log"
        self._config = folder / "config"
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": "/run/user/0",
            "XDG_CONFIG_HOME": str(self._config),
            "XDG_STATE_HOME": str(folder / "state"),
        }
        units = self._config / "systemd" / "user"
        (units / "streamrnn@.service.d").mkdir(parents=True)
        (self._config / "streamrnn").mkdir(exist_ok=True)
        (units / "streamrnn@.service").write_text((DEPLOY / "systemd" / "streamrnn@.service").read_text())
        (units / "streamrnn@.service.d" / "here.conf").write_text(HERE)
        (units / "nothing.target").write_text("[Unit]\nDescription=nothing\n")
        self._units = units

    def configure(self, instance: str, text: str, drop_in: str = "") -> None:
        """Write an instance's configuration, and a drop-in for it."""
        (self._config / "streamrnn" / f"{instance}.yaml").write_text(textwrap.dedent(text))
        if drop_in:
            folder = self._units / f"streamrnn@{instance}.service.d"
            folder.mkdir()
            (folder / "drop-in.conf").write_text(f"[Service]\n{drop_in}\n")

    def __enter__(self) -> "Systemd":
        command = [tool("unshare"), "--mount", "--propagation", "private", "bash", "-c", NAMESPACE, "namespace"]
        command += [DAEMON, "--user", "--unit=nothing.target", "--log-target=console"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + STARTED_WITHIN
        while self.systemctl("is-active", "nothing.target") != "active":
            assert time.monotonic() < deadline, f"systemd did not come up: {self._log.read_text()[-2000:]}"
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        for unit in self._config.glob("streamrnn/*.yaml"):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.systemctl("kill", "--signal=SIGKILL", f"streamrnn@{unit.stem}")
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(15)

    def systemctl(self, *arguments: str) -> str:
        """What `systemctl` prints, whatever its exit code."""
        command = [tool("nsenter"), "--target", str(self._process.pid), "--mount", tool("systemctl"), "--user"]
        answer = subprocess.run(
            [*command, *arguments], env=self._environment, capture_output=True, text=True, timeout=60, check=False
        )
        return answer.stdout.strip()

    def shows(self, instance: str, *properties: str) -> list[str]:
        """The values of these properties."""
        lines = self.systemctl("show", f"streamrnn@{instance}", *(f"--property={name}" for name in properties))
        found = dict(line.split("=", 1) for line in lines.splitlines())
        return [found[name] for name in properties]
