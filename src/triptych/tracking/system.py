"""What a stage asks of the machine while it runs: MLflow's system metrics.

Collected by MLflow's own monitors, so that its page of system metrics shows them,
and kept until the stage is done: a training neither waits for a store nor writes
into one that the other jobs of a sweep are writing into.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

PREFIX = "system/"  # MLflow's page looks for it


class Monitor(Protocol):
    """What MLflow's monitors have in common."""

    def collect_metrics(self) -> None: ...

    def aggregate_metrics(self) -> Mapping[str, Any]: ...

    def clear_metrics(self) -> None: ...


class Sample(NamedTuple):
    """The values of one moment; `milliseconds` since the epoch."""

    milliseconds: int
    values: Mapping[str, float]


@contextmanager
def observed(every: float | None) -> Iterator[list[Sample]]:
    """Samples of CPU, memory, disk, network and GPU, at least at the start and the end, `every` seconds.

    None collects nothing.
    """
    samples: list[Sample] = []
    if every is None:
        yield samples
        return
    monitors = _monitors()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            samples.append(_sample(monitors))
            done.wait(every)
        samples.append(_sample(monitors))

    thread = threading.Thread(target=watch, daemon=True, name="system metrics")
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()


def _monitors() -> list[Monitor]:
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    monitors: list[Monitor] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    try:
        return [*monitors, GPUMonitor()]
    except Exception:  # noqa: BLE001  # its library raises its own errors where there is no GPU
        return monitors


def _sample(monitors: list[Monitor]) -> Sample:
    values: dict[str, float] = {}
    for monitor in monitors:
        monitor.collect_metrics()
        values |= monitor.aggregate_metrics()
        monitor.clear_metrics()
    return Sample(int(time.time() * 1000), {PREFIX + name: value for name, value in values.items()})
