"""Draw labelled samples from the released generator, in the prepared-data layout."""

from pipelines.stage import Metrics, Stage, stage


@stage("private_sample")
def main(stage: Stage) -> Metrics:
    from triptych.data.distort import distort
    from triptych.data.files import sha256
    from triptych.data.prepared import Split, write_prepared
    from triptych.data.weights import load_weights
    from triptych.privacy.certificate import read_certificate
    from triptych.private.generators import Generator
    from triptych.private.sampling import draw_samples
    from triptych.report.private import sample_grid

    config = stage.config
    trained = stage.inputs / "out/private/train"
    certificate = read_certificate(trained / "certificate.json", generator=trained / "generator.safetensors")
    generator = Generator(config.private.generator, config.data)
    load_weights(trained / "generator.safetensors", generator)
    drawn = draw_samples(generator, config.private.samples_per_class)
    strength = config.private.sample_distortion
    samples = Split(distort(drawn.images, strength, seed=config.seed), drawn.labels)
    card = {
        "name": f"{config.data.name}_synthetic",
        "classes": config.data.classes,
        "source": "samples of a generator trained with differential privacy",
        "certificate_sha256": sha256(trained / "certificate.json"),
        "epsilon": certificate["epsilon"],
        "delta": certificate["delta"],
    }
    write_prepared(stage.out, {"train": samples}, classes=config.data.classes, card=card)
    title = f"epsilon = {certificate['epsilon']:.4g}, delta = {certificate['delta']:g}"
    sample_grid(samples, stage.out / "samples.png", title=title)
    return {"samples": len(samples)}


if __name__ == "__main__":
    main()
