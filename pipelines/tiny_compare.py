"""A searched subnet against MobileNetV2 and ProxylessNAS, scaled down to the same board (the paper's rivals).

`python -m pipelines.tiny_compare -m +sweep=tiny_compare`; not a stage. A job is
one task at one seed: it chooses the space, trains the supernet and searches by
the stages `tiny_*`, then trains the winner and each rival from scratch on the
whole training split with one recipe (`tiny.supernet`, for `tiny.compare.epochs`),
and lowers each to int8 without further training. A job that was killed goes on:
finished stages and networks are not run again, a supernet continues within its phase.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from pipelines.jobs import job_app, prepared, run_stages
from pipelines.stage import told_to_stop
from triptych.config import Config
from triptych.data.files import read_json, write_json

if TYPE_CHECKING:
    from triptych.data.prepared import Split
    from triptych.tiny.arch import ArchConfig, SearchSpace
    from triptych.tiny.rivals import Version
    from triptych.tiny.supernet import Supernet

CHAIN = ("tiny_space", "tiny_supernet", "tiny_instructions", "tiny_search")


@job_app
def main(config: Config, job: Path) -> None:
    if not (job / "comparison.json").exists():
        compare(config, job, HydraConfig.get().runtime.choices["experiment"])


def compare(config: Config, job: Path, name: str) -> None:
    """Search, then train and test all networks; `comparison.json` at the end."""
    from triptych.data.prepared import read_split
    from triptych.tiny.cost import board_limits

    real = prepared(config, job.parents[1] / f"prepared-{config.data.name}")
    run_stages(CHAIN, config, job / "chain", instead={"data/prepared/real": str(real.resolve())})
    limits = board_limits(config.board, config.tiny.reserve)
    train, test = read_split(real, "train"), read_split(real, "test")
    rows = {}
    for network, version in versions(config, job / "chain/out/tiny").items():
        file = job / f"{network}.json"
        if not file.exists():
            write_json(file, row(config, version, train, test))
        rows[network] = read_json(file)
    facts = {"setting": name, "seed": config.seed, "board": config.board.name}
    write_json(
        job / "comparison.json", {**facts, "sram": limits.sram, "flash": limits.flash, "networks": rows}
    )


def versions(config: Config, found: Path) -> "dict[str, Version]":
    """The searched subnet in the stages' folder `found`, and the largest version of each rival that fits."""
    from triptych.tiny.cost import board_limits, subnet_cost
    from triptych.tiny.files import read_arch, read_space
    from triptych.tiny.rivals import FAMILIES, Version, scaled_down

    tiny = config.tiny
    limits = board_limits(config.board, tiny.reserve)
    space = read_space(found / "space/space.json", tiny.space, config.data)
    arch = read_arch(found / "search/arch.json", space)
    bits, sizes = tiny.quantization.weight_bits, tiny.space.resolutions
    rivals = {name: scaled_down(name, limits, sizes, like=space, weight_bits=bits) for name in FAMILIES}
    return {"searched": Version(space, arch, subnet_cost(space, arch, weight_bits=bits)), **rivals}


def row(config: Config, version: "Version", train: "Split", test: "Split") -> dict[str, Any]:
    """What is reported of one network: accuracies, cost, and the bytes that each block needs at once."""
    from pytorch_lightning import seed_everything

    from triptych.tiny.tables import block_peaks

    space, arch, cost = version
    seed_everything(config.seed, workers=True, verbose=False)
    scores = train_and_test(config, space, arch, train, test)
    size = {"width_mult": space.width_mult, "resolution": space.resolution}
    return {**scores, **size, **cost.to_json(), "block_sram": block_peaks(space, arch)}


def train_and_test(
    config: Config, space: "SearchSpace", arch: "ArchConfig", train: "Split", test: "Split"
) -> dict[str, float]:
    """Accuracy of one network trained from scratch on the whole training split, as float and as int8."""
    from triptych.engine.reference import run
    from triptych.quantization.calibrate import calibrate, run_float
    from triptych.quantization.lower import lower
    from triptych.tiny.export import export
    from triptych.tiny.files import tensors
    from triptych.tiny.inputs import PIXEL_RANGE, to_int8
    from triptych.tiny.recalibrate import BATCH, recalibrate

    network = train_alone(config, space, arch, train)
    x, _ = tensors(train.take(slice(config.tiny.search.recalibration_size)), space.resolution)
    graph = export(network, arch, recalibrate(network, x.split(BATCH), arch))
    ranges = {**calibrate(graph, x.split(BATCH)), graph.input: PIXEL_RANGE}
    integer = lower(graph, ranges, weight_bits=config.tiny.quantization.weight_bits)
    pixels, labels = tensors(test, space.resolution)
    return {
        "accuracy": (run_float(graph, pixels).argmax(1) == labels).double().mean().item(),
        "int8_accuracy": float((run(integer, to_int8(pixels).numpy()).argmax(1) == labels.numpy()).mean()),
    }


def train_alone(config: Config, space: "SearchSpace", arch: "ArchConfig", train: "Split") -> "Supernet":
    """The weights of one network, trained without the others of its space."""
    import pytorch_lightning as pl
    import torch

    from triptych.data.datamodule import SplitDataModule
    from triptych.tiny.module import SupernetModule
    from triptych.tiny.schedule import Phase
    from triptych.tiny.supernet import Supernet

    torch.set_num_threads(config.trainer.threads)
    settings, network = config.tiny.supernet, Supernet(space)
    phase = Phase("alone", space, 1, config.tiny.compare.epochs, settings.learning_rate)
    module = SupernetModule(network, settings, phase)
    module.draw = lambda: [arch]
    trainer = pl.Trainer(
        accelerator=config.trainer.accelerator,
        max_epochs=phase.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=config.trainer.progress_bar,
        enable_model_summary=False,
    )
    data = SplitDataModule(train, batch_size=settings.batch_size, seed=config.seed, drop_last=True)
    with told_to_stop():
        trainer.fit(module, data)
    return network.cpu()


class Table(Callback):
    """Hydra tells it when all jobs are done: the table and its figures."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:  # noqa: ANN401  # Hydra's
        from triptych.report.tiny_compare import draw, draw_blocks, markdown, read_jobs

        folder = Path(config.hydra.sweep.dir)
        if jobs := read_jobs(folder):
            (folder / "table.md").write_text(markdown(jobs))
            draw(jobs, folder / "table.png")
            draw_blocks(jobs, folder / "blocks.png")


if __name__ == "__main__":
    main()
