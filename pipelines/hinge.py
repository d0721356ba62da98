"""The end of the chain: one signed certificate from the sensitive set to the board.

Reads results alone. What it says of privacy follows from post-processing: every
stage after the generator works on samples and on the target's images.
"""

from pipelines.stage import Metrics, Stage, stage
from triptych.tracking.chain import Step

TRAINING = ("data", "space", "supernet", "instructions", "search", "adapt")
DEVICE = ("quantize", "generate", "measure")
STEPS = (
    Step("out/private/train", ("generator.safetensors", "certificate.json")),
    Step("out/private/synthetic"),
    *(Step(f"out/hinge/{name}") for name in (*TRAINING, *DEVICE)),
)


@stage("hinge")
def main(stage: Stage) -> Metrics:
    from triptych.data.files import read_json, write_json
    from triptych.privacy.certificate import read_certificate
    from triptych.report.hinge import claims, headline
    from triptych.tracking.chain import links, seal, verify
    from triptych.tracking.signature import ensure_own_key, sign

    root = stage.inputs
    private = root / "out/private/train"
    promise = read_certificate(private / "certificate.json", generator=private / "generator.safetensors")
    metrics = {
        name: read_json(root / f"out/hinge/{name}/metrics.json")
        for name in ("data", "search", "adapt", "quantize", "measure")
    }
    said = claims(promise, metrics, board=stage.config.board, hinge=stage.config.hinge)
    certificate = seal(said, links(root, STEPS))
    verify(certificate, root)
    path = stage.out / "certificate.json"
    write_json(path, certificate)
    sign(path, ensure_own_key())
    return headline(promise, metrics)


if __name__ == "__main__":
    main()
