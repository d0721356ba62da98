"""Train the classifier whose features and labels judge samples; never released."""

from pipelines.stage import Metrics, Stage, stage


@stage("reference")
def main(stage: Stage) -> Metrics:
    from triptych.data.datamodule import SplitDataModule
    from triptych.data.prepared import read_split
    from triptych.data.weights import save_weights
    from triptych.evaluation.classifier import NOT_COVERED, Classifier, accuracy

    config = stage.config
    settings = config.private.classifier
    real = stage.inputs / "data/prepared/real"
    classifier = Classifier(settings, config.data)
    data = SplitDataModule(read_split(real, "train"), batch_size=settings.batch_size, seed=config.seed)
    stage.fit(classifier, data, epochs=settings.epochs, curves="private_curves.csv")
    save_weights(stage.out / "classifier.safetensors", classifier.cpu())
    return {"real_cnn_accuracy": accuracy(classifier, read_split(real, "test")), "coverage": NOT_COVERED}


if __name__ == "__main__":
    main()
