"""Choose the search space: the width and resolution whose fitting subnets compute most."""

from pipelines.stage import Metrics, Stage, stage


@stage("tiny_space")
def main(stage: Stage) -> Metrics:
    from functools import partial
    from typing import cast

    import numpy as np
    from tqdm import tqdm

    from triptych.data.files import write_json
    from triptych.report.tiny import macs_cdf, macs_front
    from triptych.tiny.arch import search_spaces
    from triptych.tiny.cost import board_limits, require_feasible, subnet_cost
    from triptych.tiny.exact import Memory
    from triptych.tiny.front import front
    from triptych.tiny.space import choose, count, sample, sensitivity
    from triptych.tiny.tables import CostTables

    config = stage.config
    settings = config.tiny.space
    memory = cast(Memory, settings.memory)
    limits = board_limits(config.board, config.tiny.reserve)
    spaces = search_spaces(settings, config.data)
    bits = config.tiny.quantization.weight_bits
    require_feasible(spaces, partial(subnet_cost, weight_bits=bits), limits)
    bar = tqdm(spaces, "space", disable=not config.trainer.progress_bar)
    tables = [CostTables(space, bits) for space in bar]
    surveys = {
        "sampling": [
            sample(each, limits, memory=memory, samples=settings.samples, rng=rng)
            for each, rng in zip(tables, np.random.default_rng(config.seed).spawn(len(tables)), strict=True)
        ],
        "exact": [count(each, limits, memory=memory) for each in tables],
    }
    chosen = choose(surveys[settings.method], settings.min_share)
    report = {
        "method": settings.method,
        "memory": settings.memory,
        "chosen": chosen.to_json(),
        "spaces": {method: [each.to_json() for each in found] for method, found in surveys.items()},
        "sensitivity": sensitivity(tables, config.board, config.tiny.reserve, settings),
    }
    write_json(stage.out / "space.json", report)
    macs_cdf(surveys["exact"], surveys["sampling"], chosen, stage.out / "macs_cdf.png")
    best = front(tables[spaces.index(chosen.space)], limits)
    np.savetxt(stage.out / "front.csv", best, "%d", ",", header="peak_sram,flash,macs", comments="")
    macs_front(best, chosen.space, stage.out / "front.png")
    return {**chosen.to_json(), "front_size": len(best)}


if __name__ == "__main__":
    main()
