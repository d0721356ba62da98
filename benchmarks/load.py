"""How the parts that grow behave at sizes far beyond a paper's: seconds and memory.

    python -m benchmarks.load [part ...]

Accounting over ten million compositions, the costs of ten million subnets, searches
in a default MLflow store with ten thousand runs, and a federation of a thousand
clients that train in Flower's simulation. Peak memory is that of the whole process
and the largest of its children.
"""

import math
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.scale import configured
from triptych.privacy.accounting import epsilon
from triptych.privacy.mechanism import Event, FullEnsemble, IndependentDraws
from triptych.tiny.tables import CostTables
from triptych.tiny.zoo import published_space
from triptych.tracking import mlflow as tracking

COMPOSITIONS = 10**7
SUBNETS = 10**7
CHUNK = 10**6  # subnets costed at once
CLIENTS = 1000
ROUNDS = 3
RECORDS = 2  # of a client


def timed(what: str, work: Callable[[], object]) -> None:
    """Run `work` once and print what it took."""
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    memory = sum(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1024
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


def federation() -> None:
    """Rounds in which every client judges the server's images with a discriminator that it trains."""
    from flwr.serverapp import Grid

    from triptych.data.prepared import Split
    from triptych.federated.engine import simulate
    from triptych.federated.folders import found_federation
    from triptych.federated.server import Row, serve
    from triptych.private.budget import calibrated

    sizes = (f"clients={CLIENTS}", f"steps={ROUNDS}", "local_steps=1", "noise_multiplier=9")
    chosen = (f"private.fed_gswgan.{size}" for size in sizes)
    size = f"data.train_size={RECORDS * CLIENTS}"
    config = configured("experiment=smoke", "private.method=fed_gswgan", size, *chosen)
    shape = (RECORDS * CLIENTS, 1, 8, 8)
    rng = np.random.default_rng(0)
    records = Split(rng.integers(0, 256, shape).astype(np.uint8), np.arange(shape[0]) % 10)
    with tempfile.TemporaryDirectory() as name:
        root, rounds = Path(name), list[Row]()

        def work() -> str:
            server = found_federation(root, config, calibrated(config.private), records, {})

            def main(grid: Grid) -> None:
                rounds.extend(serve(server, grid)[1])

            simulate(main, root / "clients", clients=CLIENTS, workers=2)
            answered = [row["answered"] for row in rounds]
            return f"{answered} answers, {sum(row['bytes_up'] for row in rounds) / 1e6:.1f} MB up"

        timed(f"{ROUNDS} rounds of {CLIENTS} clients, 2 processes", work)


def store(runs: int = 10_000) -> None:
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
        timed("counting, as after every run", lambda: tracking.count_rows(client))
        timed("the newest 100 runs", lambda: len(client.search_runs([where], max_results=100)))
        query = "metrics.epsilon < 10 and metrics.peak_sram < 320000"
        timed(query, lambda: len(client.search_runs([where], query, max_results=100)))
        best = ["metrics.epsilon ASC"]
        timed("the 100 of least epsilon", lambda: len(client.search_runs([where], "", 1, 100, best)))
        found = f"tags.`triptych.fingerprint` = '{runs // 2:064d}'"
        timed("one run by its fingerprint", lambda: len(client.search_runs([where], found)))


PARTS = {"accounting": accounting, "costs": costs, "store": store, "federation": federation}


def main(*parts: str) -> None:
    """Measure and print."""
    for part in parts or PARTS:
        PARTS[part]()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
