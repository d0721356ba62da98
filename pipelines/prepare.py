"""Fetch, verify and split the data set."""

from pathlib import Path

from pipelines.stage import Metrics, Stage, stage


@stage("prepare")
def main(stage: Stage) -> Metrics:
    from triptych.data.prepared import write_prepared
    from triptych.data.sources import load_source

    data = stage.config.data
    splits, card = load_source(data, Path("data/raw"))
    write_prepared(stage.out, splits, classes=data.classes, card=card)
    return {f"{name}_size": len(split) for name, split in splits.items()}


if __name__ == "__main__":
    main()
