"""The chosen subnet adapts to the unlabelled target by self-training.

Nothing is selected here by labels of the target or by sensitive data: the number
of epochs is fixed. The target images leave this stage with the labels that the
subnet gives them, for quantization; where the source has more, they are repeated.
"""

from typing import TYPE_CHECKING

from pipelines.stage import Metrics, Stage, stage

if TYPE_CHECKING:
    import numpy as np

    from triptych.tiny.subnet import Subnet


@stage("hinge_adapt")
def main(stage: Stage) -> Metrics:
    import numpy as np
    import torch

    from triptych.data.prepared import Split, write_prepared
    from triptych.data.shift import read_unlabelled
    from triptych.robust.diagnostics import confidence
    from triptych.tiny.files import read_arch, read_space, read_supernet, write_supernet
    from triptych.tiny.subnet import Subnet

    config = stage.config
    space = read_space(stage.dep("space.json"), config.tiny.space, config.data)
    supernet = read_supernet(stage.dep("supernet.safetensors"), space)
    subnet = Subnet(supernet, read_arch(stage.dep("arch.json"), space))
    target = read_unlabelled(stage.dep("unlabelled.safetensors").parent, "unlabelled", 0)

    before = subnet.classify(torch.from_numpy(target))
    _self_train(stage, subnet, target)
    after = subnet.classify(torch.from_numpy(target))

    write_supernet(stage.out / "supernet.safetensors", supernet)
    card = {"name": f"{config.data.name}_pseudo_labelled", "source": "target images, labels by the subnet"}
    size = max(len(stage.split("train")), len(target))
    labelled = Split(np.resize(target, (size, *target.shape[1:])), np.resize(after.numpy(), size))
    write_prepared(stage.out, {"train": labelled}, classes=config.data.classes, card=card)
    changed = (before != after).double().mean().item()
    return {**confidence(subnet, target), "pseudo_labels_changed": changed}


def _self_train(stage: Stage, subnet: "Subnet", target: "np.ndarray") -> None:
    """An epoch is one pass over the larger domain, beside which the other is repeated."""
    import numpy as np

    from triptych.data.files import write_atomic
    from triptych.robust.datamodule import TargetDataModule
    from triptych.robust.module import Adaptation
    from triptych.robust.objectives import make_objective

    config = stage.config
    robust = config.robust
    if not config.hinge.self_training:
        write_atomic(stage.out / "curves.csv", b"step\n")
        return
    source = stage.split("train")
    size = max(len(source), len(target))
    order = np.resize(np.arange(len(source)), size)
    repeated = np.resize(target, (size, *target.shape[1:]))
    data = TargetDataModule(
        [repeated], [source.take(order)], batch_size=robust.adapt.batch_size, seed=config.seed
    )
    objective = make_objective(robust.objective, robust, examples=size, classes=config.data.classes)
    stage.fit(Adaptation([subnet], objective, robust.adapt), data, epochs=robust.adapt.epochs)
    subnet.cpu()


if __name__ == "__main__":
    main()
