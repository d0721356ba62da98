"""Train classifiers on the labelled source, one for each repetition."""

from pipelines.stage import Metrics, Stage, stage


@stage("robust_source")
def main(stage: Stage) -> Metrics:
    from triptych.data.shift import read_classes, read_law, read_repetition
    from triptych.robust.datamodule import SourceDataModule
    from triptych.robust.diagnostics import accuracy, mean_and_sd
    from triptych.robust.groups import groups
    from triptych.robust.last_layer import retrain_last_layer
    from triptych.robust.module import SourceTraining
    from triptych.robust.networks import build, save_classifier, save_networks

    config = stage.config
    settings = config.robust.source
    shifted = stage.inputs / "data/prepared/shifted"
    repetitions = range(config.robust.seeds)
    train, colours = zip(*(read_repetition(shifted, "source_train", r) for r in repetitions), strict=True)
    test = [read_repetition(shifted, "source_test", r)[0] for r in repetitions]
    data = SourceDataModule(
        train, test, batch_size=settings.batch_size, seed=config.seed, shuffle=settings.shuffle
    )

    shape, law = train[0].images.shape[1:], read_law(shifted)
    networks = build(shape, read_classes(shifted), config.robust, seed=config.seed)
    if law and law.published:
        for repetition, network in enumerate(networks):
            law.published.initialise(network.linear(), law.ways, law.seed + repetition)
    misled = None
    if settings.group_dro or settings.last_layer:
        misled = groups(train, colours, read_classes(shifted))
    module = SourceTraining(networks, settings, examples=len(train[0]), misled=misled)
    stage.fit(module, data, epochs=settings.epochs)
    module.cpu()
    if settings.last_layer and misled is not None:
        for network, images, labels, group in zip(
            networks, data.train.images, data.train.labels, misled, strict=True
        ):
            retrain_last_layer(network, images, labels, group)
    save_networks(stage.out, networks, name="classifiers")
    save_classifier(stage.out, networks[0])
    return mean_and_sd(
        [{"source_accuracy": accuracy(network, split)} for network, split in zip(networks, test, strict=True)]
    )


if __name__ == "__main__":
    main()
