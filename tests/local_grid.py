"""Flower's Grid without its engine: every message is answered in this process, by the real client app."""

from collections.abc import Callable, Iterable
from uuid import uuid4

from flwr.app import Context, Message, RecordDict
from flwr.app.error import Error
from flwr.app.user_config import UserConfig
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

Mischief = Callable[[Message], Message | None]  # what a client sends instead of its honest reply


class LocalGrid(Grid):
    """`clients` nodes; `mischief` maps a client's index to what it does with its replies."""

    def __init__(self, app: ClientApp, clients: int, mischief: dict[int, Mischief] | None = None) -> None:
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
        self.app, self.mischief = app, mischief or {}
        self.contexts = {
            100 + index: Context(
                run_id=1,
                node_id=100 + index,
                node_config=UserConfig({"partition-id": index, "num-partitions": clients}),
                state=RecordDict(),
                run_config=UserConfig(),
            )
            for index in range(clients)
        }
        self.sent: list[Message] = []

    @property
    def run(self) -> Run:
        return Run.create_empty(run_id=1)

    def set_run(self, run: Run) -> None: ...

    def create_message(self, *args: object, **kwargs: object) -> Message:
        raise AssertionError("the server uses send_and_receive alone")

    def get_node_ids(self) -> Iterable[int]:
        return list(self.contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        raise AssertionError("the server uses send_and_receive alone")

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        raise AssertionError("the server uses send_and_receive alone")

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        for message in messages:
            message.metadata.__dict__["_message_id"] = str(uuid4())
            self.sent.append(message)
            node = message.metadata.dst_node_id
            try:
                reply = self.app(message, self.contexts[node])
            except Exception as error:  # noqa: BLE001  # as the engine does
                reply = Message(Error(code=1, reason=str(error)), reply_to=message)
            act = self.mischief.get(node - 100)
            if act and message.metadata.message_type != "query.enrol":
                reply = act(reply)
            if reply is not None:
                yield reply
