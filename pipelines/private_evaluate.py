"""Score the samples: fidelity on the reference classifier, and classifiers trained on them.

Everything here is measured on private data and not covered by epsilon.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.stage import Metrics, Stage, stage

if TYPE_CHECKING:
    from triptych.config import Config
    from triptych.data.prepared import Split


@stage("private_evaluate")
def main(stage: Stage) -> Metrics:
    from triptych.data.datamodule import SplitDataModule
    from triptych.data.files import read_json, sha256, write_json
    from triptych.data.prepared import read_split
    from triptych.data.weights import load_weights
    from triptych.evaluation.classifier import NOT_COVERED, Classifier, accuracy, class_accuracies
    from triptych.evaluation.downstream import fit_suite, side_by_side, summarise, write_rows
    from triptych.evaluation.fidelity import fidelity, register
    from triptych.report.private import accuracy_bars

    config = stage.config
    settings, sizes = config.private.classifier, config.private.evaluation
    real = stage.inputs / "data/prepared/real"
    train, test = read_split(real, "train"), read_split(real, "test")
    samples = read_split(stage.inputs / "out/private/synthetic", "train")

    weights = stage.inputs / "out/reference/classifier.safetensors"
    reference = Classifier(settings, config.data)
    load_weights(weights, reference)
    downstream = Classifier(settings, config.data)
    data = SplitDataModule(samples, batch_size=settings.batch_size, seed=config.seed)
    stage.fit(downstream, data, epochs=settings.epochs, curves="downstream_curves.csv")
    downstream.cpu()

    extractor = register(reference.eval(), sha256(weights))
    write_json(stage.out / "extractor.json", {"name": extractor, "sha256": sha256(weights)})
    accuracy_bars(
        class_accuracies(downstream, test).numpy(),
        class_accuracies(reference, test).numpy(),
        stage.out / "private_class_accuracy.png",
    )
    trainer = config.trainer
    known = read_json(stage.inputs / "out/reference/private_scores.json")
    suite = fit_suite(
        samples.sample(sizes.suite_size, seed=config.seed),
        test,
        seed=config.seed,
        threads=trainer.threads,
        progress=trainer.progress_bar,
    )
    rows = side_by_side(suite, known["suite"])
    write_rows(stage.out / "private_classifiers.csv", rows)
    few, few_real = (split.sample(sizes.images, seed=config.seed) for split in (samples, train))
    return {
        **fidelity(few, few_real, extractor=extractor, seed=config.seed),
        **known["scores"],
        "label_agreement": accuracy(reference, samples),
        "downstream_cnn_accuracy": accuracy(downstream, test),
        **summarise(rows),
        **_published_fid(config, samples, train),
        "coverage": NOT_COVERED,
    }


def _published_fid(config: "Config", samples: "Split", real: "Split") -> Metrics:
    """On Inception features, where their weights are given."""
    from triptych.evaluation.inception import inception_fidelity

    if config.private.inception is None:
        return {}
    weights, accelerator = Path(config.private.inception), config.trainer.accelerator
    return inception_fidelity(samples, real, weights=weights, seed=config.seed, accelerator=accelerator)


if __name__ == "__main__":
    main()
