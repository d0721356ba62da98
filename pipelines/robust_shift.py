"""Colour the data: a source whose colour follows the label, a target whose colour does not."""

from pipelines.stage import Metrics, Stage, stage


@stage("robust_shift")
def main(stage: Stage) -> Metrics:
    from triptych.data.prepared import read_card, read_split
    from triptych.data.shift import shift, write_shifted
    from triptych.report.robust import coloured_samples

    config = stage.config
    real = stage.inputs / "data/prepared/real"
    shifted = shift(
        read_split(real, "train"), read_split(real, "test"), config.robust.shift, seed=config.seed
    )
    write_shifted(stage.out, shifted, card=read_card(real))
    source, target = shifted.labelled["source_train"], shifted.labelled["target_test"]
    coloured_samples(source, target, stage.out / "samples.png")
    sizes = {f"{name}_size": len(colour) for name, colour in shifted.colours.items()}
    return {**sizes, **{f"{name}_aligned_share": share for name, share in shifted.aligned_shares().items()}}


if __name__ == "__main__":
    main()
