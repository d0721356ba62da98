"""Adapt the source classifiers to the unlabelled target, by each objective from the same start."""

from pipelines.stage import Metrics, Stage, stage


@stage("robust_adapt")
def main(stage: Stage) -> Metrics:
    from triptych.data.shift import read_classes, read_repetition, read_unlabelled
    from triptych.robust.datamodule import TargetDataModule
    from triptych.robust.diagnostics import confidence, mean_and_sd
    from triptych.robust.module import Adaptation
    from triptych.robust.networks import build, load_networks, save_classifier, save_networks
    from triptych.robust.objectives import make_objective

    config = stage.config
    robust = config.robust
    shifted = stage.inputs / "data/prepared/shifted"
    target = [read_unlabelled(shifted, "target_train", r) for r in range(robust.seeds)]
    source = [read_repetition(shifted, "source_train", r)[0] for r in range(robust.seeds)]
    classes = read_classes(shifted)
    data = TargetDataModule(target, source, batch_size=robust.adapt.batch_size, seed=config.seed)

    metrics: dict[str, float] = {}
    for name in robust.objectives:
        networks = build(target[0].shape[1:], classes, robust, seed=config.seed)
        load_networks(stage.inputs / "out/robust/source/classifiers.safetensors", networks)
        objective = make_objective(name, robust, examples=len(target[0]), classes=classes)
        module = Adaptation(networks, objective, robust.adapt, robust.source.poly)
        stage.fit(module, data, epochs=robust.adapt.epochs, curves=f"curves/{name}.csv")
        module.cpu()
        save_networks(stage.out / "classifiers", networks, name=name)
        if name == robust.objective:
            save_classifier(stage.out, networks[0])
        pairs = zip(networks, target, strict=True)
        metrics |= mean_and_sd([confidence(*pair) for pair in pairs], name)
    return metrics


if __name__ == "__main__":
    main()
