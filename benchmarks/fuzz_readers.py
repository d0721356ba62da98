"""Damaged and hostile files through every reader: each is read right or refused with a typed error.

    python -m benchmarks.fuzz_readers [cases] [reader ...]

A case takes a valid file, damages it in one to eight places (bits, bytes, cuts,
copies, extreme integers, nesting) and reads it in a process whose address space
is limited. Anything but a result or a `TriptychError` ends the campaign and
leaves the file behind. The table says what was accepted and refused, the slowest
case, and how far the process grew.
"""

import csv
import json
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
import yaml
from safetensors.numpy import save
from tqdm import tqdm

from triptych.errors import TriptychError

Reader = Callable[[Path], object]
ADDRESS_SPACE = 8 << 30  # bytes; torch alone maps several GB
SECONDS = 20  # of the processor, for a case
ROOT = Path(__file__).resolve().parent.parent
EXTREMES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


Damage = Callable[[bytes, random.Random], bytes]


@dataclass
class Tally:
    """What became of the cases of one reader."""

    cases: int = 0
    accepted: int = 0
    refused: int = 0
    slowest: float = 0.0  # seconds
    reasons: set[str] = field(default_factory=set)


def damage(content: bytes, rng: random.Random, *, nest: bool = True) -> bytes:
    """`content` with one to eight faults."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        rng.choice(FAULTS if nest else FAULTS[:-1])(data, rng)
    return bytes(data)


def yaml_damage(content: bytes, rng: random.Random) -> bytes:
    """`damage` with little nesting: PyYAML takes a second to refuse thousands of levels."""
    return damage(content, rng, nest=rng.random() < 0.001)


def _flip(data: bytearray, rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _byte(data: bytearray, rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.randrange(256)


def _integer(data: bytearray, rng: random.Random) -> None:
    if len(data) >= 4:
        place = rng.randrange(len(data) - 3)
        data[place : place + 4] = struct.pack(rng.choice("<>") + "I", rng.choice(EXTREMES))


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randint(0, len(data)) :]


def _remove(data: bytearray, rng: random.Random) -> None:
    start = rng.randint(0, len(data))
    del data[start : start + rng.randint(1, 16)]


def _repeat(data: bytearray, rng: random.Random) -> None:
    start = rng.randint(0, len(data))
    piece = data[start : start + rng.randint(1, 64)]
    data[start:start] = piece * rng.randint(1, 4)


def _digits(data: bytearray, rng: random.Random) -> None:
    """Text formats: a number becomes another, huge, negative or no number."""
    places = [i for i, byte in enumerate(data) if 48 <= byte <= 57]
    if places:
        place = rng.choice(places)
        data[place : place + 1] = rng.choice([b"-1", b"0", b"1e309", b"9" * 5000, b"NaN", b'""', b"null"])


def _nest(data: bytearray, rng: random.Random) -> None:
    place = rng.randint(0, len(data))
    data[place:place] = rng.choice([b"[", b"{", b'{"a":', b"- "]) * rng.choice([1, 100, 3_000])


FAULTS = (_flip, _flip, _byte, _byte, _integer, _integer, _cut, _remove, _repeat, _digits, _nest)


def _other_value(content: bytes, rng: random.Random) -> bytes:
    """A JSON object with one or two of its leaves replaced."""
    values = json.loads(content)
    for _ in range(rng.randint(1, 2)):
        place = values
        while True:
            key = rng.choice(list(place))
            if not isinstance(place[key], dict) or not place[key]:
                break
            place = place[key]
        place[key] = deepcopy(rng.choice([place[key], *VALUES]))  # a fault inside it is of this case alone
    return json.dumps(values).encode()


def _other_line(content: bytes, rng: random.Random) -> bytes:
    """A list of overrides, as JSON, one of which is damaged."""
    lines = json.loads(content)["private"]
    place = rng.randrange(len(lines))
    lines[place] = yaml_damage(lines[place].encode(), rng).decode("latin-1")
    return json.dumps({"private": lines}).encode()


VALUES = [
    None,
    True,
    0,
    1,
    -1,
    2,
    7,
    10**9,
    -(10**30),
    0.5,
    1e-300,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
]
VALUES += ["0", "???", "${seed}", [], [0], [3, 5], ["a"], {}, {"a": 1}]


@dataclass(frozen=True)
class Target:
    """A reader, what it reads, and how that is damaged."""

    seeds: list[bytes]
    read: Reader
    damage: Damage = damage
    name: str = "case"  # of the file


def idx() -> Target:
    """The unpacked bytes of MNIST's format."""
    from triptych.data.idx import parse_idx

    images = b"\0\0\x08\x03" + struct.pack(">3I", 2, 8, 8) + bytes(128)
    labels = b"\0\0\x08\x01" + struct.pack(">I", 5) + bytes(range(5))
    return Target([images, labels], lambda path: parse_idx(path.read_bytes(), name=path.name))


def idx_gz() -> Target:
    """The same, packed."""
    import gzip

    from triptych.data.idx import read_idx

    return Target([gzip.compress(content, mtime=0) for content in idx().seeds], read_idx)


def prepared() -> Target:
    """A split of the prepared-data layout (safetensors)."""
    from triptych.data.prepared import read_split

    images, labels = np.zeros((4, 1, 8, 8), np.uint8), np.arange(4)
    content = save({"images": images, "labels": labels})
    return Target([content], lambda path: read_split(path.parent, path.stem), name="case.safetensors")


def weights() -> Target:
    """A network's weights (safetensors)."""
    from torch import nn

    from triptych.data.weights import load_weights

    network = nn.Linear(3, 2)
    content = save({name: value.numpy() for name, value in network.state_dict().items()})
    return Target([content], lambda path: load_weights(path, network))


def arch() -> Target:
    """A subnet's choices (JSON)."""
    from triptych.data.files import read_json
    from triptych.tiny.arch import ArchConfig, Block

    subnet = ArchConfig(0.5, 32, ((Block(3, 4), Block(5, 6)), (Block(7, 3),)))
    return Target([json.dumps(subnet.to_json()).encode()], lambda path: ArchConfig.from_json(read_json(path)))


def published() -> Target:
    """An architecture file as MCUNet's authors publish them (JSON)."""
    from triptych.data.files import read_json
    from triptych.tiny.topology import topology
    from triptych.tiny.zoo import published as import_published
    from triptych.tiny.zoo import published_space

    space = published_space(0.2, 48, 10, mobilenetv2=False)
    units = [unit.layers for unit in topology(space, space.smallest()) if len(unit.layers) == 3]
    first = {"in_channels": 8, "out_channels": 8, "kernel_size": 3, "stride": 1, "expand_ratio": 1}
    shapes = [
        {**first, "in_channels": expand.inputs, "out_channels": project.outputs, "stride": depthwise.stride}
        for expand, depthwise, project in units
    ]
    value = {
        "blocks": [
            {"mobile_inverted_conv": conv} for conv in [first, *({**s, "expand_ratio": 3} for s in shapes)]
        ],
        "feature_mix_layer": None,
        "classifier": {"out_features": 10},
        "resolution": 48,
    }
    return Target([json.dumps(value).encode()], lambda path: import_published(read_json(path)))


def ledger() -> Target:
    """The record of releases (JSON lines)."""
    from triptych.privacy.ledger import Ledger, read_ledger

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.jsonl"
        with Ledger(path, {"noise_multiplier": 2.0}) as book:
            for step in range(3):
                book.record(step)
        content = path.read_bytes()
    return Target([content], read_ledger)


def overrides() -> Target:
    """The file that a user edits (YAML)."""
    from pipelines.compose import read_overrides

    text = b"all: [experiment=digits]\nprivate: ['private.steps=40', seed=1]\nrobust: []\ntiny:\n- seed=2\n"
    return Target([text], lambda path: read_overrides(path, "private"), yaml_damage)


def hydra_overrides() -> Target:
    """The same file, and what Hydra's grammar and configuration make of its lines.

    As `pipelines.compose` does it, but for the choice of groups: that reads `conf/`
    anew for every case, which takes a hundred times as long.
    """
    from hydra import compose, initialize_config_dir
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import DictConfig, OmegaConf

    from pipelines.compose import hydra_refuses, read_overrides
    from triptych.config import load

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        whole = compose("config")
    part = OmegaConf.masked_copy(whole, ["trainer", "tracking", "data", "seed", "out", "inputs"])
    OmegaConf.set_struct(part, True)
    parser = OverridesParser.create()

    def read(path: Path) -> object:
        lines = read_overrides(path, "private")
        composed = deepcopy(part)
        assert isinstance(composed, DictConfig)
        with hydra_refuses():
            ConfigLoaderImpl._apply_overrides_to_config(parser.parse_overrides(lines), composed)
        return load(composed)

    lines = ["seed=1", "trainer.threads=1", "data.classes=10", "out=x", "++tracking.uri=null"]
    lines += ["data={test_size: 300}", "inputs='a b'", "data.split_seed=${seed}", "++data.test_size=99"]
    files = [json.dumps({"private": [first, second]}) for first in lines for second in lines]
    return Target([file.encode() for file in files], read, _other_line)


def npz() -> Target:
    """Arrays of a data set (NumPy archive), packed and not."""
    from triptych.data.arrays import read_npz

    files = []
    for write in (np.savez, np.savez_compressed):
        buffer = BytesIO()
        write(buffer, x=np.zeros((4, 8, 8), np.uint8), y=np.arange(4))
        files.append(buffer.getvalue())
    return Target(files, lambda path: read_npz(path, "x", "y"))


def npy() -> Target:
    """Inputs for `triptych-engine` (NumPy)."""
    from tests.networks import example_graph
    from triptych.deploy.generate import read_images

    graph = example_graph()
    shape, files = graph[graph.input].shape[1:], []
    for kind in (np.int8, np.float32):
        buffer = BytesIO()
        np.save(buffer, np.zeros((3, *shape), kind))
        files.append(buffer.getvalue())
    return Target(files, lambda path: read_images(path, graph))


def picture() -> Target:
    """Pictures of a folder (JPEG, PNG, PPM, BMP, WebP)."""
    from PIL import Image

    from triptych.data.pictures import decode

    pixels, files = np.random.default_rng(0).integers(0, 256, (20, 24, 3)).astype(np.uint8), []
    for form in ("JPEG", "PNG", "PPM", "BMP", "WEBP"):
        buffer = BytesIO()
        Image.fromarray(pixels).save(buffer, form)
        files.append(buffer.getvalue())
    return Target(files, lambda path: decode(path, 8, "RGB"))


def leaf() -> Target:
    """Users and their images in LEAF's form (JSON)."""
    from triptych.data.leaf import read_leaf

    data = {name: {"x": [[0.5] * 784], "y": [label]} for label, name in enumerate(("f1", "f2"))}
    value = {"users": [*data], "num_samples": [1, 1], "user_data": data}
    return Target([json.dumps(value).encode()], lambda path: read_leaf(path.parent), name="case.json")


def usps() -> Target:
    """Digits as lines of numbers (USPS)."""
    from triptych.data.usps import parse

    line = " ".join(["5.0", *["-1.000"] * 255, "0.25"])
    return Target([f"{line}\n{line}\n".encode()], lambda path: parse(path.read_bytes(), path.name))


def attributes() -> Target:
    """CelebA's list of attributes (text)."""
    from triptych.data.celeba import read_attributes

    text = b"2\nBlond_Hair Male Smiling\n000001.jpg 1 -1 1\n000002.jpg -1 1 1\n"
    return Target([text], lambda path: read_attributes(path.parent), name="list_attr_celeba.txt")


def board() -> Target:
    """A board of one's own (YAML)."""
    from triptych.deploy.boards import find_board

    text = (ROOT / "conf/board/stm32f746.yaml").read_bytes()
    return Target([text], lambda path: find_board(str(path)), yaml_damage, name="case.yaml")


def config() -> Target:
    """A panel's resolved values, from plain mappings to the checked dataclasses."""
    from triptych.config import load
    from triptych.data.files import read_json
    from triptych.errors import ConfigError

    def read(path: Path) -> object:
        values = read_json(path)
        if not isinstance(values, dict):
            raise ConfigError("Hydra hands over mappings only")
        return load(values)

    panels = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "params").glob("*.yaml"))]
    return Target([json.dumps(panel).encode() for panel in panels], read, _other_value)


READERS: dict[str, Callable[[], Target]] = {
    "idx": idx,
    "idx_gz": idx_gz,
    "prepared": prepared,
    "weights": weights,
    "arch": arch,
    "published": published,
    "ledger": ledger,
    "overrides": overrides,
    "hydra_overrides": hydra_overrides,
    "npz": npz,
    "npy": npy,
    "picture": picture,
    "leaf": leaf,
    "usps": usps,
    "attributes": attributes,
    "board": board,
    "config": config,
}


def campaign(name: str, cases: int, *, seed: int = 0, keep: Path = Path()) -> Tally:
    """Read `cases` damaged files; raises what a reader must not raise, after writing the file to `keep`."""
    target = READERS[name]()
    rng = random.Random(f"{name} {seed}")  # repeatable faults, not secrets
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / target.name
        for number in tqdm(range(cases), desc=name, mininterval=1, disable=cases < 1000):
            content = target.damage(rng.choice(target.seeds), rng)
            path.write_bytes(content)
            try:
                _case(target.read, path, tally)
            except BaseException:
                (keep / f"fault-{name}-{seed}-{number}").write_bytes(content)
                raise
    return tally


def _case(read: Reader, path: Path, tally: Tally) -> None:
    start = time.perf_counter()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # a case that hangs ends the campaign by SIGPROF
    try:
        read(path)
    except TriptychError as error:
        tally.refused += 1
        tally.reasons.add(type(error).__name__)
    else:
        tally.accepted += 1
    signal.setitimer(signal.ITIMER_PROF, 0)
    tally.cases += 1
    tally.slowest = max(tally.slowest, time.perf_counter() - start)


def main(cases: int = 100_000, *names: str) -> None:
    """Run the campaigns, one after the other, and print a row each."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["reader", "cases", "accepted", "refused", "slowest_ms", "grown_mb", "peak_mb"])
    for name in names or READERS:
        READERS[name]()  # its imports are not its memory
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        tally = campaign(name, cases)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sizes = [f"{tally.slowest * 1e3:.0f}", f"{(peak - before) / 1024:.0f}", f"{peak / 1024:.0f}"]
        table.writerow([name, tally.cases, tally.accepted, tally.refused, *sizes])
        sys.stdout.flush()


if __name__ == "__main__":
    main(*(int(argument) if argument.isdigit() else argument for argument in sys.argv[1:]))  # pyright: ignore[reportArgumentType]
