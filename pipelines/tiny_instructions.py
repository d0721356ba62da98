"""Count the instructions of every kind of layer of the chosen space, for a search that limits them."""

from pipelines.stage import Metrics, Stage, stage


@stage("tiny_instructions")
def main(stage: Stage) -> Metrics:
    from triptych.data.files import write_json
    from triptych.engine.profile import instruction_table
    from triptych.tiny.export import shape_graph
    from triptych.tiny.files import read_space
    from triptych.tiny.latency import covering

    config = stage.config
    space = read_space(stage.dep("space.json"), config.tiny.space, config.data)
    archs = covering(space) if config.tiny.search.instructions else []
    bits = config.tiny.quantization.weight_bits
    graphs = (shape_graph(space, arch, bits) for arch in archs)
    table = instruction_table(graphs, config.board, seed=config.seed)
    write_json(stage.out / "instructions.json", table)
    return {"subnets_profiled": len(archs), "kinds_of_layers": len(table)}


if __name__ == "__main__":
    main()
