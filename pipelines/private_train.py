"""Train the generator through sanitised gradients, and certify what it cost."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.stage import Metrics, Stage, stage

if TYPE_CHECKING:
    from triptych.private.module import GSWGAN

REPORTED = ("epsilon", "epsilon_accountant", "delta", "noise_multiplier", "releases", "rng")


@stage("private_train")
def main(stage: Stage) -> Metrics:
    from triptych.data.files import write_json
    from triptych.data.weights import save_weights
    from triptych.privacy.certificate import issue
    from triptych.private.budget import affordable_steps, one_process, terms

    config = stage.config
    one_process(config.trainer)
    limit = affordable_steps(config.private)
    ledger = stage.checkpoints / "ledger.jsonl"
    module = _train(stage, ledger, limit)

    generator = stage.out / "generator.safetensors"
    save_weights(generator, module.released)
    certificate = issue(
        terms(config.private), ledger=ledger, generator=generator, steps_taken=int(module.steps_taken)
    )
    write_json(stage.out / "certificate.json", certificate)
    shutil.copyfile(ledger, stage.out / "ledger.jsonl")
    costs = {f"epsilon_{name}": value for name, value in certificate["epsilon_by_accountant"].items()}
    steps = {"steps_paid": certificate["steps"], "steps_taken": certificate["steps_taken"]}
    return {**{name: certificate[name] for name in REPORTED}, **steps, **costs}


def _train(stage: Stage, path: Path, limit: int) -> "GSWGAN":
    """Train until the planned steps are done or `limit` steps are paid for in the ledger at `path`."""
    from triptych.data.partition import partition
    from triptych.data.prepared import read_split
    from triptych.data.weights import load_weights
    from triptych.privacy.certificate import mechanism
    from triptych.privacy.ledger import Ledger
    from triptych.privacy.noise import random_source
    from triptych.private.batches import ShardDataModule, StepBatches
    from triptych.private.budget import terms
    from triptych.private.module import GSWGAN
    from triptych.private.release import Releaser, labels_seen

    config = stage.config
    private = config.private
    train = read_split(stage.inputs / "data/prepared/real", "train")
    shards = partition(len(train), private.discriminators, seed=config.seed)
    batches = StepBatches(
        train,
        shards,
        steps=private.steps,
        repeats=private.discriminator_steps,
        batch_size=private.discriminator.batch_size,
        seed=config.seed + 1,  # other batches than those of the warm start
    )
    with Ledger(path, mechanism(terms(private))) as ledger:
        seen = labels_seen(train.labels, shards, config.data.classes)
        source = random_source(secure=private.secure_rng)
        module = GSWGAN(private, config.data, Releaser(private, ledger, source, limit, seen))
        load_weights(stage.inputs / "out/private/warm_start/discriminators.safetensors", module.ensemble)
        stage.fit(module, ShardDataModule(batches), epochs=1, curves="private_curves.csv")
    return module.cpu()


if __name__ == "__main__":
    main()
