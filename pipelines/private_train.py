"""Train a generator by `private.method`, and certify what it cost."""

import shutil

from pipelines.private_methods import TRAINERS
from pipelines.stage import Metrics, Stage, stage

REPORTED = ("epsilon", "epsilon_accountant", "delta", "noise_multiplier", "releases", "rng")


@stage("private_train")
def main(stage: Stage) -> Metrics:
    from triptych.data.files import write_json
    from triptych.data.weights import save_weights
    from triptych.privacy.certificate import issue
    from triptych.private.budget import affordable_steps, calibrated, check_devices, terms

    check_devices(stage.config.trainer, stage.config.private)
    private = calibrated(stage.config.private)
    limit = affordable_steps(private)
    ledger = stage.checkpoints / "ledger.jsonl"
    trained = TRAINERS[private.method](stage, private, ledger, limit)

    generator = stage.out / "generator.safetensors"
    save_weights(generator, trained.generator)
    certificate = issue(terms(private), ledger=ledger, generator=generator, steps_taken=trained.steps)
    write_json(stage.out / "certificate.json", certificate)
    shutil.copyfile(ledger, stage.out / "ledger.jsonl")
    costs = {f"epsilon_{name}": value for name, value in certificate["epsilon_by_accountant"].items()}
    steps = {"steps_paid": certificate["steps"], "steps_taken": certificate["steps_taken"]}
    return {**{name: certificate[name] for name in REPORTED}, **steps, **costs, **trained.metrics}


if __name__ == "__main__":
    main()
