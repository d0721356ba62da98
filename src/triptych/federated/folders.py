"""Deal a prepared data set to clients, and write the folders of all parties."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from triptych.config import Config
from triptych.config.private import PrivateConfig
from triptych.data.partition import partition
from triptych.data.prepared import Split
from triptych.errors import DataError
from triptych.federated.agreement import SERVER, Party, settle
from triptych.federated.clients import client_folder


def deal(size: int, card: Mapping[str, Any], clients: int, *, seed: int) -> list[Int64[np.ndarray, " n"]]:
    """Which records are whose: the card's clients, whose records follow each other, or equal random parts.

    Raises DataError where the card speaks of other clients or records.
    """
    sizes = card.get("client_sizes")
    if sizes is None:
        return list(partition(size, clients, seed=seed))
    if len(sizes) != clients or sum(sizes) != size or min(sizes) < 1:
        raise DataError(
            f"the card has client_sizes of {len(sizes)} clients and {sum(sizes)} records, expected {clients} "
            f"clients, each with records, and {size}; run the stage prepare again"
        )
    return np.split(np.arange(size), np.cumsum(sizes)[:-1])


def found_federation(
    root: Path, config: Config, private: PrivateConfig, train: Split, card: Mapping[str, Any]
) -> Party:
    """The server's party in `root`; its folder and those of all clients below `root/clients`.

    Folders that an earlier attempt left keep their state. `private` is calibrated.
    """
    own = getattr(private, private.method)
    server = Party(root, SERVER, private, config.data, config.seed)
    if (server.folder / "agreement.json").exists():
        return server
    for index, records in enumerate(deal(len(train), card, own.clients, seed=config.seed)):
        folder = client_folder(root / "clients", index)
        settle(Party(folder, index, private, config.data, config.seed), train.take(records))
    settle(server)  # last: the folders are complete
    return server
