"""Which library computes: what the configuration asks for, and what is there."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from streamrnn.errors import ConfigError
from streamrnn.service.assembly import metrics
from streamrnn.service.backend import STREAMS_FOR_A_DEVICE, backend
from streamrnn.service.config import Config, load_config
from tests.service.program import streamrnn
from tests.strict_arrays import strict

MANY, FEW = (f"state.max_streams={STREAMS_FOR_A_DEVICE + more}" for more in (1, 0))
DOUBLE = Path(__file__).parent / "cupy_double.py"
NO_DRIVER = "cudaErrorInsufficientDriver: CUDA driver version is insufficient"


def cupy(devices: int, trouble: str = "") -> ModuleType:
    """A CuPy that finds so many devices, or none because of some trouble."""

    def count() -> int:
        if trouble:
            raise RuntimeError(trouble)
        return devices

    module = ModuleType("cupy")
    vars(module).update(__version__="13.4.0", zeros=strict.zeros)
    vars(module)["cuda"] = SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=count))
    return module


def used(*sets: str, daemon: bool = True) -> str:
    return backend(load_config(None, sets, {}), daemon=daemon).__name__


@pytest.mark.parametrize("sets", [[], [FEW], ["compute.backend=numpy", MANY]])
def test_numpy_is_taken_by_default_for_few_streams_and_where_it_is_asked_for(
    sets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", cupy(1))
    assert used(*sets) == "numpy"


def test_auto_takes_a_device_for_many_streams_in_the_daemon_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", cupy(1))
    assert used(MANY) == "cupy"
    assert used(MANY, daemon=False) == "numpy"


def test_the_default_of_max_streams_does_not_count_but_the_same_number_given_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", cupy(1))
    assert used("state.ttl=1h") == "numpy"
    assert used("state.max_streams=1000000") == "cupy"


@pytest.mark.parametrize("there", [None, cupy(0), cupy(0, NO_DRIVER)])
def test_auto_goes_on_without_a_device(there: ModuleType | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", there)
    assert used(MANY) == "numpy"


@pytest.mark.parametrize("daemon", [True, False])
@pytest.mark.parametrize(
    ("there", "said"),
    [
        (None, "CuPy is not installed"),
        (cupy(0), r"CuPy 13\.4\.0 finds no device\."),
        (cupy(0, f"{NO_DRIVER}\nand more"), rf"CuPy 13\.4\.0 finds no device that it can use \({NO_DRIVER}\)\."),
    ],
)
def test_cupy_without_a_device_is_an_error_that_says_what_was_found_and_what_to_do(
    there: ModuleType | None, said: str, daemon: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", there)
    with pytest.raises(ConfigError, match=rf"^compute\.backend: 'cupy': {said}.*pip install") as caught:
        used("compute.backend=cupy", daemon=daemon)
    assert "\n" not in str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Records of three streams and a configuration for them, and a table."""
    random = np.random.default_rng(0)
    lines = [
        json.dumps({"stream": f"s{i % 3}", "time": i // 3 * 1000, "value": round(float(x), 3)})
        for i, x in enumerate(random.normal(size=900))
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "files.yaml").write_text(
        "transport: file\nfile: {input: in.jsonl, output: out.jsonl, state: state}\n"
        "model: {hidden: 8}\nlearning: {window: 8}\nhttp: {port: 0}\n"
    )
    (tmp_path / "data.csv").write_text("time,a\n2024-01-01 00:00,1\n2024-01-01 01:00,2\n")
    return tmp_path


@pytest.mark.parametrize(
    "command", [["run"], ["check"], ["backtest", "data.csv"], ["train", "data.csv", "--output=m"]]
)
def test_every_command_that_computes_is_2_with_one_line_where_there_is_no_device(
    folder: Path, command: list[str]
) -> None:
    (folder / "cupy.py").write_text("raise ImportError('libcuda.so.1: cannot open shared object file')\n")
    done = streamrnn(*command, "-c", "files.yaml", "--set", "compute.backend=cupy", cwd=folder)
    said = done.stderr.decode()
    assert done.returncode == 2
    assert said.startswith("streamrnn: compute.backend: 'cupy': CuPy does not load (libcuda.so.1: cannot open")
    assert said.count("\n") == 1


def test_check_says_what_run_will_compute_with(folder: Path) -> None:
    (folder / "cupy.py").write_text(DOUBLE.read_text())
    for sets, said in ((), "numpy"), (("--set", MANY), "cupy"):
        done = streamrnn("check", "-c", "files.yaml", *sets, cwd=folder)
        assert f"computes with {said}" in " ".join(done.stdout.decode().split())


def test_a_daemon_on_a_device_forecasts_as_one_without_and_either_goes_on_from_the_other_s_state(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # the loops round differently
    (folder / "cupy.py").write_text(DOUBLE.read_text())
    lines = (folder / "in.jsonl").read_text().splitlines(keepends=True)

    def run(backends: tuple[str, str], name: str) -> list[float]:
        """Forecasts of half the records on one backend and of the rest on the other."""
        (folder / "in.jsonl").write_text("".join(lines[:450]))
        for i, each in enumerate(backends):
            if i:
                (folder / "in.jsonl").write_text("".join(lines))
            sets = {"compute.backend": each, "file.output": f"{name}.jsonl", "file.state": name}
            done = streamrnn("run", "-c", "files.yaml", *(f"--set={k}={v}" for k, v in sets.items()), cwd=folder)
            assert done.returncode == 0, done.stderr.decode()
        return [json.loads(line)["mean"][0] for line in (folder / f"{name}.jsonl").open()]

    plain = run(("numpy", "numpy"), "plain")
    assert len(plain) == 900
    assert run(("cupy", "numpy"), "there-and-back") == pytest.approx(plain, abs=1e-5)
    assert run(("numpy", "cupy"), "to-a-device") == pytest.approx(plain, abs=1e-5)


def test_the_metrics_tell_the_backend() -> None:
    assert b'backend="cupy"' in metrics(Config(), cupy(1)).render()
    assert b'backend="numpy"' in metrics(Config()).render()
