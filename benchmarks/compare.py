"""A searched subnet against MobileNetV2 and ProxylessNAS, scaled down to the same board (the paper's rivals).

    python -m benchmarks.compare -m experiment=speech_commands seed=0,1,2 board=stm32f410,stm32f401

One job does everything for one seed and board: chooses the space, trains the
supernet, searches, then trains the winner and each rival from scratch with the
same recipe (`tiny.supernet`: epochs, batch size, learning rate), and lowers each
to int8 without further training. Reads `data/prepared/real` under `inputs`;
writes `comparison.json` and the memory of every block, `blocks.png`, into `out`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from pipelines.stage import ROOT
from triptych.config import Config, load
from triptych.data.files import write_json

if TYPE_CHECKING:
    from triptych.data.prepared import Split
    from triptych.tiny.arch import ArchConfig, SearchSpace
    from triptych.tiny.cost import Limits
    from triptych.tiny.schedule import Phase
    from triptych.tiny.supernet import Supernet


@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")
def main(values: DictConfig) -> None:
    """One job."""
    import torch
    from pytorch_lightning import seed_everything

    from triptych.data.prepared import read_split
    from triptych.report.tiny import block_memory
    from triptych.tiny.cost import board_limits, subnet_cost
    from triptych.tiny.files import hold_out
    from triptych.tiny.rivals import FAMILIES, scaled_down

    config = load(values)
    out = Path(config.out or HydraConfig.get().runtime.output_dir)
    torch.set_num_threads(config.trainer.threads)
    seed_everything(config.seed, workers=True, verbose=False)
    real = Path(config.inputs) / "data/prepared/real"
    split, test = read_split(real, "train"), read_split(real, "test")
    train, held_out = hold_out(split, config.tiny.supernet.validation_size)
    limits = board_limits(config.board, config.tiny.reserve)
    space, arch = find(config, train, held_out, limits)
    networks = {"searched": (space, arch, subnet_cost(space, arch))}
    for name in FAMILIES:
        networks[name] = scaled_down(name, limits, config.tiny.space.resolutions, like=space)
    rows = {}
    for name, (own, network, cost) in networks.items():
        seed_everything(config.seed, workers=True, verbose=False)
        scores = train_and_test(config, own, network, split, test)
        size = {"width_mult": own.width_mult, "resolution": own.resolution}
        rows[name] = {**scores, **size, **cost.to_json()}
    head = {"seed": config.seed, "board": config.board.name, "sram": limits.sram, "flash": limits.flash}
    write_json(out / "comparison.json", {**head, "networks": rows})
    block_memory({name: pair[:2] for name, pair in networks.items()}, limits.sram, out / "blocks.png")


def find(
    config: Config, train: "Split", held_out: "Split", limits: "Limits"
) -> tuple["SearchSpace", "ArchConfig"]:
    """Space, supernet and search, as the stages do it."""
    import numpy as np

    from triptych.tiny.arch import search_spaces
    from triptych.tiny.cost import subnet_cost
    from triptych.tiny.files import tensors
    from triptych.tiny.predictor import search
    from triptych.tiny.recalibrate import subnet_accuracy
    from triptych.tiny.schedule import schedule
    from triptych.tiny.search import Evolution
    from triptych.tiny.space import choose, count
    from triptych.tiny.supernet import Supernet
    from triptych.tiny.tables import CostTables

    tiny = config.tiny
    tables = [CostTables(space) for space in search_spaces(tiny.space, config.data)]
    space = choose([count(each, limits, memory="ours") for each in tables], tiny.space.min_share).space
    supernet = Supernet(space)
    for phase in schedule(space, tiny.supernet):
        if phase.sorts:
            supernet.sort_channels()
        fit(config, supernet, phase, train)
    x, _ = tensors(train.take(slice(tiny.search.recalibration_size)), space.resolution)
    validation = tensors(held_out, space.resolution)
    own = CostTables(space)
    evolution = Evolution(
        space,
        subnet_cost,
        limits,
        lambda arch: subnet_accuracy(supernet, arch, x, *validation),
        np.random.default_rng(config.seed),
        may_fit=lambda arch: own.may_fit(arch, limits),
    )
    best, _ = search(evolution, tiny.search)
    return space, best.arch


def fit(
    config: Config, supernet: "Supernet", phase: "Phase", train: "Split", arch: "ArchConfig | None" = None
) -> None:
    """One phase; with `arch`, of this one network."""
    import pytorch_lightning as pl

    from triptych.data.datamodule import SplitDataModule
    from triptych.tiny.module import SupernetModule

    module = SupernetModule(supernet, config.tiny.supernet, phase)
    if arch is not None:
        module.draw = lambda: [arch]
    trainer = pl.Trainer(
        accelerator=config.trainer.accelerator,
        max_epochs=phase.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=config.trainer.progress_bar,
        enable_model_summary=False,
    )
    size = config.tiny.supernet.batch_size
    trainer.fit(module, SplitDataModule(train, batch_size=size, seed=config.seed, drop_last=True))
    supernet.cpu()


def train_and_test(
    config: Config, space: "SearchSpace", arch: "ArchConfig", train: "Split", test: "Split"
) -> dict[str, Any]:
    """Accuracy of one network trained from scratch on the whole training split, as float and as int8."""
    from triptych.engine.reference import run
    from triptych.quantization.calibrate import calibrate, run_float
    from triptych.quantization.lower import lower
    from triptych.tiny.export import export
    from triptych.tiny.files import tensors
    from triptych.tiny.inputs import PIXEL_RANGE, to_int8
    from triptych.tiny.recalibrate import BATCH, recalibrate
    from triptych.tiny.schedule import Phase
    from triptych.tiny.supernet import Supernet

    settings = config.tiny.supernet
    network = Supernet(space)
    fit(config, network, Phase("alone", space, 1, settings.epochs, settings.learning_rate), train, arch)
    x, _ = tensors(train.take(slice(config.tiny.search.recalibration_size)), space.resolution)
    graph = export(network, arch, recalibrate(network, x.split(BATCH), arch))
    integer = lower(graph, {**calibrate(graph, x.split(BATCH)), graph.input: PIXEL_RANGE})
    pixels, labels = tensors(test, space.resolution)
    return {
        "accuracy": (run_float(graph, pixels).argmax(1) == labels).double().mean().item(),
        "int8_accuracy": float((run(integer, to_int8(pixels).numpy()).argmax(1) == labels.numpy()).mean()),
    }


if __name__ == "__main__":
    main()
