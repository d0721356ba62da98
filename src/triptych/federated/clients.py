"""The client as a Flower app: the same in simulation and on a SuperNode."""

from pathlib import Path

import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from triptych.federated import wire
from triptych.federated.agreement import Party, read_party
from triptych.federated.judge import Judge
from triptych.federated.updates import local_update

ENROL, JUDGE, UPDATE = "query.enrol", "train.judge", "train.update"


def client_folder(root: Path, index: int) -> Path:
    """Where a simulated client lives."""
    return root / f"{index:05d}"


def make_client_app(root: Path | None) -> ClientApp:
    """The app. A SuperNode names its folder by `--node-config`; a simulated client has one below `root`."""
    app = ClientApp()

    def party(context: Context) -> Party:
        torch.set_num_threads(1)
        if root is None:
            return read_party(Path(str(context.node_config["folder"])))
        return read_party(client_folder(root, int(context.node_config["partition-id"])))

    @app.query("enrol")
    def enrol(message: Message, context: Context) -> Message:
        me = party(context)
        return Message(wire.pack({}, index=me.index, digest=me.digest), reply_to=message)

    @app.train("judge")
    def judge(message: Message, context: Context) -> Message:
        rows, labels = (wire.tensor(message.content, name) for name in ("rows", "labels"))
        step = wire.order(message.content, "step")
        block = Judge(party(context)).answer(rows, labels.long(), step=step)
        return Message(wire.pack({"block": block}), reply_to=message)

    @app.train("update")
    def update(message: Message, context: Context) -> Message:
        networks = [wire.tensor(message.content, name) for name in ("generator", "discriminator")]
        change = local_update(party(context), *networks, step=wire.order(message.content, "step"))
        return Message(wire.pack({"change": change}), reply_to=message)

    return app
