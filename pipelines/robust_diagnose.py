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
    networks = build(
        trials[0].source.images.shape[1:], robust.hidden, ways, repetitions=robust.seeds, seed=config.seed
    )
    metrics: dict[str, float] = {}
    for name, weights in (
        ("before", "source/classifiers"),
        ("pseudo_label", "adapt/classifiers_pseudo_label"),
        ("entropy", "adapt/classifiers_entropy"),
    ):
        load_networks(stage.inputs / f"out/robust/{weights}.safetensors", networks)
        metrics |= compare(networks, trials, name, ways=ways, redraws=robust.redraws, seed=config.seed)
    captions = {"_before": "source only", "_pseudo_label": "pseudo-labels", "_entropy": "entropy"}
    group_accuracies(metrics, captions, stage.out / "group_accuracies.png")
    theory(stage.out / "theory.png")
    return metrics | headline(metrics, robust.objective)


if __name__ == "__main__":
    main()
