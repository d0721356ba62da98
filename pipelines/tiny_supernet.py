"""Train the supernet: its largest subnet first, then the others as the schedule says."""

from pipelines.stage import Metrics, Stage, stage


@stage("tiny_supernet")
def main(stage: Stage) -> Metrics:
    from copy import deepcopy

    import numpy as np

    from triptych.data.datamodule import SplitDataModule
    from triptych.tiny.files import hold_out, read_space, tensors, write_supernet
    from triptych.tiny.module import SupernetModule
    from triptych.tiny.processes import strategy
    from triptych.tiny.recalibrate import subnet_accuracy
    from triptych.tiny.schedule import schedule
    from triptych.tiny.supernet import Supernet

    config = stage.config
    settings = config.tiny.supernet
    space = read_space(stage.dep("space.json"), config.tiny.space, config.data)
    train, held_out = hold_out(stage.split("train"), settings.validation_size)
    data = SplitDataModule(train, held_out, batch_size=settings.batch_size, seed=config.seed, drop_last=True)

    supernet = Supernet(space)
    teacher = None
    for phase in schedule(space, settings):
        if phase.sorts:
            supernet.sort_channels()
        module = SupernetModule(supernet, settings, phase, teacher)
        curves = f"curves/{phase.name}.csv"
        processes = strategy(config.trainer, settings.batch_size, phase)
        stage.fit(module, data, epochs=phase.epochs, curves=curves, strategy=processes)
        teacher = teacher or deepcopy(supernet)  # as it is after the first phase
    supernet.cpu()
    write_supernet(stage.out / "supernet.safetensors", supernet)

    x, _ = tensors(train.take(slice(config.tiny.search.recalibration_size)), space.resolution)
    test = tensors(stage.split("test"), space.resolution)
    rng = np.random.default_rng(config.seed)
    randoms = [subnet_accuracy(supernet, space.random(rng), x, *test) for _ in range(5)]
    return {
        "smallest_subnet_accuracy": subnet_accuracy(supernet, space.smallest(), x, *test),
        "largest_subnet_accuracy": subnet_accuracy(supernet, space.largest(), x, *test),
        "random_subnet_accuracy": float(np.mean(randoms)),
        "supernet_parameters": sum(p.numel() for p in supernet.parameters()),
    }


if __name__ == "__main__":
    main()
