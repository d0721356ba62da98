"""The chain's two domains: private samples whose colour follows the label, and an unlabelled target.

Neither this stage nor any after it opens the sensitive images; the target's are
held-out ones, which the generator has never seen.
"""

from pipelines.stage import Metrics, Stage, stage


@stage("hinge_data")
def main(stage: Stage) -> Metrics:
    from dataclasses import asdict

    from triptych.data.prepared import read_card
    from triptych.data.shift import ColourLaw
    from triptych.data.target import coloured, write_domains
    from triptych.report.robust import coloured_samples

    config = stage.config
    data = config.data
    law = ColourLaw(10, config.robust.shift.p, config.seed)
    domains = coloured(
        stage.split("train"),
        stage.split("test"),
        law,
        source_test=config.hinge.source_test_size,
        unlabelled=config.hinge.unlabelled_size,
    )
    cards = (
        {**read_card(stage.dep("card.json").parent), "colour_law": asdict(law)},
        {"name": f"{data.name}_coloured", "source": "held-out images in random colours"},
    )
    write_domains(stage.out, domains, classes=data.classes, cards=cards)
    coloured_samples(domains.source["train"], domains.target_test, stage.out / "samples.png")
    return {
        "source_size": len(domains.source["train"]),
        "unlabelled_size": len(domains.unlabelled),
        "target_test_size": len(domains.target_test),
    }


if __name__ == "__main__":
    main()
