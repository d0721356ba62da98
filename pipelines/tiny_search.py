"""Search the subnet that is most accurate within the board's limits."""

from pipelines.stage import Metrics, Stage, stage


@stage("tiny_search")
def main(stage: Stage) -> Metrics:
    from dataclasses import replace

    import numpy as np

    from triptych.data.files import write_atomic, write_json
    from triptych.report.tiny import pareto
    from triptych.tiny.cost import board_limits, subnet_cost
    from triptych.tiny.files import hold_out, read_space, read_supernet, tensors
    from triptych.tiny.latency import read_table
    from triptych.tiny.predictor import search
    from triptych.tiny.recalibrate import Judge
    from triptych.tiny.search import Evolution, candidates_csv, pareto_front
    from triptych.tiny.tables import CostTables

    config = stage.config
    settings = config.tiny.search
    space = read_space(stage.dep("space.json"), config.tiny.space, config.data)
    supernet = read_supernet(stage.dep("supernet.safetensors"), space)
    train, held_out = hold_out(stage.split("train"), config.tiny.supernet.validation_size)
    x, _ = tensors(train.take(slice(settings.recalibration_size)), space.resolution)
    judge = Judge(supernet, x, *tensors(held_out, space.resolution))

    bits = config.tiny.quantization.weight_bits
    tables = CostTables(space, bits)
    table = read_table(stage.dep("instructions.json")) if settings.instructions else None
    limits = replace(
        board_limits(config.board, config.tiny.reserve),
        macs=settings.max_macs,
        instructions=settings.max_instructions,
    )
    evolution = Evolution(
        space,
        lambda space, arch: subnet_cost(space, arch, table, weight_bits=bits),
        limits,
        judge.accuracy,
        np.random.default_rng(config.seed),
        may_fit=lambda arch: tables.may_fit(arch, limits),
    )
    best, predicted = search(evolution, settings, judge.likelihood, progress=config.trainer.progress_bar)

    candidates = list(evolution.evaluated.values())
    write_json(stage.out / "arch.json", best.arch.to_json())
    front = pareto_front(candidates, lambda cost: cost.macs)
    write_atomic(stage.out / "pareto.csv", candidates_csv(candidates, front).encode())
    pareto(candidates, best, stage.out / "pareto.png")
    return {
        "validation_accuracy": best.accuracy,
        "subnets_evaluated": len(candidates),
        **predicted,
        **best.cost.to_json(),
    }


if __name__ == "__main__":
    main()
