"""Make the source and the target: by painting, by another data set, or from CelebA."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.stage import Metrics, Stage, stage

if TYPE_CHECKING:
    from triptych.data.shift import Shifted


@stage("robust_shift")
def main(stage: Stage) -> Metrics:
    from triptych.data.shift import write_shifted
    from triptych.report.robust import coloured_samples

    shifted, card = _shift(stage)
    write_shifted(stage.out, shifted, card=card)
    source, target = shifted.labelled["source_train"], shifted.labelled["target_test"]
    coloured_samples(source, target, stage.out / "samples.png")
    sizes = {f"{name}_size": len(split) for name, split in shifted.labelled.items()}
    sizes["target_train_size"] = len(shifted.target_train)
    return {**sizes, **{f"{name}_aligned_share": share for name, share in shifted.aligned_shares().items()}}


def _shift(stage: Stage) -> tuple["Shifted", dict[str, Any]]:
    from triptych.data import celeba, usps
    from triptych.data.prepared import read_card, read_split
    from triptych.data.shift import shift, shift_to

    config, seed = stage.config.robust.shift, stage.config.seed
    if config.kind == "celeba":
        shifted = celeba.shift_celeba(config, seed=seed)
        return shifted, celeba.CARD
    real = stage.inputs / "data/prepared/real"
    train = read_split(real, "train")
    if config.kind == "usps":
        target = usps.load_usps(Path("data/raw"), train.images.shape[-1])
        return shift_to(train, target, config, seed=seed), {**read_card(real), **usps.card(target)}
    return shift(train, read_split(real, "test"), config, seed=seed), read_card(real)


if __name__ == "__main__":
    main()
