"""The chain's two domains: private samples as the source, and an unlabelled target.

Neither this stage nor any after it opens the sensitive images. The target is
either held-out images, which the generator has never seen, in colours that do
not follow the label as the samples' do, or USPS.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.stage import Metrics, Stage, stage

if TYPE_CHECKING:
    from triptych.data.target import Domains


@stage("hinge_data")
def main(stage: Stage) -> Metrics:
    from triptych.data.prepared import read_card
    from triptych.data.target import write_domains
    from triptych.report.robust import coloured_samples

    domains, law, target_card = _domains(stage)
    cards = ({**read_card(stage.dep("card.json").parent), "colour_law": law}, target_card)
    write_domains(stage.out, domains, classes=stage.config.data.classes, cards=cards)
    coloured_samples(domains.source["train"], domains.target_test, stage.out / "samples.png")
    return {
        "source_size": len(domains.source["train"]),
        "unlabelled_size": len(domains.unlabelled),
        "target_test_size": len(domains.target_test),
    }


def _domains(stage: Stage) -> tuple["Domains", dict[str, Any] | None, dict[str, Any]]:
    """Both domains, the law of the source's colours, what is to be said of the target."""
    from dataclasses import asdict

    from triptych.data import usps
    from triptych.data.distort import distort
    from triptych.data.prepared import Split
    from triptych.data.shift import ColourLaw
    from triptych.data.target import Sizes, coloured, elsewhere

    config, hinge = stage.config, stage.config.hinge
    drawn = stage.split("train")
    samples = Split(distort(drawn.images, hinge.distortion, seed=config.seed), drawn.labels)
    sizes = Sizes(hinge.source_test_size, hinge.unlabelled_size, hinge.source_size)
    if hinge.target == "usps":
        target = usps.load_usps(Path("data/raw"), samples.images.shape[-1])
        return (
            elsewhere(samples, target, sizes, seed=config.seed),
            None,
            {"name": "usps", **usps.card(target)},
        )
    law = ColourLaw(10, config.robust.shift.p, config.seed)
    card = {"name": f"{config.data.name}_coloured", "source": "held-out images in random colours"}
    return coloured(samples, stage.split("test"), law, sizes), asdict(law), card


if __name__ == "__main__":
    main()
