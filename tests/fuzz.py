"""Damaged and hostile `.tflite` files against the reader: a typed error or the right network, in time.

    python tests/fuzz.py --count 100000 [--seed 0] [--compare 20] [files]

Every case has a number and is made again from (seed, number). What the reader accepts goes
through planner and code generator; one accepted file in `--compare` is also run, and its
outputs must be LiteRT's, in a child process because LiteRT itself may abort on such files.
"""

import argparse
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from networks import example_graph, in_four_bits, inputs_of_size, moving_graph
from tqdm import tqdm

from triptych.engine.emit import emit
from triptych.engine.oracle import run_litert
from triptych.engine.reference import run
from triptych.errors import DataError, UnsupportedError
from triptych.graph.ops import Graph
from triptych.graph.tflite import read_tflite, write_tflite

SECONDS = 20  # for one case
ALLOWANCE = 1 << 30  # bytes of address space beyond those at the start
EMITTED = 1 << 16  # bytes of file up to which accepted cases are generated as C and run
WORDS = (0, 1, 2, 3, 4, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
REALS = (0.0, -1.0, 1e-40, 1e-30, 1e30, 3e38, float("inf"), float("nan"))


class OvertimeError(Exception):
    """A case that hangs."""


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """One to four damages of one kind."""
    kind = KINDS[rng.integers(len(KINDS))]
    for _ in range(rng.integers(1, 5)):
        content = kind(content, rng)
    return content


def _flip(content: bytes, rng: np.random.Generator) -> bytes:
    data = bytearray(content)
    for _ in range(rng.integers(1, 9)):
        data[rng.integers(8, len(data))] ^= 1 << rng.integers(8)
    return bytes(data)


def _overwrite(content: bytes, rng: np.random.Generator) -> bytes:
    """A word, at a multiple of four as FlatBuffers has lengths, offsets and numbers."""
    at = 4 * int(rng.integers(2, max(3, len(content) // 4)))
    word = int(rng.choice(WORDS)) if rng.random() < 0.7 else int(rng.integers(1 << 32))
    return (content[:at] + word.to_bytes(4, "little") + content[at + 4 :])[: len(content)]


def _truncate(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(8, len(content) + 1)]


def _move(content: bytes, rng: np.random.Generator) -> bytes:
    """A part of the file over another part, or between two."""
    start, at = rng.integers(8, len(content), 2)
    part = content[start : start + rng.integers(1, 64)]
    return content[:at] + part + content[at + (len(part) if rng.random() < 0.7 else 0) :]


def _repeat(content: bytes, rng: np.random.Generator) -> bytes:
    """One word many times: vectors of tables that all point to one place, or far away."""
    at, count = 4 * int(rng.integers(2, max(3, len(content) // 4))), int(rng.integers(2, 40))
    return (content[:at] + content[at : at + 4] * count + content[at + 4 * count :])[: len(content)]


def _field(content: bytes, rng: np.random.Generator) -> bytes:
    """A well-formed file that says something else: one field of one operator, tensor or buffer."""
    try:
        model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
        main = model.subgraphs[0]
        part = rng.choice([*main.operators, *main.tensors, main, *model.operatorCodes])
        part = getattr(part, "builtinOptions", None) or part if rng.random() < 0.5 else part
        part = getattr(part, "quantization", None) or part if rng.random() < 0.5 else part
        name = str(rng.choice(sorted(vars(part))))
        setattr(part, name, _other(getattr(part, name), rng))
        builder = flatbuffers.Builder(len(content))
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
    except Exception:  # noqa: BLE001  # damaged before, or a value that the packer cannot hold
        return _overwrite(content, rng)


def _other(value: Any, rng: np.random.Generator) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return int(rng.choice([value + 1, value - 1, 0, 1, 3, 255, -1, 2**31 - 1]))
    if isinstance(value, float):
        return float(rng.choice(REALS))
    if isinstance(value, np.ndarray | list) and len(value):
        changed = np.array(value)
        if rng.random() < 0.3:
            return changed[: rng.integers(len(changed))] if rng.random() < 0.5 else np.repeat(changed, 2)
        at = rng.integers(len(changed))
        changed[at] = rng.choice(REALS) if changed.dtype.kind == "f" else _other(int(changed[at]), rng)
        return changed
    return deepcopy(value)


KINDS = (_flip, _overwrite, _truncate, _move, _repeat, _field, _field)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise OvertimeError in the block after `seconds`."""

    def stop(*_: object) -> None:
        raise OvertimeError

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def outcome(content: bytes) -> tuple[str, Graph | None]:
    """What the reader and, for small files, the generator make of `content`; bugs are raised."""
    try:
        graph = read_tflite(content)
    except (DataError, UnsupportedError) as error:
        return type(error).__name__, None
    try:
        if len(content) <= EMITTED:
            emit(graph)
    except UnsupportedError:
        return "accepted, not generated", None
    return "accepted", graph


def compare(content: bytes, graph: Graph) -> str:
    """Whether reference and LiteRT agree on an accepted file, in a child that may abort."""
    child = os.fork()
    if child == 0:
        os.close(2)
        signal.alarm(SECONDS)
        try:
            images = inputs_of_size(graph, 3)
            theirs, ours = run_litert(content, images), run(graph, images)
            os._exit(0 if np.array_equal(theirs.reshape(ours.shape), ours) else 1)
        except DataError:
            os._exit(2)
        except BaseException:  # noqa: BLE001  # the child must not run the parent's code
            os._exit(3)
    _, status = os.waitpid(child, 0)
    names = {0: "equal to LiteRT", 1: "DIFFERENT", 2: "refused by LiteRT"}
    return names.get(os.waitstatus_to_exitcode(status), "LiteRT aborts")


def campaign(files: list[bytes], count: int, seed: int, every: int) -> dict[str, Any]:
    """`count` cases; returns what happened, the slowest case and the peak of memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    space = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (space + ALLOWANCE, space + ALLOWANCE))
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    slowest = 0.0
    for number in tqdm(range(count), mininterval=1, disable=count < 1000):
        rng = np.random.default_rng([seed, number])
        content = mutate(files[rng.integers(len(files))], rng)
        started = time.perf_counter()
        try:
            with time_limit(SECONDS):
                name, graph = outcome(content)
        except Exception:  # noqa: BLE001  # a bug of the reader is what the campaign looks for
            name, graph = "FAILED", None
            failures.append(f"case {number}: {traceback.format_exc()}")
        outcomes[name] += 1
        slowest = max(slowest, time.perf_counter() - started)
        if graph and len(content) <= EMITTED and outcomes[name] % every == 0:
            verdict = compare(content, graph)
            outcomes[verdict] += 1
            if verdict == "DIFFERENT":
                failures.append(f"case {number}: outputs differ from LiteRT's")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "cases": count,
        "outcomes": dict(outcomes),
        "slowest_seconds": round(slowest, 3),
        "memory_kib": {"before": before, "peak": after},
        "failures": failures,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compare", type=int, default=20)
    parser.add_argument("files", nargs="*", type=Path)
    args = parser.parse_args()
    graphs = [*map(example_graph, range(3)), moving_graph()]
    small = [write_tflite(each) for graph in graphs for each in (graph, in_four_bits(graph))]
    files = 4 * small + [path.read_bytes() for path in args.files]
    result = campaign(files, args.count, args.seed, args.compare)
    json.dump(result, sys.stdout, indent=1)
    sys.exit(bool(result["failures"]))


if __name__ == "__main__":
    main()
