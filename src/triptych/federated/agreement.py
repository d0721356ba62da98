"""The folder of one party: what it agreed to, and what is its own.

<folder>/agreement.json      settings: clip norm, noise, networks; a client takes them from here, never
                             from a message, so a server that asks for less noise does not get it
<folder>/train.safetensors   a client's records; they never leave
<folder>/state.pt            what it keeps between rounds
<folder>/ledger.jsonl        what it has released: the server's, or a client's where it adds the noise
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from triptych.config import Config, load
from triptych.config.data import DataConfig
from triptych.config.private import PrivateConfig
from triptych.data.files import read_json, write_json
from triptych.data.prepared import Split, read_split, write_prepared
from triptych.data.resume import derived_seed
from triptych.errors import DataError

SERVER = -1
FIRST = 3  # seeds below belong to the server


@dataclass(frozen=True)
class Party:
    """The server, or one client."""

    folder: Path
    index: int  # of a client, from 0; orders the sum and separates their random numbers
    private: PrivateConfig  # calibrated
    data: DataConfig
    seed: int

    @property
    def own(self) -> Any:  # noqa: ANN401  # FedGSWGANConfig or FedAvgGANConfig
        """The settings of the chosen method."""
        return getattr(self.private, self.private.method)

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that all parties must agree on, as JSON."""
        return {"private": asdict(self.private), "data": asdict(self.data), "seed": self.seed}

    def random(self, step: int | None = None) -> int:
        """A seed of this client's own, for round `step` or for the start."""
        return derived_seed(self.seed, FIRST + self.index, 0 if step is None else 1 + step)

    @property
    def digest(self) -> str:
        """SHA-256 of the settings: parties with different ones do not train together."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()

    def records(self) -> Split:
        """A client's own records."""
        return read_split(self.folder, "train")


def settle(party: Party, records: Split | None = None) -> None:
    """Write the folder of `party`; a client's `records` too."""
    if records is not None:
        card = {"name": party.data.name, "classes": party.data.classes, "client": party.index}
        write_prepared(party.folder, {"train": records}, classes=party.data.classes, card=card)
    write_json(party.folder / "agreement.json", {"index": party.index, **party.settings})


@lru_cache(maxsize=4)
def _checked(settings: str) -> Config:
    """The settings as `conf/` would give them; parsed once a process, as all clients share them."""
    return load(json.loads(settings))


def read_party(folder: Path) -> Party:
    """The party whose folder this is. Raises DataError, or ConfigError for impossible settings."""
    path = folder / "agreement.json"
    content = read_json(path)
    try:
        index = int(content.pop("index"))
        config = _checked(json.dumps(content, sort_keys=True))
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no agreement ({error}); write it again with its records") from error
    return Party(folder, index, config.private, config.data, config.seed)
