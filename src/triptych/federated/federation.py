"""The server's view of the clients: one exchange with all of them, whatever they answer."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from jaxtyping import Float
from torch import Tensor

from triptych.errors import DataError
from triptych.federated import wire
from triptych.federated.clients import ENROL

POLL = 0.2  # seconds between looks at who is there
TOLERANCE = 1e-4  # of the clip norm: rounding of float32 is no lie


@dataclass(frozen=True)
class Tally:
    """What one exchange moved, and who took part in it."""

    asked: int
    answered: int  # with a tensor that could be used
    silent: int  # dead, failed or late
    refused: int  # of another shape or type, or not finite
    over_norm: int  # clipped by the server
    bytes_down: int
    bytes_up: int


class Federation:
    """The clients that share the server's agreement, ordered by their index."""

    def __init__(self, grid: Grid, *, clients: int, timeout: float, digest: str) -> None:
        """Wait up to `timeout` seconds for `clients` nodes, and enrol those that agree.

        Raises DataError where none does.
        """
        self.grid, self.timeout = grid, timeout
        end = time.monotonic() + timeout
        while len(nodes := list(grid.get_node_ids())) < clients and time.monotonic() < end:
            time.sleep(POLL)
        replies = self._ask(ENROL, wire.pack({}), nodes)
        found = {}
        for reply in replies:
            index = enrolled(reply, digest)
            if index is not None and 0 <= index < clients:
                found.setdefault(index, reply.metadata.src_node_id)
        if not found:
            raise DataError(
                f"none of {len(nodes)} nodes shares the server's agreement {digest[:12]}; give every client "
                "the agreement.json that was made with the server's"
            )
        self.members = [found.get(index) for index in range(clients)]  # None: not there

    def _ask(self, kind: str, content: RecordDict, nodes: Iterable[int]) -> list[Message]:
        messages = [Message(content, node, kind) for node in nodes]
        return list(self.grid.send_and_receive(messages, timeout=self.timeout))

    def exchange(  # one question: what, to whom, and what is allowed as answer
        self,
        kind: str,
        content: RecordDict,
        *,
        name: str,
        shape: tuple[int, ...],
        norm: float,
        chosen: Sequence[int] | None = None,
    ) -> tuple[Float[Tensor, "clients features"], Tally]:
        """Ask the `chosen` clients (all, where None); one row each, zero for those that gave nothing usable.

        Rows are as they were sent: the caller clips. `norm` is what an honest row stays within.
        """
        chosen = range(len(self.members)) if chosen is None else chosen
        nodes = {node: index for index in chosen if (node := self.members[index]) is not None}
        size = int(torch.tensor(shape).prod())
        rows = torch.zeros(len(chosen), size)
        places = {index: place for place, index in enumerate(chosen)}
        replies = self._ask(kind, content, nodes)
        answered, verdicts, refused, over = set(), [], 0, 0
        for reply in replies:
            index = nodes.get(reply.metadata.src_node_id)
            try:
                row = wire.believed(reply, name, shape).flatten()
            except wire.Refused as verdict:
                verdicts.append(str(verdict))
                refused += not reply.has_error()
                continue
            if index is None:
                continue
            answered.add(index)
            over += bool(row.double().norm() > norm * (1 + TOLERANCE))
            rows[places[index]] = row
        if nodes and not answered:
            raise DataError(
                f"none of {len(nodes)} clients gave a usable answer to {kind!r}; the first of "
                f"{len(verdicts)} that came: {verdicts[:1]}. Correct the clients, then run again"
            )
        down = len(nodes) * wire.content_bytes(Message(content, 1, kind))
        tally = Tally(
            asked=len(chosen),
            answered=len(answered),
            silent=len(chosen) - len(answered) - refused,
            refused=refused,
            over_norm=over,
            bytes_down=down,
            bytes_up=sum(wire.content_bytes(reply) for reply in replies),
        )
        return rows, tally


def enrolled(reply: Message, digest: str) -> int | None:
    """The index that a client with this agreement claims; None for every other answer."""
    if reply.has_error() or wire.ORDER not in reply.content.config_records:
        return None
    answer = reply.content.config_records[wire.ORDER]
    index = answer.get("index")
    return index if answer.get("digest") == digest and isinstance(index, int) else None
