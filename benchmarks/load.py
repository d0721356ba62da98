"""How the parts that grow behave at sizes far beyond a paper's: seconds and memory.

    python -m benchmarks.load [runs]

Accounting over ten million compositions, the costs of ten million subnets, and
searches in a default MLflow store with ten thousand runs (by default).
"""

import math
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from tqdm import tqdm

from triptych.privacy.accounting import epsilon
from triptych.privacy.mechanism import Event, FullEnsemble, IndependentDraws
from triptych.tiny.tables import CostTables
from triptych.tiny.zoo import published_space
from triptych.tracking import mlflow as tracking

COMPOSITIONS = 10**7
SUBNETS = 10**7
CHUNK = 10**6  # subnets costed at once


def timed(what: str, work: Callable[[], object]) -> None:
    """Run `work` once and print what it took."""
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(f"{what:58} {seconds:8.2f} s   peak {memory:6.0f} MB   {result}\n")
    sys.stdout.flush()


def accounting() -> None:
    """Epsilon of ten million releases by each accountant that has a theorem for them."""
    full = FullEnsemble(noise_multiplier=math.sqrt(COMPOSITIONS) / 2, steps=COMPOSITIONS)
    rows = IndependentDraws(noise_multiplier=8.0, steps=COMPOSITIONS // 32, discriminators=1000, rows=32)
    events: list[Event] = [full, rows]
    for event in events:
        for name in event.accountants:
            what = f"epsilon of {event.release.count:.0e} releases, {type(event).__name__}, {name}"
            timed(what, lambda event=event, name=name: f"{epsilon(event, 1e-5, accountant=name):.3f}")


def costs() -> None:
    """MACs, Flash and SRAM bounds of ten million random subnets."""
    space = published_space(0.5, 176, 1000, mobilenetv2=False)
    tables, rng = CostTables(space), np.random.default_rng(0)

    def work() -> str:
        smallest = min(
            int(tables.costs(tables.random(CHUNK, rng)).macs.min()) for _ in range(SUBNETS // CHUNK)
        )
        return f"fewest MACs {smallest:,}"

    timed(f"costs of {SUBNETS:.0e} subnets, drawn and evaluated", work)


def store(runs: int) -> None:
    """A sweep's store: filling it, listing it, searching it as the dashboard does."""
    from mlflow.entities import Metric, Param

    with tempfile.TemporaryDirectory() as folder:
        client = tracking.connect(f"sqlite:///{folder}/mlflow.db")
        where = tracking.experiment_id(client, "load")
        rng = np.random.default_rng(0)

        def fill() -> str:
            for number in tqdm(range(runs), desc="runs", mininterval=1):
                tags = {"triptych.fingerprint": f"{number:064d}", "triptych.stage": "private_train"}
                run = client.create_run(where, tags=tags).info.run_id
                values = {"epsilon": rng.uniform(0, 20), "peak_sram": rng.uniform(1e4, 5e5)}
                metrics = [Metric(name, value, 0, 0) for name, value in values.items()]
                client.log_batch(run, metrics, [Param("private.noise_multiplier", str(number))])
            return f"{runs} runs"

        timed("filling the store", fill)
        timed("the newest 100 runs", lambda: len(client.search_runs([where], max_results=100)))
        query = "metrics.epsilon < 10 and metrics.peak_sram < 320000"
        timed(query, lambda: len(client.search_runs([where], query, max_results=100)))
        best = ["metrics.epsilon ASC"]
        timed("the 100 of least epsilon", lambda: len(client.search_runs([where], "", 1, 100, best)))
        found = f"tags.`triptych.fingerprint` = '{runs // 2:064d}'"
        timed("one run by its fingerprint", lambda: len(client.search_runs([where], found)))


def main(runs: int = 10_000) -> None:
    """Measure and print."""
    accounting()
    costs()
    store(runs)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(*map(int, sys.argv[1:]))
