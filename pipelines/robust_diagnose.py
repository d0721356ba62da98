"""Whether to trust self-training, judged without target labels; then what it did, judged with them."""

from typing import TYPE_CHECKING

from pipelines.stage import Metrics, Stage, stage

if TYPE_CHECKING:
    from triptych.robust.diagnostics import Trial


@stage("robust_diagnose")
def main(stage: Stage) -> Metrics:
    from triptych.data.files import write_json
    from triptych.report.robust import corrected_and_broken, group_accuracies, group_grid, theory
    from triptych.robust import diagnostics, trust
    from triptych.robust.networks import build, load_networks

    config = stage.config
    robust = config.robust
    trials = _trials(stage)
    shape, ways = trials[0].source.images.shape[1:], trials[0].ways
    networks = build(shape, ways, robust, seed=config.seed)
    weights = {name: f"adapt/classifiers/{name}" for name in robust.objectives}
    load_networks(stage.inputs / "out/robust/source/classifiers.safetensors", networks)
    evidence = [
        trust.gather_evidence(
            network,
            trial.source,
            trial.unlabelled,
            redraws=robust.redraws if trial.painted else 0,
            seed=config.seed,
        )
        for network, trial in zip(networks, trials, strict=True)
    ]
    verdict = trust.verdict(evidence, robust.trust)
    if len(networks) > 1:
        verdict["agreement"] = diagnostics.agreement(networks, trials[0].unlabelled)
    write_json(stage.out / "trust.json", verdict)

    metrics = diagnostics.mean_and_sd([each.known() for each in evidence])
    answers, examined = {}, {}
    for name, file in {"before": "source/classifiers", **weights}.items():
        load_networks(stage.inputs / f"out/robust/{file}.safetensors", networks)
        answers[name] = diagnostics.predicted_labels(networks[0], trials[0].target)
        examined[name] = [
            diagnostics.examine(network, trial, redraws=robust.redraws, seed=config.seed)
            for network, trial in zip(networks, trials, strict=True)
        ]
        metrics |= diagnostics.summarise(examined[name], name)
    before, after = (
        [each.metrics["target_accuracy"] for each in examined[name]] for name in ("before", robust.objective)
    )
    write_json(stage.out / "outcomes.json", trust.outcomes(evidence, before, after))
    captions = {"_before": "source only", **{f"_{name}": name.replace("_", " ") for name in weights}}
    group_accuracies(metrics, captions, stage.out / "group_accuracies.png")
    shown = {"source only": "before", captions[f"_{robust.objective}"]: robust.objective}
    group_grid(
        {caption: diagnostics.pooled(examined[name]) for caption, name in shown.items()},
        stage.out / "group_grid.png",
    )
    corrected_and_broken(
        trials[0].target, answers["before"], answers[robust.objective], stage.out / "examples.png"
    )
    theory(stage.out / "theory.png")
    return metrics | {"trust": float(verdict["trust"])} | diagnostics.headline(metrics, robust.objective)


def _trials(stage: Stage) -> "list[Trial]":
    from triptych.data.shift import read_classes, read_law, read_repetition, read_unlabelled
    from triptych.robust.diagnostics import Trial

    shifted = stage.inputs / "data/prepared/shifted"
    return [
        Trial(
            read_repetition(shifted, "source_test", repetition)[0],
            *read_repetition(shifted, "target_test", repetition),
            read_unlabelled(shifted, "target_train", repetition),
            read_classes(shifted),
            painted=read_law(shifted) is not None,
        )
        for repetition in range(stage.config.robust.seeds)
    ]


if __name__ == "__main__":
    main()
