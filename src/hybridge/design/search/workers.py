"""Who measures parts: this process, or a cluster that Ray keeps, by the same code."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch

from hybridge.design.search.problem import Measure, Measured, Measurer, Part
from hybridge.errors import ConfigError, MissingExtraError

#: Variable of the environment that names a cluster.
_CLUSTER = "RAY_ADDRESS"


class Workers(Protocol):
    """Measures parts, wherever; what comes back is the same, and in the same order."""

    def measure(
        self, measurer: Measurer[Part, Measure], parts: Sequence[Part]
    ) -> Iterator[Measured[Measure]]:
        """Yield the measure of each of the parts, in their order.

        Args:
            measurer: Measures.
            parts: Each once.
        """


class InProcess:
    """Measures one part after another, each when it is asked for."""

    def measure(
        self, measurer: Measurer[Part, Measure], parts: Sequence[Part]
    ) -> Iterator[Measured[Measure]]:
        """Yield the measure of each of the parts, in their order."""
        return map(measurer.measure, parts)


class RayWorkers:
    """Measures on the Ray cluster that RAY_ADDRESS names, else on this machine; close it when done.

    Every worker holds what measures once. One that keeps its measures in a folder finds there what
    another has measured if all see the same folder. Measures are the same to the bit where workers
    compute on as many threads as this process does.

    Args:
        count: Workers.
        threads: That each computes on, and the processors that it takes of the cluster.

    Raises:
        ConfigError: A count is below 1, or Ray does not start.
        MissingExtraError: Ray is not installed.
    """

    def __init__(self, count: int, threads: int = 1) -> None:
        if count < 1 or threads < 1:
            raise ConfigError(
                f"expected 1 worker or more of 1 thread or more, got {count} of {threads}"
            )
        self.count, self.threads = count, threads
        self._ray = _ray()
        self._started = not self._ray.is_initialized()
        if self._started:
            self._start()
        self._measurer: object = None
        self._actors: list[Any] = []

    def _start(self) -> None:
        where: dict[str, Any] = {"address": os.environ.get(_CLUSTER)}
        if where["address"] is None:
            processors = self.count * self.threads
            where = {"address": "local", "num_cpus": processors, "include_dashboard": False}
        try:
            self._ray.init(**where, log_to_driver=False, configure_logging=False)
        except Exception as error:  # Ray raises plain ones
            raise ConfigError(
                f"Ray did not start at {where['address']}: {error}; begin with 'ray start' and "
                f"name it in {_CLUSTER}, or measure in this process"
            ) from error

    def __enter__(self) -> "RayWorkers":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the workers go, and Ray where it was started here."""
        self._dismiss()
        if self._started:
            self._ray.shutdown()

    def measure(
        self, measurer: Measurer[Part, Measure], parts: Sequence[Part]
    ) -> Iterator[Measured[Measure]]:
        """Yield the measure of each of the parts, in their order.

        No worker waits for another: what is measured early is kept until its turn.
        """
        self._brief(measurer)
        pool = self._ray.util.ActorPool(self._actors)
        early: dict[int, Measured[Measure]] = {}
        turn = 0
        try:
            # Ray's ordered map leaves a worker idle until all before its part is done.
            for number, measured in pool.map_unordered(
                lambda actor, each: actor.measure.remote(*each), list(enumerate(parts))
            ):
                early[number] = measured
                while turn in early:
                    yield early.pop(turn)
                    turn += 1
        except self._ray.exceptions.RayTaskError as error:
            # Ray's own has a traceback for a message.
            raise error.cause from error

    def _brief(self, measurer: object) -> None:
        """Give every worker what measures, unless it has it."""
        if measurer is self._measurer:
            return
        self._dismiss()
        shared = self._ray.put(measurer)
        worker = self._ray.remote(num_cpus=self.threads)(_Worker)
        self._actors = [worker.remote(shared, self.threads) for _ in range(self.count)]
        self._measurer = measurer

    def _dismiss(self) -> None:
        for actor in self._actors:
            self._ray.kill(actor)
        self._actors, self._measurer = [], None


class _Worker:
    """Holds what measures, on another machine, or in another process."""

    def __init__(self, measurer: Measurer[Any, Any], threads: int) -> None:
        torch.set_num_threads(threads)
        self._measurer = measurer

    def measure(self, number: int, part: Any) -> tuple[int, Measured[Any]]:
        return number, self._measurer.measure(part)


@contextmanager
def open_workers(count: int) -> Iterator[Workers]:
    """Open so many workers of a Ray cluster, or for 0 this process, and close them at the end.

    Raises:
        ConfigError: Ray does not start.
        MissingExtraError: Ray is not installed.
    """
    if not count:
        yield InProcess()
        return
    with RayWorkers(count) as workers:
        yield workers


def _ray() -> Any:
    try:
        import ray
        import ray.util
    except ImportError as error:
        raise MissingExtraError("ray", "ray") from error
    return ray
