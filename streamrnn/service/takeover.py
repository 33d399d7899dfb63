"""Where a task begins: from its snapshot's offset, the group's committed offset and the bounds of the log.

Pure: every case of the decision is a line here, and a test.
"""

import sys
from dataclasses import dataclass

from streamrnn.errors import RefusedError
from streamrnn.transport.contract import Offsets

SET_BACK = "the group was set back"


@dataclass(frozen=True, slots=True)
class Start:
    """What to do before the first record that is published."""

    seek: int
    replay_to: int  # records before this offset build state and are not published
    fresh: bool = False  # nothing was ever done here: write an empty snapshot at `seek`, then commit it
    warning: str | None = None
    rebuild: bool = False  # the state was lost: `seek` is to be moved back as far as `state.rebuild` says


def plan(name: str, snapshot: int | None, offsets: Offsets, start: str, published: int | None = None) -> Start:
    """Decide for the partition of this name. Raises RefusedError where no answer would be right.

    snapshot: the next offset of the snapshot that was restored; start: earliest or latest, for a new group;
    published: the offset behind the newest forecast in the output, None where that is not known.
    """
    committed, earliest, end = offsets.committed, offsets.earliest, offsets.end
    drop = f"`streamrnn state drop` forgets the state of {name}"
    if committed is not None and committed > end:
        raise RefusedError(
            f"{name}: the committed offset is {committed}, the snapshot's is {_named(snapshot)}, but the log ends at "
            f"{end}: the topic was made anew. Set the group's offset back to {earliest}; {drop}"
        )
    if snapshot is not None and snapshot > end:
        raise RefusedError(
            f"{name}: the snapshot's offset is {snapshot}, the committed one is {_named(committed)}, but the log "
            f"ends at {end}: the topic was made anew. {drop}"
        )
    if snapshot is not None and committed is not None and committed < max(snapshot, published or 0):
        newer = f"the snapshot's {snapshot}"
        if committed >= snapshot:
            newer = f"{published}, up to where forecasts are published (the snapshot's is {snapshot})"
        raise RefusedError(
            f"{name}: the committed offset is {committed}, before {newer}: {SET_BACK}. If it was on purpose: {drop}, "
            f"then it begins at {committed}. If nobody did it, the group's broker came back from a crash with old "
            "offsets: restart that broker, nothing else"
        )
    if committed is None and snapshot is None:
        # where nobody knows the end (a pipe) all that ever comes is still to come, so that latest is earliest
        first = end if start == "latest" and end != sys.maxsize else earliest
        return Start(seek=first, replay_to=first, fresh=True)
    if committed is None:
        assert snapshot is not None
        return Start(
            seek=max(snapshot, earliest),
            replay_to=snapshot,
            warning=f"{name}: the group's offset is gone; going on at the snapshot's {snapshot}, and what was "
            "published after it is published again",
        )
    if snapshot is None:
        return Start(
            seek=max(min(committed, end), earliest),
            replay_to=committed,
            rebuild=True,
            warning=f"{name}: there is no state for the committed offset {committed}: rebuilding it from the input",
        )
    gone = max(0, earliest - snapshot)
    return Start(
        seek=max(snapshot, earliest),
        replay_to=committed,
        warning=f"{name}: {gone} offsets after the snapshot's {snapshot} are no longer in the log" if gone else None,
    )


def _named(offset: int | None) -> str:
    return "none" if offset is None else str(offset)
