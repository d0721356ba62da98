"""Turn the chosen subnet into an int8 network, model.tflite, and measure what that costs in accuracy."""

from pipelines.stage import Metrics, Stage, stage


@stage("tiny_quantize")
def main(stage: Stage) -> Metrics:
    from safetensors.torch import save

    from triptych.data.files import write_atomic
    from triptych.engine.reference import run
    from triptych.graph.tflite import write_tflite
    from triptych.quantization.calibrate import calibrate, run_float
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

    statistics = recalibrate(supernet, recalibration.split(BATCH), arch)
    network = export(supernet, arch, statistics)
    ranges = calibrate(network, calibration.split(BATCH))
    integer = lower(network, {**ranges, network.input: PIXEL_RANGE})

    inputs = to_int8(test)
    write_atomic(stage.out / "model.tflite", write_tflite(integer))
    write_atomic(stage.out / "test_inputs.safetensors", save({"inputs": inputs, "labels": labels}))
    return {
        "subnet_accuracy": (run_float(network, test).argmax(1) == labels).double().mean().item(),
        "int8_accuracy": float((run(integer, inputs.numpy()).argmax(1) == labels.numpy()).mean()),
        **subnet_cost(space, arch).to_json(),
    }


if __name__ == "__main__":
    main()
