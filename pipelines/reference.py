"""What real images reach: the classifier that judges samples, the suite, the floor of FID. Never released."""

from pipelines.stage import Metrics, Stage, stage


@stage("reference")
def main(stage: Stage) -> Metrics:
    from triptych.data.datamodule import SplitDataModule
    from triptych.data.files import sha256, write_json
    from triptych.data.prepared import read_split
    from triptych.data.weights import save_weights
    from triptych.evaluation.classifier import NOT_COVERED, Classifier, accuracy
    from triptych.evaluation.downstream import fit_suite
    from triptych.evaluation.fidelity import fidelity, register

    config, trainer = stage.config, stage.config.trainer
    settings, sizes = config.private.classifier, config.private.evaluation
    real = stage.inputs / "data/prepared/real"
    train, test = read_split(real, "train"), read_split(real, "test")
    classifier = Classifier(settings, config.data)
    data = SplitDataModule(train, batch_size=settings.batch_size, seed=config.seed)
    stage.fit(classifier, data, epochs=settings.epochs, curves="private_curves.csv")
    weights = stage.out / "classifier.safetensors"
    save_weights(weights, classifier.cpu())

    suite = fit_suite(
        train.sample(sizes.suite_size, seed=config.seed),
        test,
        seed=config.seed,
        threads=trainer.threads,
        progress=trainer.progress_bar,
    )
    extractor = register(classifier.eval(), sha256(weights))
    few_test, few_train = (split.sample(sizes.images, seed=config.seed) for split in (test, train))
    floor = fidelity(few_test, few_train, extractor=extractor, seed=config.seed)
    scores = {
        "real_cnn_accuracy": accuracy(classifier, test),
        "real_inception_score": floor["inception_score"],
        "real_fid_reference": floor["fid_reference"],
    }
    write_json(stage.out / "private_scores.json", {"scores": scores, "suite": suite})
    return {**scores, "coverage": NOT_COVERED}


if __name__ == "__main__":
    main()
