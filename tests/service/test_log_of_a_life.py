"""What a whole life says in its log: which task, at which offset, nothing for each record, nothing without need."""

import json
from pathlib import Path
from typing import Any

from tests.service.program import records, streamrnn

ABOUT_TASKS = "streamrnn.service.task"


def lived(folder: Path, lines: list[bytes], *sets: str) -> tuple[int, list[str]]:
    """Exit code and log of a run from file to file."""
    folder.mkdir(exist_ok=True)
    (folder / "in.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    (folder / "files.yaml").write_text(
        "transport: file\nfile: {input: in.jsonl, output: out.jsonl}\nmodel: {hidden: 4}\nhttp: {port: 0}\n"
    )
    ended = streamrnn("run", "-c", "files.yaml", *(f"--set={given}" for given in sets), cwd=folder)
    return ended.returncode, ended.stderr.decode().splitlines()


def facts(log: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log]


def test_every_line_about_a_task_says_which_and_from_its_position_on_at_which_offset(tmp_path: Path) -> None:
    code, log = lived(tmp_path, records(300, 3), "log.format=json")
    assert code == 0
    told = [fact for fact in facts(log) if fact["logger"] == ABOUT_TASKS]
    assert [fact["message"] for fact in told][-2:] == ["running → closing", "closing → closed"]
    assert {(fact["task"], fact["partition"]) for fact in told} == {("in.jsonl[0]", 0)}
    offsets = [fact.get("offset") for fact in told]
    known = offsets.index(0)
    assert offsets[:known] == [None] * known
    assert offsets[-2:] == [300, 300]

    texts = [line.split(" info    ")[1] for line in lived(tmp_path / "text", records(300, 3))[1]]
    assert "restoring → replaying task=in.jsonl[0] partition=0" in texts
    assert "closing → closed task=in.jsonl[0] partition=0 offset=300" in texts


def test_more_records_and_dead_letters_are_not_more_lines(tmp_path: Path) -> None:
    few = lived(tmp_path / "few", [*records(10, 2), b"no json"])
    many = lived(tmp_path / "many", [line for record in records(3000, 30) for line in (record, b"no json")])
    assert few[0] == many[0] == 0
    assert (tmp_path / "many" / "out.jsonl.dead-letter").read_bytes().count(b"\n") == 3000
    assert len(many[1]) <= len(few[1])


def test_a_life_in_which_nothing_goes_wrong_warns_of_nothing(tmp_path: Path) -> None:
    assert lived(tmp_path, records(300, 3), "log.level=warning") == (0, [])


def test_where_the_log_is_json_the_last_words_are_too(tmp_path: Path) -> None:
    code, log = lived(tmp_path, [], "log.format=json", "file.input=none.jsonl")
    assert code == 1
    last = facts(log)[-1]
    assert last["level"] == "error"
    assert last["message"].startswith("none.jsonl: does not exist")
