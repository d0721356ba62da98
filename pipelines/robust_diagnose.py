"""Compare the classifiers before and after adaptation: by domain, by group, in other colours."""

from pipelines.stage import Metrics, Stage, stage


@stage("robust_diagnose")
def main(stage: Stage) -> Metrics:
    from triptych.data.shift import read_law, read_repetition
    from triptych.report.robust import group_accuracies, theory
    from triptych.robust.diagnostics import Trial, compare, headline
    from triptych.robust.networks import build, load_networks

    config = stage.config
    robust = config.robust
    shifted = stage.inputs / "data/prepared/shifted"
    ways = read_law(shifted).ways
    trials = [
        Trial(
            read_repetition(shifted, "source_test", repetition)[0],
            *read_repetition(shifted, "target_test", repetition),
        )
        for repetition in range(robust.seeds)
    ]
    networks = build(trials[0].source.images.shape[1:], ways, robust, seed=config.seed)
    weights = {"before": "source/classifiers"}
    weights |= {name: f"adapt/classifiers/{name}" for name in robust.objectives}
    metrics: dict[str, float] = {}
    for name, file in weights.items():
        load_networks(stage.inputs / f"out/robust/{file}.safetensors", networks)
        metrics |= compare(networks, trials, name, ways=ways, redraws=robust.redraws, seed=config.seed)
    captions = {f"_{name}": "source only" if name == "before" else name.replace("_", " ") for name in weights}
    group_accuracies(metrics, captions, stage.out / "group_accuracies.png")
    theory(stage.out / "theory.png")
    return metrics | headline(metrics, robust.objective)


if __name__ == "__main__":
    main()
