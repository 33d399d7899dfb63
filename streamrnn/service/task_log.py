"""What is said of a task: each line names it, and the offset at which it stands."""

import logging
from collections.abc import Callable, MutableMapping
from typing import Any

from streamrnn.transport.contract import PartitionId


class TaskLog(logging.LoggerAdapter[logging.Logger]):
    """A logger that adds the fields task, partition and offset (of the next record to compute, once it is known)."""

    def __init__(self, logger: logging.Logger, partition: PartitionId, position: Callable[[], int | None]) -> None:
        super().__init__(logger)
        self._partition, self._position = partition, position

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """The line with its fields."""
        where = {"task": str(self._partition), "partition": self._partition.partition, "offset": self._position()}
        return msg, {**kwargs, "extra": where}
