"""Rounds with clients that are honest, dead or lying; what is released, paid for and sent."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import Message, RecordDict
from flwr.app.error import Error
from flwr.common.serde import recorddict_to_proto
from hydra import compose, initialize_config_dir
from local_grid import LocalGrid, Mischief
from torch.nn.utils import parameters_to_vector

from triptych.config import Config, load
from triptych.config.data import DataConfig
from triptych.config.federated import FedAvgGANConfig, FedGSWGANConfig
from triptych.config.private import DiscriminatorConfig, GeneratorConfig, PrivateConfig
from triptych.data.prepared import Split
from triptych.errors import ConfigError, DataError
from triptych.federated import wire
from triptych.federated.agreement import Party, read_party
from triptych.federated.clients import JUDGE, client_folder, make_client_app
from triptych.federated.federation import Federation
from triptych.federated.folders import deal, found_federation
from triptych.federated.judge import Judge
from triptych.federated.server import FedAvgGANServer, GSWGANServer, serve
from triptych.federated.traffic import summarise
from triptych.federated.updates import local_update
from triptych.privacy.accounting import epsilon
from triptych.privacy.ledger import read_ledger
from triptych.privacy.mechanism import ClientGradients, ClientUpdates, FullEnsemble, describe
from triptych.private.budget import client_norm, terms

CLIENTS = 4
DATA = DataConfig("digits", image_size=4, classes=3, train_size=24, test_size=3)
with initialize_config_dir(str(Path(__file__).parents[2] / "conf"), version_base="1.3"):
    SMOKE = load(compose("config", overrides=["experiment=smoke"])).private
PRIVATE = replace(
    SMOKE,
    method="fed_gswgan",
    generator=GeneratorConfig(kind="mlp", width=8, learning_rate=1e-2, average=0.5),
    discriminator=DiscriminatorConfig(kind="mlp", width=4, batch_size=4, learning_rate=1e-2),
    fed_gswgan=FedGSWGANConfig(
        clients=CLIENTS, steps=3, local_steps=2, timeout=0.1, noise_at="server", noise_multiplier=2.0
    ),
    fed_avg_gan=FedAvgGANConfig(
        clients=CLIENTS,
        steps=3,
        local_steps=2,
        timeout=0.1,
        sample_rate=0.5,
        clip_norm=0.2,
        server_rate=1.0,
        generator_steps=1,
        noise_multiplier=2.0,
    ),
    rows=5,
    clip_norm=1.0,
    epsilon_budget=100.0,
)


def federation(
    root: Path, private: PrivateConfig = PRIVATE, *, seed: int = 0, mirrored: bool = False
) -> Party:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (24, 1, 4, 4), dtype=np.uint8)
    if mirrored:  # every block of 2 x 2 pixels within itself: its mean stays
        blocks = images.reshape(24, 1, 2, 2, 2, 2)
        images = np.ascontiguousarray(blocks[:, :, :, ::-1, :, ::-1]).reshape(images.shape)
    train = Split(images, np.arange(24, dtype=np.int64) % 3)
    return found_federation(root, Config(data=DATA, private=private), private, train, {})


def grid(party: Party, mischief: dict[int, Mischief] | None = None) -> LocalGrid:
    return LocalGrid(make_client_app(party.folder / "clients"), CLIENTS, mischief)


def enrolled(party: Party, mischief: dict[int, Mischief] | None = None) -> Federation:
    return Federation(grid(party, mischief), clients=CLIENTS, timeout=0.1, digest=party.digest)


def with_own(**changes: object) -> PrivateConfig:
    own = replace(PRIVATE.fed_gswgan, **changes)  # pyright: ignore[reportArgumentType]  # named by the tests
    return replace(PRIVATE, fed_gswgan=own)


def checked(private: PrivateConfig) -> None:
    private.check()
    private.check_data(DATA)


def answers(value: torch.Tensor) -> Mischief:
    return lambda reply: replaced(reply, wire.pack({"block": value}))


def replaced(reply: Message, content: RecordDict) -> Message:
    reply.content = content
    return reply


def _failed(reply: Message) -> Message:
    message = Message.__new__(Message)
    message.__dict__.update(reply.__dict__)
    message.__dict__["_content"], message.__dict__["_error"] = None, Error(code=1, reason="power cut")
    return message


SHAPE = (5, 1, 4, 4)
HUGE = torch.full(SHAPE, 1e30)
LIES: dict[str, tuple[Mischief, str]] = {
    "dies": (lambda reply: None, "silent"),
    "fails": (_failed, "silent"),
    "nan": (answers(torch.full(SHAPE, math.nan)), "refused"),
    "infinite": (answers(torch.full(SHAPE, math.inf)), "refused"),
    "shape": (answers(torch.zeros(5, 1, 4, 5)), "refused"),
    "double": (answers(torch.zeros(SHAPE, dtype=torch.float64)), "refused"),
    "empty": (lambda reply: replaced(reply, RecordDict()), "refused"),
    "huge": (answers(HUGE), "over_norm"),
}


def total(root: Path, mischief: dict[int, Mischief] | None = None) -> tuple[torch.Tensor, dict[str, int]]:
    """The released sum of one round with the same fakes and (seeded) noise, and the tally."""
    party = federation(root)
    server = GSWGANServer(party)
    torch.manual_seed(0)
    fake, labels = server.fakes(5)
    content = wire.pack({"rows": fake.detach(), "labels": labels.short()}, step=0)
    rows, tally = enrolled(party, mischief).exchange(
        JUDGE, content, name="block", shape=SHAPE, norm=server.norm
    )
    return server.total(rows, 0), vars(tally)


@pytest.mark.parametrize("lie", LIES)
def test_one_client_moves_the_release_by_its_clip_norm_at_most(tmp_path: Path, lie: str):
    """Without the server's own checks one client could steer, or stop, everybody's generator."""
    act, counted = LIES[lie]
    without, _ = total(tmp_path / "a", {1: lambda reply: None})
    ours, tally = total(tmp_path / "b", {1: act})
    assert (ours - without).norm() <= client_norm(PRIVATE) * (1 + 1e-4)
    assert tally[counted] == 1
    assert tally["answered"] == (CLIENTS if counted == "over_norm" else CLIENTS - 1)


def test_replacing_a_client_moves_the_sum_by_the_sensitivity_at_most(tmp_path: Path):
    """The premise of the theorem, at its worst: the client's block turns round."""
    ahead, _ = total(tmp_path / "a", {2: answers(HUGE)})
    back, _ = total(tmp_path / "b", {2: answers(-HUGE)})
    assert (ahead - back).norm() == pytest.approx(terms(PRIVATE).sensitivity, rel=1e-4)


def test_round_without_any_answer_stops_the_training(tmp_path: Path):
    """Noise alone would be paid for, round after round."""
    party = federation(tmp_path)
    dead: dict[int, Mischief] = dict.fromkeys(range(CLIENTS), lambda reply: None)
    with pytest.raises(DataError, match=r"none of 4 clients gave a usable answer to 'train\.judge'"):
        serve(party, grid(party, dead))


def test_client_with_another_agreement_is_not_enrolled(tmp_path: Path):
    """A client keeps its own clip norm and noise, so it must not train under the server's."""
    party = federation(tmp_path)
    other = replace(read_party(tmp_path / "clients/00000"), private=with_own(local_steps=9))
    assert other.digest != party.digest
    with pytest.raises(DataError, match="none of 4 nodes shares the server's agreement"):
        Federation(grid(party), clients=CLIENTS, timeout=0.1, digest=other.digest)


class Killed(Exception):  # noqa: N818  # as KeyboardInterrupt, and no error of ours
    pass


class KilledGrid(LocalGrid):
    """The server dies after the clients of round 1 have trained, before it sees an answer."""

    def send_and_receive(self, messages, *, timeout=None):
        replies = list(super().send_and_receive(messages, timeout=timeout))
        if sum(message.metadata.message_type == JUDGE for message in self.sent) > CLIENTS:
            raise Killed
        return replies


@pytest.mark.parametrize("method", ["fed_gswgan", "fed_avg_gan"])
def test_training_is_paid_and_sent_as_planned(tmp_path: Path, method: str):
    """What the certificate counts is what the clients were asked for."""
    party = federation(tmp_path, replace(PRIVATE, method=method))
    ours = grid(party)
    _, rounds = serve(party, ours)
    asked = [message for message in ours.sent if message.metadata.message_type != "query.enrol"]
    assert len(read_ledger(tmp_path / "ledger.jsonl")) - 1 == len(rounds) == 3
    assert sum(row["asked"] for row in rounds) == len(asked)
    assert sum(row["answered"] for row in rounds) == len(asked)
    totals = summarise(rounds, party)
    assert totals["bytes_per_client_round"] * len(asked) == totals["bytes_down"] + totals["bytes_up"]


def test_an_update_is_what_training_changed(tmp_path: Path):
    """Weights that share memory with what they are compared to have changed by nothing."""
    party = federation(tmp_path, replace(PRIVATE, method="fed_avg_gan"))
    server = FedAvgGANServer(party)
    networks = [
        parameters_to_vector(n.parameters()).detach() for n in (server.generator, server.discriminator)
    ]
    sent = networks[1].clone()
    change = local_update(read_party(client_folder(tmp_path / "clients", 0)), *networks, step=0)
    assert torch.equal(networks[1], sent)
    rate, norm = PRIVATE.discriminator.learning_rate, PRIVATE.fed_avg_gan.clip_norm
    assert rate <= change.norm() <= norm * (1 + 1e-6)
    assert (change != 0).sum() > len(change) / 4
    assert change.abs().max() <= 4 * rate  # two steps of Adam


@pytest.mark.parametrize("method", ["fed_gswgan", "fed_avg_gan"])
@pytest.mark.parametrize("pool", [1, 2])
def test_clients_see_means_of_pixels(tmp_path: Path, method: str, pool: int):
    """Fewer values in an answer, less noise; a client that compared pixels with means would learn nothing."""
    private = replace(
        PRIVATE,
        method=method,
        discriminator=replace(PRIVATE.discriminator, pool=pool),
        fed_avg_gan=replace(PRIVATE.fed_avg_gan, sample_rate=1.0, noise_multiplier=0.5),  # else all is noise
    )
    generators = []
    for mirrored in (False, True):
        party = federation(tmp_path / str(mirrored), private, mirrored=mirrored)
        ours = grid(party)
        released, rounds = serve(party, ours)
        generators.append(torch.cat([value.flatten() for value in released.body.parameters()]))
        assert sum(row["refused"] for row in rounds) == 0
        sent = [wire.tensor(m.content, "rows") for m in ours.sent if m.metadata.message_type == JUDGE]
        assert {tuple(rows.shape[2:]) for rows in sent} <= {(4 // pool, 4 // pool)}
    assert torch.allclose(*generators, atol=1e-5) == (pool == 2)


def test_killed_server_pays_twice_and_ends_in_the_same_generator(tmp_path: Path):
    """The ledger must not understate; seeded, the replayed round is the same round."""
    straight, killed = federation(tmp_path / "a"), federation(tmp_path / "b")
    expected, _ = serve(straight, grid(straight))
    with pytest.raises(Killed):
        serve(killed, KilledGrid(make_client_app(killed.folder / "clients"), CLIENTS))
    released, rounds = serve(killed, grid(killed))
    assert len(rounds) == 3
    assert len(read_ledger(killed.folder / "ledger.jsonl")) - 1 == 4
    for name, value in released.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name]), name


def test_training_stops_where_the_budget_ends(tmp_path: Path):
    """Replayed rounds are paid from the same budget."""
    tight = replace(PRIVATE, epsilon_budget=epsilon(terms(PRIVATE).event, 1e-5, accountant="gdp") + 1e-6)
    killed = federation(tmp_path, tight)
    with pytest.raises(Killed):
        serve(killed, KilledGrid(make_client_app(killed.folder / "clients"), CLIENTS))
    _, rounds = serve(killed, grid(killed))
    assert len(rounds) == 2
    assert len(read_ledger(tmp_path / "ledger.jsonl")) - 1 == 3


def test_noise_of_the_client_has_the_promised_size_and_is_paid_by_it(tmp_path: Path):
    """The server is not trusted: what leaves the client must be private by itself."""
    noisy, plain = with_own(noise_at="client"), with_own(noise_at="server")
    client = read_party(federation(tmp_path / "a", noisy).folder / "clients/00002")
    same = read_party(federation(tmp_path / "b", plain).folder / "clients/00002")
    torch.manual_seed(0)
    rows, labels = torch.rand(SHAPE), torch.arange(5) % 3
    noise = torch.cat(
        [
            (Judge(client).answer(rows, labels, step=t) - Judge(same).answer(rows, labels, step=t)).flatten()
            for t in range(40)
        ]
    )
    assert noise.std() == pytest.approx(2.0 * terms(noisy).sensitivity, rel=0.05)
    assert len(read_ledger(client.folder / "ledger.jsonl")) - 1 == 40
    assert not (same.folder / "ledger.jsonl").exists()


def test_honest_noise_is_within_the_server_s_bound(tmp_path: Path):
    """A bound that clips honest clients would bias them; one that is far too large bounds nothing."""
    party = federation(tmp_path, with_own(noise_at="client"))
    _, rounds = serve(party, grid(party))
    assert sum(row["over_norm"] for row in rounds) == 0
    bound = GSWGANServer(party).honest_norm(80)
    assert bound < 3 * 2.0 * terms(party.private).sensitivity * math.sqrt(80)


def test_bytes_are_those_of_flower_s_own_messages(tmp_path: Path):
    """Communication is a result of the paper: it is counted, not computed from shapes."""
    party = federation(tmp_path)
    ours = grid(party)
    _, rounds = serve(party, ours)
    judged = [m for m in ours.sent if m.metadata.message_type == JUDGE]
    whole = sum(recorddict_to_proto(message.content).ByteSize() for message in judged)
    down = sum(row["bytes_down"] for row in rounds)
    payload = len(judged) * (4 * math.prod(SHAPE) + 2 * 5)
    assert payload < whole
    assert whole == pytest.approx(down, abs=1000 * len(judged))
    assert down >= payload
    assert rounds[0]["bytes_up"] >= CLIENTS * 4 * math.prod(SHAPE)


def test_epsilon_is_that_of_the_same_mechanism_for_records():
    """Only the meaning of adjacency differs from the full ensemble; Fed Avg with all clients is it too."""
    event, sampled = ClientGradients(10.0, 400, "server"), ClientUpdates(10.0, 400, 0.1)
    records = epsilon(FullEnsemble(10.0, 400), 1e-5, accountant="gdp")
    assert epsilon(event, 1e-5, accountant="gdp") == records
    everybody = ClientUpdates(10.0, 400, 1.0)
    assert epsilon(everybody, 1e-5, accountant="pld") == pytest.approx(records, rel=1e-3)
    assert epsilon(sampled, 1e-5, accountant="pld") < records / 5
    assert describe(event)["adjacency"] == "replace-one client, with all its records"


def test_records_are_dealt_once_each():
    """A record with two clients would not be covered by the epsilon of one."""
    parts = deal(24, {}, CLIENTS, seed=0)
    assert sorted(np.concatenate(parts).tolist()) == list(range(24))
    assert [len(part) for part in deal(24, {"client_sizes": [3, 20, 1]}, 3, seed=0)] == [3, 20, 1]
    with pytest.raises(DataError, match="client_sizes of 3 clients and 23 records"):
        deal(24, {"client_sizes": [3, 19, 1]}, 3, seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise_at": "air"}, "fed_gswgan.noise_at=air is unknown; choose one of server, client"),
        ({"clients": 0}, "fed_gswgan.clients=0 must be above 0"),
        ({"clients": 7}, "fed_gswgan.clients=7 does not cut data.train_size=24 into equal shards"),
        ({"timeout": 0}, "fed_gswgan.timeout=0 must be above 0"),
        ({"noise_multiplier": -1.0}, r"fed_gswgan.noise_multiplier=-1.0 must be above 0"),
    ],
)
def test_impossible_settings_are_refused(change: dict, message: str):
    """Before the first client is asked."""
    with pytest.raises(ConfigError, match=message):
        checked(with_own(**change))


def test_clients_are_those_of_the_data():
    """Data that come with owners are not dealt anew: epsilon would speak of other people."""
    with pytest.raises(ConfigError, match=r"fed_gswgan.clients=4, but .* data.clients=12 of its own"):
        PRIVATE.check_data(replace(DATA, clients=12))
    with pytest.raises(ConfigError, match=r"delta=0\.3 must be below 1/private.fed_gswgan.clients=0\.25"):
        replace(PRIVATE, delta=0.3).check_data(DATA)
