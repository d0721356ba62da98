"""Turn model.tflite into firmware: C for the board, and what it will need."""

from pipelines.stage import Metrics, Stage, stage


@stage("tiny_generate")
def main(stage: Stage) -> Metrics:
    from triptych.engine.eliminate import firmware_graph
    from triptych.engine.firmware import require_room, write_firmware
    from triptych.engine.inputs import read_inputs
    from triptych.engine.reference import run
    from triptych.graph.cost import constant_bytes, count_macs
    from triptych.graph.memory import plan
    from triptych.graph.tflite import read_tflite_file

    board = stage.config.board
    graph = read_tflite_file(stage.dep("model.tflite"))
    network = firmware_graph(graph, stage.config.tiny.engine)
    require_room(network, board)
    inputs, _ = read_inputs(stage.dep("test_inputs.safetensors"), graph)
    outputs = run(graph, inputs[:1])
    write_firmware(stage.out / "firmware", network, board, test_input=inputs[0], test_output=outputs[0])
    return {
        "arena": plan(network).peak,
        "arena_lower_bound": plan(network).lower_bound,
        "constants": constant_bytes(network),
        "macs": count_macs(graph),
        "macs_executed": count_macs(network),
    }


if __name__ == "__main__":
    main()
