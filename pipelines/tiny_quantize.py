"""Turn the chosen subnet into an integer network, model.tflite, train it as such, and measure the loss."""

from typing import TYPE_CHECKING

from pipelines.stage import Metrics, Stage, stage

if TYPE_CHECKING:
    from triptych.data.prepared import Split
    from triptych.graph.ops import Graph
    from triptych.quantization.fake import FakeQuantized


def train_on(stage: Stage, network: "FakeQuantized", train: "Split") -> "Graph":
    """Quantization-aware training; returns the float network that it ends with."""
    from triptych.data.datamodule import SplitDataModule
    from triptych.tiny.finetune import FineTuning

    tiny = stage.config.tiny
    _, size, _, _ = network.graph[network.graph.input].shape
    data = SplitDataModule(train, batch_size=tiny.supernet.batch_size, seed=stage.config.seed, drop_last=True)
    stage.fit(FineTuning(network, size, tiny.quantization), data, epochs=tiny.quantization.epochs)
    return network.cpu().trained()


@stage("tiny_quantize")
def main(stage: Stage) -> Metrics:
    from safetensors.torch import save

    from triptych.data.files import write_atomic
    from triptych.engine.reference import run
    from triptych.graph.tflite import write_tflite
    from triptych.quantization.calibrate import calibrate, run_float
    from triptych.quantization.fake import FakeQuantized
    from triptych.quantization.lower import lower
    from triptych.tiny.cost import subnet_cost
    from triptych.tiny.export import export
    from triptych.tiny.files import hold_out, read_arch, read_space, read_supernet, tensors
    from triptych.tiny.inputs import PIXEL_RANGE, to_int8
    from triptych.tiny.recalibrate import BATCH, recalibrate

    config = stage.config
    space = read_space(stage.dep("space.json"), config.tiny.space, config.data)
    supernet = read_supernet(stage.dep("supernet.safetensors"), space)
    arch = read_arch(stage.dep("arch.json"), space)
    train, _ = hold_out(stage.split("train"), config.tiny.supernet.validation_size)
    recalibration, calibration = (
        tensors(train.take(slice(size)), space.resolution)[0]
        for size in (config.tiny.search.recalibration_size, config.tiny.quantization.calibration_size)
    )
    test, labels = tensors(stage.split("test"), space.resolution)

    network = export(supernet, arch, recalibrate(supernet, recalibration.split(BATCH), arch))
    ranges = {**calibrate(network, calibration.split(BATCH)), network.input: PIXEL_RANGE}
    bits = config.tiny.quantization.weight_bits
    rounded = FakeQuantized(network, ranges, weight_bits=bits)
    integer = lower(train_on(stage, rounded, train), ranges, weight_bits=bits)

    inputs = to_int8(test)
    write_atomic(stage.out / "model.tflite", write_tflite(integer))
    write_atomic(stage.out / "test_inputs.safetensors", save({"inputs": inputs, "labels": labels}))
    as_float = (run_float(network, test).argmax(1) == labels).double().mean().item()
    after_training, as_int8 = (
        float((run(graph, inputs.numpy()).argmax(1) == labels.numpy()).mean())
        for graph in (lower(network, ranges, weight_bits=bits), integer)
    )
    return {
        "subnet_accuracy": as_float,
        "post_training_accuracy": after_training,
        "int8_accuracy": as_int8,
        "accuracy_drop": as_float - as_int8,
        **subnet_cost(space, arch, weight_bits=bits).to_json(),
    }


if __name__ == "__main__":
    main()
