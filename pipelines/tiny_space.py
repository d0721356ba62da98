"""Choose the search space: the width and resolution whose fitting subnets compute most."""

from pipelines.stage import Metrics, Stage, stage


@stage("tiny_space")
def main(stage: Stage) -> Metrics:
    import numpy as np
    from tqdm import tqdm

    from triptych.data.files import write_json
    from triptych.report.tiny import macs_cdf
    from triptych.tiny.arch import search_spaces
    from triptych.tiny.cost import board_limits, require_feasible, subnet_cost
    from triptych.tiny.space import choose, survey

    config = stage.config
    settings = config.tiny.space
    limits = board_limits(config.board, config.tiny.reserve)
    spaces = search_spaces(settings, config.data)
    require_feasible(spaces, subnet_cost, limits)
    bar = tqdm(spaces, desc="space", disable=not config.trainer.progress_bar)
    surveys = [
        survey(
            space, subnet_cost, limits, samples=settings.samples, rng=np.random.default_rng((config.seed, i))
        )
        for i, space in enumerate(bar)
    ]
    chosen = choose(surveys, settings.min_share)
    report = {"chosen": chosen.to_json(), "spaces": [each.to_json() for each in surveys]}
    write_json(stage.out / "space.json", report)
    macs_cdf(surveys, chosen, stage.out / "macs_cdf.png")
    return chosen.to_json()


if __name__ == "__main__":
    main()
