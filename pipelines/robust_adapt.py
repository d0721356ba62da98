"""Adapt the source classifiers to the unlabelled target, by entropy and by pseudo-labels."""

from pipelines.stage import Metrics, Stage, stage


@stage("robust_adapt")
def main(stage: Stage) -> Metrics:
    from triptych.data.shift import read_law, read_repetition, read_unlabelled
    from triptych.robust.datamodule import TargetDataModule
    from triptych.robust.diagnostics import confidence, mean_and_sd
    from triptych.robust.module import Adaptation
    from triptych.robust.networks import build, load_networks, save_classifier, save_networks
    from triptych.robust.objectives import Entropy, PseudoLabel

    config = stage.config
    robust = config.robust
    shifted = stage.inputs / "data/prepared/shifted"
    target = [read_unlabelled(shifted, "target_train", r) for r in range(robust.seeds)]
    source = [read_repetition(shifted, "source_train", r)[0] for r in range(robust.seeds)]
    classes = read_law(shifted).ways
    pseudo_label = PseudoLabel(
        robust.pseudo_label, repetitions=robust.seeds, examples=len(target[0]), classes=classes
    )

    metrics: dict[str, float] = {}
    for objective, settings in ((Entropy(), robust.entropy), (pseudo_label, robust.pseudo_label)):
        networks = build(
            target[0].shape[1:], robust.hidden, classes, repetitions=robust.seeds, seed=config.seed
        )
        load_networks(stage.inputs / "out/robust/source/classifiers.safetensors", networks)
        data = TargetDataModule(target, source, batch_size=settings.batch_size, seed=config.seed)
        module = Adaptation(networks, objective, settings)
        stage.fit(module, data, epochs=settings.epochs, curves=f"{objective.name}_curves.csv")
        module.cpu()
        save_networks(stage.out, networks, name=f"classifiers_{objective.name}")
        if objective.name == robust.objective:
            save_classifier(stage.out, networks[0])
        pairs = zip(networks, target, strict=True)
        metrics |= mean_and_sd([confidence(*pair) for pair in pairs], objective.name)
    return metrics


if __name__ == "__main__":
    main()
