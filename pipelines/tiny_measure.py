"""Compile the firmware, run it on the simulated board, and compare it byte for byte."""

from pipelines.stage import Metrics, Stage, stage


@stage("tiny_measure")
def main(stage: Stage) -> Metrics:
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from triptych.data.files import write_json
    from triptych.engine.eliminate import firmware_graph
    from triptych.engine.inputs import read_inputs
    from triptych.engine.measure import measure, tensor_table
    from triptych.graph.memory import plan
    from triptych.graph.tflite import read_tflite_file
    from triptych.report.memory import memory_map

    model = stage.dep("model.tflite")
    graph, content = read_tflite_file(model), model.read_bytes()
    network = firmware_graph(graph, stage.config.tiny.engine)
    inputs, labels = read_inputs(stage.dep("test_inputs.safetensors"), graph)
    size = stage.config.tiny.measure.inputs
    firmware = stage.dep("firmware")
    with TemporaryDirectory() as folder:
        result = measure(
            firmware, content, stage.config.board, inputs[:size], labels[:size], scratch=Path(folder)
        )
    memory_map(network, plan(network), stage.out / "memory_map.png")
    write_json(stage.out / "footprint.json", result.footprint | {"tensors": tensor_table(network)})
    return result.metrics


if __name__ == "__main__":
    main()
