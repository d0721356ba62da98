"""Train each discriminator on its shard; the result is private and never released."""

from pipelines.stage import Metrics, Stage, stage

WARM = ("gswgan", "gpate")  # methods with an ensemble; the others start from an empty file


@stage("private_warm_start")
def main(stage: Stage) -> Metrics:
    from torch.nn import ModuleDict

    from triptych.data.partition import partition
    from triptych.data.prepared import read_split
    from triptych.data.weights import save_weights
    from triptych.private.batches import ShardDataModule, StepBatches
    from triptych.private.budget import check_devices
    from triptych.private.ranks import strategy
    from triptych.private.warm_start import WarmStart

    config = stage.config
    private = config.private
    check_devices(config.trainer, private)
    if private.method not in WARM:
        save_weights(stage.out / "discriminators.safetensors", ModuleDict())
        return {"shard_size": 0}
    train = read_split(stage.inputs / "data/prepared/real", "train")
    shards = partition(len(train), private.discriminators, seed=config.seed)
    batches = StepBatches(
        train,
        shards,
        steps=private.warm_start.steps,
        repeats=private.warm_start.discriminator_steps,
        batch_size=private.discriminator.batch_size,
        seed=config.seed,
    )
    module = WarmStart(private, config.data)
    data, processes = ShardDataModule(batches), strategy(config.trainer)
    stage.fit(module, data, epochs=1, curves="private_curves.csv", strategy=processes)
    save_weights(stage.out / "discriminators.safetensors", module.ensemble)
    return {"shard_size": shards.shape[1]}


if __name__ == "__main__":
    main()
