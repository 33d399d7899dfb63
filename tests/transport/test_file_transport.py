"""Files and pipes pass the contract, and what is special about them."""

import asyncio
import base64
import errno
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.engine.snapshot import SnapshotPages
from streamrnn.errors import ConfigError, FatalError, RefusedError, SnapshotError, TransportError
from streamrnn.transport.contract import EncodedBatch, RawBatch, Transport
from streamrnn.transport.file import FileSettings, FileTransport
from streamrnn.transport.file_state import drop_state, stored_state
from streamrnn.transport.lines import LineCutter
from streamrnn.transport.page_store import PageStore
from tests.transport.contract_case import (
    Seen,
    TransportContract,
    World,
    fetched,
    forecast,
    forecasts,
    handle,
    life,
    records,
    refused,
    run,
    stream,
    taken_over,
)

ROOT = Path(__file__).parents[2]  # where a script that is started by a test finds the packages


def lines_in(path: str) -> list[bytes]:
    return Path(path).read_bytes().splitlines() if Path(path).exists() else []


class FileWorld(World):
    """An input file in a folder, and everything else next to it."""

    def __init__(self, folder: Path, lines: bytes) -> None:
        self.input = folder / "in.jsonl"
        self.input.write_bytes(lines)
        self.settings = FileSettings(
            str(self.input),
            str(folder / "out.jsonl"),
            folder / "state",
            "",
            "test",
            anomalies=str(folder / "anomalies.jsonl"),
        )
        self.partition = self.settings.partition

    @property
    def state(self) -> Path:
        return self.settings.folder

    def transport(self) -> FileTransport:
        return FileTransport(self.settings)

    async def outputs(self) -> list[tuple[bytes, bytes | None]]:
        return self._seen(self.settings.output)

    async def anomalies(self) -> list[tuple[bytes, bytes | None]]:
        assert self.settings.anomalies is not None
        return self._seen(self.settings.anomalies)

    def _seen(self, path: str) -> list[tuple[bytes, bytes | None]]:
        seen: list[tuple[bytes, bytes | None]] = []
        for line in lines_in(path):
            value = json.loads(line)
            seen.append((value["stream"].encode(), None if value.get("forget") else line))
        return seen

    async def dead_letters(self) -> list[Seen]:
        letters = [json.loads(line) for line in lines_in(self.settings.dead_letter_path)]
        assert all((letter["topic"], letter["partition"]) == ("in.jsonl", 0) for letter in letters)
        return [
            Seen(
                letter["offset"],
                None if letter["value"] is None else base64.b64decode(letter["value"]),
                letter["stage"],
                letter["exception"],
                letter["message"],
            )
            for letter in letters
        ]


def lines_of(count: int) -> bytes:
    return b"".join(value + b"\n" for _, value in records(count))


class TestFileTransport(TransportContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    async def world(self, records: Sequence[tuple[bytes, bytes]]) -> World:
        return FileWorld(self.folder, b"".join(value + b"\n" for _, value in records))


async def whole(transport: Transport) -> list[tuple[int, bytes | None]]:
    """Every record until the transport has ended."""
    seen: list[tuple[int, bytes | None]] = []
    async with asyncio.timeout(30):
        while not transport.ended:
            for batch in (await transport.fetch(0.2)).values():
                seen += zip(batch.offsets, batch.values, strict=True)
    return seen


async def copy(world: FileWorld, count: int | None = None) -> list[int]:
    """One life that publishes forecasts for the next `count` records, or for all. Returns their offsets."""
    async with life(world) as transport, handle(transport, world) as partition:
        start = await taken_over(partition)
        offsets = [offset for offset, _ in await whole(transport)][:count]
        if offsets:
            made = forecasts(*offsets)
            await partition.commit([made], [refused(offsets[0], b"x")], offsets[-1] + 1, [made])
        assert not offsets or offsets[0] == start
        return offsets


def published(world: FileWorld) -> list[bytes]:
    return lines_in(world.settings.output)


def expect_refusal(world: FileWorld, *words: str) -> None:
    async def scenario() -> None:
        async with life(world) as transport:
            with pytest.raises(RefusedError) as refusal:
                await transport.partition(world.partition).fence()
            assert all(word in str(refusal.value) for word in words), refusal.value

    run(scenario())


# Reading


@pytest.mark.parametrize(
    ("lines", "expected"),
    [(b"a\n\nb\n", [b"a", b"", b"b"]), (b"a\nb", [b"a", b"b"]), (b"", []), (b"\n", [b""]), (b"a\r\n", [b"a\r"])],
)
def test_reading_ends_after_the_last_line_with_or_without_a_newline(
    tmp_path: Path, lines: bytes, expected: list[bytes]
) -> None:
    async def scenario() -> None:
        world = FileWorld(tmp_path, lines)
        async with life(world) as transport, handle(transport, world) as partition:
            await partition.seek(0)
            assert await whole(transport) == list(enumerate(expected))
            assert (await partition.offsets()).end == len(expected)
            assert await transport.fetch(0.0) == {}

    run(scenario())


def test_a_batch_has_at_most_4096_lines_and_no_line_is_lost_between_blocks(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = FileWorld(tmp_path, lines_of(60_000))  # more than two blocks of 1 MiB
        async with life(world) as transport, handle(transport, world) as partition:
            await partition.seek(0)
            batches: list[RawBatch] = []
            while not transport.ended:
                batches += (await transport.fetch(0.0)).values()
            assert max(map(len, batches)) == 4096
            values = [value for batch in batches for value in batch.values]
            assert values == [value for _, value in records(60_000)]
            assert [batch.next_offset for batch in batches[:-1]] == [batch.offsets[0] for batch in batches[1:]]
            for offset in (59_999, 1, 30_000, 4_096):
                await partition.seek(offset)
                assert (await fetched(transport, world, 1))[0] == (offset, records(60_000)[offset][1])

    run(scenario())


@given(
    st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=12),
    st.lists(st.integers(1, 5), min_size=80, max_size=80),
    st.integers(5, 9),
    st.booleans(),
)
def test_however_blocks_cut_the_bytes_the_lines_are_the_same(
    lines: list[bytes], blocks: list[int], longest: int, newline: bool
) -> None:
    data = b"\n".join(lines) + (b"\n" if newline and lines else b"")
    cutter, found, at = LineCutter(longest), [], 0
    for length in [*blocks, *[5] * 40]:
        block = data[at : at + length]
        found += cutter.feed(block)
        at += len(block)
    found += cutter.finish()
    expected = data.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    assert found == [line[:longest] for line in expected]


def test_a_line_that_is_too_long_is_cut_short_and_its_neighbours_are_whole(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = FileWorld(tmp_path, b"first\n" + b"x" * 3_000_000 + b"\nlast\n" + b"y" * 2000)
        world.settings = replace(world.settings, max_line_bytes=1000)
        async with life(world) as transport, handle(transport, world) as partition:
            await partition.seek(0)
            assert await whole(transport) == [(0, b"first"), (1, b"x" * 1000), (2, b"last"), (3, b"y" * 1000)]
            await partition.commit([], [], 2)
            await partition.seek(2)
            assert (await whole(transport))[0] == (2, b"last")

    run(scenario())


def test_a_line_that_is_too_long_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    """200 MB of one line pass through a process whose memory could not hold them."""
    script = """
import asyncio, resource, sys
from tests.transport.test_file_transport import FileSettings, FileTransport, Path, whole
from tests.transport.contract_case import Everything

async def main():
    settings = FileSettings(sys.argv[1], "/dev/null", Path(sys.argv[2]), "-", "a", 1 << 20)
    transport = FileTransport(settings)
    await transport.start(Everything())
    partition = transport.partition(settings.partition)
    await partition.fence()
    await partition.seek(0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print([(offset, len(value)) for offset, value in await whole(transport)])
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    await transport.stop()
asyncio.run(main())
"""
    path = tmp_path / "in.jsonl"
    with path.open("wb") as file:
        file.truncate(200 << 20)  # a sparse file: one line of zeros
    with path.open("ab") as file:
        file.write(b"\nlast\n")
    command = [sys.executable, "-c", script, str(path), str(tmp_path / "state")]
    lengths, grown = subprocess.run(command, capture_output=True, check=True, text=True, cwd=ROOT).stdout.splitlines()
    assert lengths == str([(0, 1 << 20), (1, 4)])
    assert int(grown) < 50 << 10  # KiB


def test_what_is_appended_to_the_input_is_read_by_the_next_life(tmp_path: Path) -> None:
    world = FileWorld(tmp_path, lines_of(3))
    asyncio.run(copy(world))
    with world.input.open("ab") as file:
        file.write(b"{}\n{}\n")
    assert asyncio.run(copy(world)) == [3, 4]
    assert asyncio.run(copy(world)) == []
    assert published(world) == [forecast(n) for n in range(5)]


@pytest.mark.parametrize("rest", [b"\n", b"and its end\n"])
def test_the_end_of_a_line_that_was_delivered_unfinished_is_not_another_line(tmp_path: Path, rest: bytes) -> None:
    world = FileWorld(tmp_path, b"{}\n{}\nunfinished")
    assert asyncio.run(copy(world)) == [0, 1, 2]
    assert asyncio.run(copy(world)) == []
    with world.input.open("ab") as file:
        file.write(rest + b"next\n")

    async def scenario() -> None:
        async with life(world) as transport, handle(transport, world) as partition:
            assert await taken_over(partition) == 3
            assert (await partition.offsets()).end == 4
            assert await whole(transport) == [(3, b"next")]

    run(scenario())


def test_a_position_that_is_known_is_found_without_reading_the_file_again(tmp_path: Path) -> None:
    def characters_read() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    async def scenario() -> None:
        count = 400_000
        world = FileWorld(tmp_path, lines_of(count))
        size = world.input.stat().st_size
        assert size > 10 << 20
        async with life(world) as transport, handle(transport, world) as partition:
            await partition.seek(0)
            await fetched(transport, world, count)
            await partition.save(SnapshotPages(count - 200, b"S"))
            await partition.commit([], [], count - 100)
        before = characters_read()
        async with life(world) as transport, handle(transport, world) as partition:
            assert (await partition.offsets()).committed == count - 100
            assert (await partition.offsets()).end == count
            assert await partition.offset_before(count - 100, 3600.0) == 0
            await partition.seek(count - 200)
            assert len(await whole(transport)) == 200
        assert characters_read() - before < 1 << 20

    run(scenario())


# What a crash leaves


def test_what_a_crash_left_behind_the_manifest_is_cut_back(tmp_path: Path) -> None:
    world = FileWorld(tmp_path, lines_of(10))
    asyncio.run(copy(world, 4))
    dead_letters = Path(world.settings.dead_letter_path)
    committed = dead_letters.read_bytes()
    for path in (Path(world.settings.output), dead_letters, tmp_path / "anomalies.jsonl"):
        with path.open("ab") as file:
            file.write(forecast(4) + b'\n{"stream": "half a li')
    (world.state / "manifest.json.new").write_bytes(b'{"format": 1, "posi')
    assert asyncio.run(copy(world)) == [4, 5, 6, 7, 8, 9]
    assert published(world) == lines_in(str(tmp_path / "anomalies.jsonl")) == [forecast(n) for n in range(10)]
    assert dead_letters.read_bytes().startswith(committed)
    assert len(asyncio.run(world.dead_letters())) == 2


def test_a_crash_in_the_very_first_commit_leaves_only_what_was_there_before(tmp_path: Path) -> None:
    world = FileWorld(tmp_path, lines_of(3))
    Path(world.settings.output).write_bytes(b'{"stream":"older"}\n')

    async def nothing() -> None:
        async with life(world) as transport, handle(transport, world):
            pass

    asyncio.run(nothing())
    with Path(world.settings.output).open("ab") as file:
        file.write(forecast(0) + b"\n")
    asyncio.run(copy(world))
    assert published(world) == [b'{"stream":"older"}', *(forecast(n) for n in range(3))]


def test_a_process_that_is_killed_again_and_again_publishes_each_record_once(tmp_path: Path) -> None:
    script = """
import asyncio, sys
from tests.transport.test_file_transport import *

async def main(world):
    async with life(world) as transport, handle(transport, world) as partition:
        stored = await partition.restore()
        start = await taken_over(partition)
        assert start == 0 or int(stored.header) <= start and stored.pages["page"] == stored.header
        print("running", flush=True)
        while not transport.ended:
            for batch in (await transport.fetch(0.1)).values():
                for at in range(0, len(batch), 50):
                    offsets = batch.offsets[at : at + 50]
                    await partition.commit([forecasts(*offsets)], [], offsets[-1] + 1)
                    header = str(offsets[-1] + 1).encode()
                    await partition.save(SnapshotPages(offsets[-1] + 1, header, {"page": header}))

world = FileWorld.__new__(FileWorld)
world.settings = FileSettings(*sys.argv[1:3], Path(sys.argv[3]), "", "test")
world.partition = world.settings.partition
asyncio.run(main(world))
"""
    world = FileWorld(tmp_path, lines_of(10_000))
    command = [sys.executable, "-c", script, world.settings.input, world.settings.output, str(world.settings.state)]
    kills = 0
    for seconds in (0.05, 0.2, 0.11, 0.3, 60):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
        assert process.stdout is not None
        assert process.stdout.readline() == b"running\n"
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        process.stdout.close()
    assert process.returncode == 0
    assert kills >= 2
    assert published(world) == [forecast(n) for n in range(10_000)]


@contextmanager
def no_file_beyond(nbytes: int) -> Iterator[None]:
    """As on a full disk, a write that makes a file longer than this fails (with EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_commit_that_does_not_fit_on_the_disk_is_undone_and_names_the_file(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = FileWorld(tmp_path, lines_of(1000))
        async with life(world) as transport:
            async with handle(transport, world) as partition:
                await taken_over(partition)
                await partition.commit([forecasts(*range(100))], [], 100)
                with no_file_beyond(4000), pytest.raises(TransportError, match=re.escape(world.settings.output)):
                    await partition.commit([forecasts(*range(100, 1000))], [], 1000)
                with pytest.raises(TransportError):
                    await partition.commit([], [], 1000)
                assert len(b"\n".join(published(world))) == 4000  # what fitted is there
            async with handle(transport, world) as partition:
                assert await taken_over(partition) == 100
                assert published(world) == [forecast(n) for n in range(100)]
                await partition.commit([forecasts(*range(100, 1000))], [], 1000)
        assert published(world) == [forecast(n) for n in range(1000)]

    run(scenario())


def test_a_snapshot_that_does_not_fit_on_the_disk_leaves_the_one_before(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = FileWorld(tmp_path, lines_of(1))
        async with life(world) as transport, handle(transport, world) as partition:
            await partition.save(SnapshotPages(0, b"1", {"a": b"a1"}))
            files = sorted(world.state.iterdir())
            with no_file_beyond(4000), pytest.raises(TransportError):
                await partition.save(SnapshotPages(0, b"2", {"a": bytes(5000)}))
            assert sorted(world.state.iterdir()) == files
            stored = await partition.restore()
            assert stored is not None
            assert (stored.header, stored.pages) == (b"1", {"a": b"a1"})
            await partition.save(SnapshotPages(0, b"3", {"b": b"b3"}))
            stored = await partition.restore()
            assert stored is not None
            assert (stored.header, stored.pages) == (b"3", {"a": b"a1", "b": b"b3"})

    run(scenario())


def test_a_full_disk_is_a_transport_error_that_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = FileWorld(tmp_path, lines_of(1))
        world.settings = replace(world.settings, output="/dev/full", dead_letter=str(tmp_path / "dead"))
        async with life(world) as transport, handle(transport, world) as partition:
            with pytest.raises(TransportError, match=r"/dev/full: No space left on device\. Free some space"):
                await partition.commit([forecasts(0)], [], 1)

    assert os.strerror(errno.ENOSPC) == "No space left on device"
    run(scenario())


# What is refused


def test_an_input_that_shrank_is_refused_until_its_position_is_dropped(tmp_path: Path) -> None:
    world = FileWorld(tmp_path, lines_of(10))
    asyncio.run(copy(world))
    committed = world.input.stat().st_size
    world.input.write_bytes(lines_of(4))
    cut = world.input.stat().st_size
    expect_refusal(world, "line 10", f"byte {committed}", f"byte {cut}", "streamrnn state drop")
    assert drop_state(world.settings)
    assert asyncio.run(copy(world)) == [0, 1, 2, 3]


def test_an_input_that_was_replaced_is_refused(tmp_path: Path) -> None:
    world = FileWorld(tmp_path, lines_of(1000))
    asyncio.run(copy(world, 900))
    other = lines_of(1000)
    for change in (other[:-20_000] + other[-19_999:] + b"\n", b"[" + other[1:], other.replace(b'"s899"', b'"s000"')):
        world.input.write_bytes(change)
        expect_refusal(world, "line 900", "replaced", "streamrnn state drop")
    world.input.unlink()
    world.input.write_bytes(lines_of(1000) + b"{}\n")  # another file with the same beginning is as good
    assert len(asyncio.run(copy(world))) == 101


def test_an_output_that_lost_committed_lines_is_refused_until_state_is_dropped(tmp_path: Path) -> None:
    world = FileWorld(tmp_path, lines_of(10))
    asyncio.run(copy(world, 4))
    Path(world.settings.output).unlink()
    expect_refusal(world, world.settings.output, "has 0 bytes", "are committed", "streamrnn state drop")
    assert drop_state(world.settings)
    assert asyncio.run(copy(world)) == [4, 5, 6, 7, 8, 9]  # the position was still true


def test_dropping_state_forgets_the_snapshot_and_keeps_a_position_that_still_holds(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = FileWorld(tmp_path, lines_of(10))
        assert not drop_state(world.settings)
        async with life(world) as transport, handle(transport, world) as partition:
            await taken_over(partition)
            await fetched(transport, world, 10)
            await partition.commit([], [], 7)
            await partition.save(SnapshotPages(7, b"S", {"a": b"1"}))
            with pytest.raises(RefusedError, match="another process"):
                drop_state(world.settings)
        assert stored_state(world.settings)[0] == 7
        assert drop_state(world.settings)
        assert stored_state(world.settings) == (7, None)
        assert sorted(path.name for path in world.state.iterdir()) == ["lock", "manifest.json"]
        async with life(world) as transport, handle(transport, world) as partition:
            assert await partition.restore() is None
            assert (await partition.offsets()).committed == 7

    run(scenario())


def test_what_was_never_committed_is_cut_back_also_after_a_drop(tmp_path: Path) -> None:
    world = FileWorld(tmp_path, lines_of(10))
    asyncio.run(copy(world, 4))
    paths = [Path(path) for path in world.settings.written]
    committed = [path.read_bytes() for path in paths]
    assert len(paths) == 3
    drop_state(world.settings)
    for path in paths:
        with path.open("ab") as file:
            file.write(b'{"stream": "half a li')
    asyncio.run(copy(world))
    for path, before in zip(paths, committed, strict=True):
        assert path.read_bytes().startswith(before + b"{")
        assert b"half a li" not in path.read_bytes()


def test_state_can_be_looked_at_while_a_life_is_on_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = FileWorld(tmp_path, lines_of(2))
        assert stored_state(world.settings) == (None, None)
        async with life(world) as transport, handle(transport, world) as partition:
            await partition.save(SnapshotPages(0, b"S", {"a": b"1"}))
            await partition.commit([], [], 2)
            offset, stored = stored_state(world.settings)
            assert offset == 2
            assert stored is not None
            assert (stored.header, stored.pages) == (b"S", {"a": b"1"})

    run(scenario())


def test_two_processes_cannot_live_on_one_state(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = FileWorld(tmp_path, lines_of(2))
        async with life(world) as first, handle(first, world) as partition:
            async with life(world) as second:
                with pytest.raises(RefusedError, match=rf"process \(id {os.getpid()}\) lives on this state"):
                    await second.partition(world.partition).fence()
            await taken_over(partition)
            await partition.commit([forecasts(0)], [], 1)
        async with life(world) as second, handle(second, world) as partition:
            assert await taken_over(partition) == 1

    run(scenario())


def test_files_that_cannot_be_used_are_named_before_anything_is_read(tmp_path: Path) -> None:
    async def starts(**changes: str) -> None:
        world.settings = replace(settings, **changes)  # type: ignore[arg-type]
        async with life(world):
            pass

    world = FileWorld(tmp_path, b"")
    settings = world.settings
    with pytest.raises(FatalError, match=r"missing\.jsonl: does not exist"):
        asyncio.run(starts(input=str(tmp_path / "missing.jsonl")))
    with pytest.raises(FatalError, match="is a folder"):
        asyncio.run(starts(input=str(tmp_path)))
    with pytest.raises(FatalError, match="its folder does not exist"):
        asyncio.run(starts(output=str(tmp_path / "missing" / "out.jsonl")))
    with pytest.raises(ConfigError, match="must differ"):
        asyncio.run(starts(output=settings.input))
    with pytest.raises(ConfigError, match="must differ"):
        asyncio.run(starts(dead_letter=str(tmp_path / "x" / ".." / "out.jsonl")))


# Snapshots on disk


def snapshot_world(folder: Path) -> FileWorld:
    world = FileWorld(folder, lines_of(1))

    async def scenario() -> None:
        async with life(world) as transport, handle(transport, world) as partition:
            await partition.save(SnapshotPages(0, b"header", {"a": b"first page", "b": b"second page"}))

    asyncio.run(scenario())
    return world


def expect_damage(world: FileWorld, *words: str) -> None:
    async def scenario() -> None:
        async with life(world) as transport, handle(transport, world) as partition:
            with pytest.raises(SnapshotError) as damage:
                await partition.restore()
            assert all(word in str(damage.value) for word in words), damage.value
        drop_state(world.settings)
        async with life(world) as transport, handle(transport, world) as partition:
            assert await partition.restore() is None

    run(scenario())


def test_a_damaged_page_is_refused_and_named(tmp_path: Path) -> None:
    world = snapshot_world(tmp_path)
    (segment,) = world.state.glob("segment-*")
    pages = bytearray(segment.read_bytes())
    pages[12] ^= 1
    segment.write_bytes(pages)
    expect_damage(world, str(segment), "page 'b' at byte 10", "crc32", "streamrnn state drop")


def test_a_segment_that_is_cut_short_or_missing_is_refused(tmp_path: Path) -> None:
    world = snapshot_world(tmp_path)
    (segment,) = world.state.glob("segment-*")
    segment.write_bytes(segment.read_bytes()[:-1])
    expect_damage(world, str(segment), "found 10 bytes", "expected 11 bytes", "streamrnn state drop")
    world = snapshot_world(tmp_path)
    (segment,) = world.state.glob("segment-*")
    segment.unlink()
    expect_damage(world, str(segment), "is missing", "2 pages")


def test_a_damaged_index_is_refused_and_named(tmp_path: Path) -> None:
    world = snapshot_world(tmp_path)
    (index,) = world.state.glob("snapshot-*")
    index.write_bytes(index.read_bytes().replace(b'"offset":0', b'"offset":1'))
    expect_damage(world, str(index), "is damaged")


def test_a_damaged_manifest_is_refused_and_named(tmp_path: Path) -> None:
    world = snapshot_world(tmp_path)
    (world.state / "manifest.json").write_bytes(b"{")
    expect_refusal(world, "manifest.json", "is damaged", "streamrnn state drop")
    assert drop_state(world.settings)
    assert asyncio.run(copy(world)) == [0]


def test_pages_that_are_saved_over_and_over_do_not_fill_the_disk(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = FileWorld(tmp_path, lines_of(1))
        live: dict[str, bytes] = {}
        async with life(world) as transport, handle(transport, world) as partition:
            for n in range(60):
                changed = {"hot": os.urandom(10_000), f"cold/{n}": b"%d" % n}  # each segment keeps a page that counts
                live |= changed
                await partition.save(SnapshotPages(0, b"%d" % n, changed))
                stored_bytes = sum(path.stat().st_size for path in world.state.glob("segment-*"))
                assert stored_bytes <= 3 * sum(map(len, live.values()))
            stored = await partition.restore()
            assert stored is not None
            assert stored.pages == live

    run(scenario())


def test_pages_of_a_save_that_never_came_into_force_are_deleted_at_the_next_start(tmp_path: Path) -> None:
    world = snapshot_world(tmp_path)
    files = sorted(path.name for path in world.state.iterdir())
    for name in ("segment-000000000002.pages", "snapshot-000000000002.json", "snapshot-000000000003.json.new"):
        (world.state / name).write_bytes(b"half")

    async def scenario() -> None:
        async with life(world) as transport, handle(transport, world) as partition:
            stored = await partition.restore()
            assert stored is not None
            assert stored.header == b"header"
            assert sorted(path.name for path in world.state.iterdir()) == files

    run(scenario())


saves = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from("abcdef"), st.binary(max_size=60), max_size=4),
        st.sets(st.sampled_from("abcdef"), max_size=2),
        st.sampled_from(["settle", "settle", "settle", "crash", "reopen"]),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=60)
@given(saves)
def test_whatever_was_saved_is_read_back_and_a_crash_before_the_rename_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, saves: list[tuple[dict[str, bytes], set[str], str]]
) -> None:
    folder = tmp_path_factory.mktemp("pages")
    store, name, expected = PageStore(folder), None, None
    store.open(None)
    for n, (pages, dropped, fate) in enumerate(saves):
        written = store.write(SnapshotPages(n, b"%d" % n, pages, tuple(dropped)))
        if fate != "crash":  # its name is in the manifest
            before: dict[str, bytes] = {} if expected is None else expected[1]
            expected = (b"%d" % n, {key: page for key, page in before.items() if key not in dropped} | pages)
            name = written
        if fate == "settle":
            store.settle()
        else:
            store = PageStore(folder)
            store.open(name)
        stored = store.read()
        assert (None if stored is None else (stored.header, stored.pages)) == expected


# Pipes


ECHO = """
import asyncio, sys
from tests.transport.contract_case import Everything
from tests.transport.test_file_transport import *

async def main():
    settings = FileSettings("-", "-", Path(sys.argv[1]), "", "test")
    transport = FileTransport(settings)
    assert not transport.recoverable
    await transport.start(Everything())
    partition = transport.partition(settings.partition)
    await partition.fence()
    await partition.seek(await first_offset(partition))
    while not transport.ended:
        for batch in (await transport.fetch(5.0)).values():
            good = [value for value in batch.values if value != b"bad"]
            bad = [refused(n, value) for n, value in zip(batch.offsets, batch.values) if value == b"bad"]
            await partition.commit([EncodedBatch([b"s"] * len(good), good, [0] * len(good))], bad, batch.next_offset)
    await partition.save(SnapshotPages(batch.next_offset, b"end"))
    print((await partition.offsets()).end, flush=True)
    await transport.stop()

async def first_offset(partition):
    committed = (await partition.offsets()).committed
    return 0 if committed is None else committed
asyncio.run(main())
"""


def test_lines_flow_from_standard_input_to_standard_output_as_they_come(tmp_path: Path) -> None:
    for life_number in (0, 1):
        process = subprocess.Popen(
            [sys.executable, "-c", ECHO, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        for line in (b"one\n", b"two\n"):
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline() == line
        out, err = process.communicate(b"bad\nlast")
        assert process.returncode == 0, err
        first = 4 * life_number  # the second life numbers its lines on from where the first one saved
        assert out.splitlines() == [b"last", b"%d" % (first + 4)]
        letter = json.loads(err)
        assert (letter["topic"], letter["offset"], letter["value"]) == ("stdin", first + 2, "YmFk")
    assert [path.name for path in tmp_path.iterdir()] == ["test-stdin-0"]


def test_whoever_closes_standard_output_ends_the_run_with_one_clear_error(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ECHO, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(b"line\n")
    assert process.returncode != 0
    assert err.splitlines()[-1].startswith(b"streamrnn.errors.FatalError: -: whoever read it has closed it")


def named_pipe(folder: Path) -> FileWorld:
    """A world whose input is a named pipe."""
    world = FileWorld(folder, b"")
    world.input.unlink()
    os.mkfifo(world.input)
    return world


def test_a_pipe_that_nobody_writes_to_delivers_nothing_and_holds_nobody_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = named_pipe(tmp_path)
        async with life(world) as transport, handle(transport, world) as partition:
            assert not transport.recoverable
            assert (await partition.offsets()).end == sys.maxsize
            await partition.seek(0)
            began = time.monotonic()
            assert await transport.fetch(0.6) == {}
            assert not transport.ended
            assert 0.5 < time.monotonic() - began < 5
            began = time.monotonic()
        assert time.monotonic() - began < 5

    run(scenario())


def test_a_pipe_goes_on_with_a_later_handle_but_cannot_go_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = named_pipe(tmp_path)
        async with life(world) as transport:
            async with handle(transport, world) as partition:
                await partition.seek(100)
                with world.input.open("wb", buffering=0) as writer:
                    writer.write(b"a\nb\n")
                    assert await fetched(transport, world, 2) == [(100, b"a"), (101, b"b")]
                    await partition.commit([], [], 102)
                    assert (await partition.offsets()).committed == 102
                    assert await partition.offset_before(102, 3600.0) == 102
                    writer.write(b"c\n")
                    assert stored_state(world.settings) == (None, None)  # nothing outlasts a crash before a save
            async with handle(transport, world) as partition:
                assert await taken_over(partition) == 102
                assert await whole(transport) == [(102, b"c")]
                assert (await partition.offsets()).end == 103
                with pytest.raises(FatalError, match="the next line is 103 and line 100 was sought"):
                    await partition.seek(100)

    run(scenario())


def test_a_reader_that_takes_nothing_more_does_not_keep_a_life_from_closing(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = FileWorld(tmp_path, lines_of(1))
        os.mkfifo(world.settings.output)
        reader = os.open(world.settings.output, os.O_RDONLY | os.O_NONBLOCK)
        world.settings = replace(world.settings, dead_letter=str(tmp_path / "dead"))
        try:
            async with life(world) as transport:
                partition = transport.partition(world.partition)
                await partition.fence()
                much = EncodedBatch([stream(0)], [b"x" * 1_000_000], [0])
                commit = asyncio.ensure_future(partition.commit([much], [], 1))
                await asyncio.sleep(0.2)
                assert not commit.done()
                began = time.monotonic()
                await partition.close()
                assert time.monotonic() - began < 4
                with pytest.raises(TransportError, match="took nothing more"):
                    await commit
        finally:
            os.close(reader)

    run(scenario())


def test_a_cancelled_commit_is_finished_or_undone_before_the_next_life_begins(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = FileWorld(tmp_path, lines_of(2000))
        async with life(world) as transport:
            for _ in range(20):
                async with handle(transport, world) as partition:
                    start = await taken_over(partition)
                    assert published(world) == [forecast(n) for n in range(start)]
                    commit = asyncio.ensure_future(
                        partition.commit([forecasts(*range(start, start + 100))], [], start + 100)
                    )
                    await asyncio.sleep(0.0005)
                    commit.cancel()
                    await asyncio.gather(commit, return_exceptions=True)
        assert threading.active_count() < 20

    run(scenario())
