"""Whether to trust self-training, judged without target labels; then what it did, judged with them."""

from pipelines.stage import Metrics, Stage, stage


@stage("robust_diagnose")
def main(stage: Stage) -> Metrics:
    from triptych.data.files import write_json
    from triptych.data.shift import read_classes, read_law, read_repetition, read_unlabelled
    from triptych.report.robust import corrected_and_broken, group_accuracies, theory
    from triptych.robust.diagnostics import (
        Trial,
        agreement,
        compare,
        headline,
        mean_and_sd,
        predicted_labels,
    )
    from triptych.robust.networks import build, load_networks
    from triptych.robust.trust import gather_evidence, verdict

    config = stage.config
    robust = config.robust
    shifted = stage.inputs / "data/prepared/shifted"
    ways, painted = read_classes(shifted), read_law(shifted) is not None
    trials = [
        Trial(
            read_repetition(shifted, "source_test", repetition)[0],
            *read_repetition(shifted, "target_test", repetition),
            painted,
        )
        for repetition in range(robust.seeds)
    ]
    networks = build(trials[0].source.images.shape[1:], ways, robust, seed=config.seed)
    weights = {"before": "source/classifiers"}
    weights |= {name: f"adapt/classifiers/{name}" for name in robust.objectives}
    load_networks(stage.inputs / "out/robust/source/classifiers.safetensors", networks)
    evidence = [
        gather_evidence(
            network,
            trial.source,
            read_unlabelled(shifted, "target_train", repetition),
            redraws=robust.redraws if painted else 0,
            seed=config.seed,
        )
        for repetition, (network, trial) in enumerate(zip(networks, trials, strict=True))
    ]
    trust = verdict(evidence, robust.trust)
    if len(networks) > 1:
        trust["agreement"] = agreement(networks, read_unlabelled(shifted, "target_train", 0))
    write_json(stage.out / "trust.json", trust)

    metrics = mean_and_sd([each.known() for each in evidence]) | {"trust": float(trust["trust"])}
    answers = {}
    for name, file in weights.items():
        load_networks(stage.inputs / f"out/robust/{file}.safetensors", networks)
        answers[name] = predicted_labels(networks[0], trials[0].target)
        metrics |= compare(networks, trials, name, ways=ways, redraws=robust.redraws, seed=config.seed)
    captions = {f"_{name}": "source only" if name == "before" else name.replace("_", " ") for name in weights}
    group_accuracies(metrics, captions, stage.out / "group_accuracies.png")
    corrected_and_broken(
        trials[0].target, answers["before"], answers[robust.objective], stage.out / "examples.png"
    )
    theory(stage.out / "theory.png")
    return metrics | headline(metrics, robust.objective)


if __name__ == "__main__":
    main()
