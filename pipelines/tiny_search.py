"""Search the subnet that is most accurate within the board's limits."""

from pipelines.stage import Metrics, Stage, stage


@stage("tiny_search")
def main(stage: Stage) -> Metrics:
    import numpy as np

    from triptych.data.files import write_atomic, write_json
    from triptych.report.tiny import pareto
    from triptych.tiny.arch import ArchConfig
    from triptych.tiny.cost import board_limits, subnet_cost
    from triptych.tiny.files import hold_out, read_space, read_supernet, tensors
    from triptych.tiny.recalibrate import subnet_accuracy
    from triptych.tiny.search import Evolution, candidates_csv, pareto_front

    config = stage.config
    settings = config.tiny.search
    space = read_space(stage.dep("space.json"), config.tiny.space, config.data)
    supernet = read_supernet(stage.dep("supernet.safetensors"), space)
    train, held_out = hold_out(stage.split("train"), config.tiny.supernet.validation_size)
    x, _ = tensors(train.take(slice(settings.recalibration_size)), space.resolution)
    validation = tensors(held_out, space.resolution)

    def accuracy_of(arch: ArchConfig) -> float:
        return subnet_accuracy(supernet, arch, x, *validation)

    limits = board_limits(config.board, config.tiny.reserve)
    evolution = Evolution(space, subnet_cost, limits, accuracy_of, np.random.default_rng(config.seed))
    best = evolution.run(settings, progress=config.trainer.progress_bar)

    candidates = list(evolution.evaluated.values())
    front = pareto_front(candidates, lambda cost: cost.macs)
    write_json(stage.out / "arch.json", best.arch.to_json())
    write_atomic(stage.out / "pareto.csv", candidates_csv(candidates, front).encode())
    pareto(candidates, front, best, stage.out / "pareto.png")
    return {
        "validation_accuracy": best.accuracy,
        "subnets_evaluated": len(candidates),
        **best.cost.to_json(),
    }


if __name__ == "__main__":
    main()
