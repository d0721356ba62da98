"""The whole pipeline at its smallest size, run as a user runs it.

The tests of this file share one clone and build on each other in order.
"""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.models import Model

from tests.pipelines.conftest import Checkout
from triptych.data.distort import distort
from triptych.data.files import read_json, sha256, write_json
from triptych.data.prepared import read_split
from triptych.errors import IntegrityError
from triptych.tracking.chain import seal, verify


@pytest.fixture(scope="module")
def repro(checkout: Checkout) -> str:
    """What `dvc repro` prints in a fresh clone."""
    return checkout.run("dvc", "repro").stdout


def ran(output: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", output))


def runs(checkout: Checkout, store: str = "mlflow.db") -> list[str]:
    """Stage of every run in the store, parents left out."""
    client = MlflowClient(f"sqlite:///{checkout.path}/{store}")
    names = (run.data.tags["triptych.stage"] for run in client.search_runs(["1"]))
    return sorted(name for name in names if not name.startswith("pipeline_"))


def stages(checkout: Checkout) -> set[str]:
    names = set(yaml.safe_load((checkout.path / "dvc.yaml").read_text())["stages"])
    return names - {"compose"}


def test_fresh_clone_reproduces_everything(checkout: Checkout, repro: str):
    """One command from a clone to firmware."""
    assert stages(checkout) <= ran(repro)
    assert (checkout.path / "out/tiny/generate/firmware/model.c").exists()
    assert (checkout.path / "out/private/train/certificate.json").exists()


def test_table_names_every_result(checkout: Checkout, repro: str):
    """What people see at the end of `make repro`."""
    table = checkout.run("python", "-m", "pipelines.summary").stdout
    for words in ("epsilon", "inception score", "FID", "target accuracy", "subnet accuracy", "peak SRAM"):
        assert words in table
    assert "make dashboard" in table


def test_every_stage_is_one_finished_run(checkout: Checkout, repro: str):
    """The dashboard shows the pipeline, each stage once."""
    assert runs(checkout) == sorted(stages(checkout))
    client = MlflowClient(f"sqlite:///{checkout.path}/mlflow.db")
    assert {run.info.status for run in client.search_runs(["1"])} == {"FINISHED"}


def test_figures_are_artifacts(checkout: Checkout, repro: str):
    """Pictures are where people look."""
    client = MlflowClient(f"sqlite:///{checkout.path}/mlflow.db")
    (run,) = client.search_runs(["1"], "tags.`triptych.stage` = 'private_sample'")
    assert [a.path for a in client.list_artifacts(run.info.run_id, "figures")] == ["figures/samples.png"]


def test_samples_may_be_distorted_after_training(checkout: Checkout, repro: str, tmp_path: Path):
    """The same drawings in other poses, from the same certified generator."""
    plain = "tracking.uri=null"
    checkout.stage("private_sample", plain, f"out={tmp_path / 'bent'}", "private.sample_distortion=0.5")
    checkout.stage("private_sample", plain, f"out={tmp_path / 'plain'}")
    bent, drawn = (read_split(tmp_path / name, "train") for name in ("bent", "plain"))
    assert (bent.images == distort(drawn.images, 0.5, seed=0)).all()
    assert (bent.images != drawn.images).any()
    assert (bent.labels == drawn.labels).all()


def test_a_generator_without_discriminators_trains_at_rest(checkout: Checkout, repro: str, tmp_path: Path):
    """Weights of DP-MERF know nothing of poses; its samples have them."""
    digests = []
    for distortion in ("0", "0.5"):
        out = tmp_path / distortion
        settings = [
            "private.method=dp_merf",
            "private.dp_merf.steps=20",
            f"private.generator.distortion={distortion}",
        ]
        checkout.stage("private_train", *settings, f"out={out}", "tracking.uri=null")
        digests.append(sha256(out / "generator.safetensors"))
    assert digests[0] == digests[1]


def test_private_curves_stay_out_of_the_store(checkout: Checkout, repro: str):
    """Losses on private data are not covered by epsilon."""
    client = MlflowClient(f"sqlite:///{checkout.path}/mlflow.db")
    (run,) = client.search_runs(["1"], "tags.`triptych.stage` = 'private_warm_start'")
    metrics = json.loads((checkout.path / "out/private/warm_start/metrics.json").read_text())
    assert {name for name in run.data.metrics if not name.startswith("system/")} <= set(metrics)


def test_second_repro_runs_nothing(checkout: Checkout, repro: str):
    """Unchanged work is not repeated."""
    assert "up to date" in checkout.run("dvc", "repro").stdout


def upstream(checkout: Checkout, last: str) -> set[str]:
    """The stages whose results flow into `last`, itself included."""
    declared = yaml.safe_load((checkout.path / "dvc.yaml").read_text())["stages"]
    written = {
        path: name
        for name, stage in declared.items()
        for group in ("outs", "metrics", "plots")
        for item in stage.get(group, [])
        for path in ([item] if isinstance(item, str) else item)
    }
    found, queue = set(), [last]
    while queue:
        name = queue.pop()
        found.add(name)
        deps = declared[name]["deps"]
        made_by = {by for path, by in written.items() for dep in deps if (path + "/").startswith(f"{dep}/")}
        queue += made_by - found - {"compose"}
    return found


def opened(checkout: Checkout, name: str) -> list[str]:
    """The data files that a stage opened while it ran, as Python's audit events tell."""
    command = yaml.safe_load((checkout.path / "dvc.yaml").read_text())["stages"][name]["cmd"]
    return json.loads((checkout.path / command.split("out=")[-1] / "run.json").read_text())["opened"]


def test_only_the_generators_training_opens_the_sensitive_data(checkout: Checkout, repro: str):
    """The chain's epsilon is that of the generator because nothing after it sees a sensitive image."""
    chain = upstream(checkout, "hinge")
    assert {"private_sample", "hinge_adapt", "hinge_measure"} < chain
    sensitive = {"data/prepared/real/train.safetensors"}
    readers = {name for name in chain - {"prepare"} if sensitive & set(opened(checkout, name))}
    assert readers == {"private_warm_start", "private_train"}
    assert not any(
        path.startswith("data/raw") for name in chain - {"prepare"} for path in opened(checkout, name)
    )


@pytest.mark.skipif("TRIPTYCH_MIRROR" not in os.environ, reason="needs USPS: set TRIPTYCH_MIRROR")
def test_chain_to_usps_opens_no_sensitive_image_either(checkout: Checkout, repro: str):
    """The one stage that differs; those after it are refused what their entries do not declare."""
    folder = checkout.path / "to_usps"
    sizes = ["hinge.unlabelled_size=100", "tracking.uri=null"]
    checkout.run(
        *("python", "-m", "pipelines.hinge_data", "experiment=hinge/smoke", "hinge=usps"),
        *(*sizes, f"out={folder}"),
    )
    read = read_json(folder / "run.json")["opened"]
    assert "out/private/synthetic/train.safetensors" in read
    assert all(path.startswith(("out/private/synthetic/", "data/raw/usps/")) for path in read)
    assert read_json(folder / "metrics.json")["target_test_size"] == 2007
    declared = yaml.safe_load((checkout.path / "dvc.yaml").read_text())["stages"]
    after = upstream(checkout, "hinge") - upstream(checkout, "hinge_data")
    assert {"hinge_adapt", "hinge_measure"} < after
    assert not any(dep.startswith("data") for name in after for dep in declared[name]["deps"])


def test_stages_that_evaluate_on_sensitive_data_are_marked_and_outside_the_chain(
    checkout: Checkout, repro: str
):
    """Their numbers are for the owner of the data; epsilon does not cover them."""
    for name in ("reference", "private_evaluate"):
        folder = checkout.path / ("out/reference" if name == "reference" else "out/private/evaluate")
        assert "data/prepared/real/train.safetensors" in opened(checkout, name)
        assert "not covered by epsilon" in json.loads((folder / "metrics.json").read_text())["coverage"]
        assert name not in upstream(checkout, "hinge")


def test_chain_ends_with_one_certificate_that_fits_its_files(checkout: Checkout, repro: str):
    """One epsilon, one accuracy on the board, one peak SRAM, and a digest of everything in between."""
    certificate = read_json(checkout.path / "out/hinge/chain/certificate.json")
    promised = read_json(checkout.path / "out/private/train/certificate.json")["epsilon"]
    measured = read_json(checkout.path / "out/hinge/measure/metrics.json")
    assert certificate["claims"]["privacy"]["epsilon"] == promised
    assert certificate["claims"]["accuracy"]["target_accuracy"] == measured["board_accuracy"]
    assert certificate["claims"]["board"]["peak_sram"] == measured["peak_sram"]
    assert verify(certificate, checkout.path) > 30
    model = checkout.path / "out/hinge/quantize/model.tflite"
    whole = model.read_bytes()
    model.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(IntegrityError, match=r"out/hinge/quantize/model\.tflite is not what hinge_quantize"):
        verify(certificate, checkout.path)
    model.write_bytes(whole)


def test_pipeline_signs_so_that_an_artefact_changed_with_its_certificate_is_found(
    checkout: Checkout, repro: str
):
    """All digests can be computed anew by whoever changes a file; the signature of this machine cannot."""
    said = checkout.run("triptych", "certificate", "verify").stdout
    public = checkout.run("triptych", "certificate", "key").stdout.split()[-1]
    assert f"signed by {public}" in said
    path = checkout.path / "out/hinge/chain/certificate.json"
    honest, certificate = path.read_bytes(), read_json(path)
    certificate["claims"]["privacy"]["epsilon"] /= 2
    write_json(path, seal(certificate["claims"], certificate["chain"]))
    refused = checkout.run("triptych", "certificate", "verify", check=False)
    assert refused.returncode == 1
    assert "does not sign this certificate" in refused.stdout
    path.write_bytes(honest)


def test_plots_can_be_drawn(checkout: Checkout, repro: str):
    """`dvc plots` reads the curves that the stages declare."""
    assert "index.html" in checkout.run("dvc", "plots", "show").stdout


def test_noise_reruns_what_depends_on_it_and_nothing_else(checkout: Checkout, repro: str):
    """Stages depend on the keys they use: not the warm start, not the other panels."""
    author = ["-c", "user.name=Tester", "-c", "user.email=tester@example.org"]
    checkout.run("git", "add", "--all")
    checkout.run("git", *author, "commit", "--quiet", "--message", "Results")
    override = "overrides.yaml:private=['private.noise_multiplier=4']"
    targets = ["private_evaluate", "hinge_data"]  # the chain begins with the samples; its rest takes a minute
    output = checkout.run("dvc", "exp", "run", "--set-param", override, *targets).stdout
    changed = ran(output)
    private = {"compose@private", "private_train", "private_sample", "private_evaluate"}
    assert changed == {*private, "hinge_data"}
    table = checkout.run("dvc", "metrics", "diff", "--json").stdout
    train = json.loads(table)["out/private/train/metrics.json"]
    assert train["epsilon"]["new"] < train["epsilon"]["old"]
    assert train["noise_multiplier"]["new"] == 4


def test_cache_hit_shows_the_existing_run(checkout: Checkout, repro: str):
    """Going back restores results without a new run in the store."""
    before = runs(checkout)
    assert len(before) == len(stages(checkout)) + 4
    checkout.override()
    assert "private_train" not in ran(checkout.run("dvc", "repro").stdout)
    checkout.run("python", "-m", "pipelines.sync")
    assert runs(checkout) == before


def test_empty_store_is_filled_from_the_results(checkout: Checkout, repro: str):
    """The files are the truth; MLflow is their picture."""
    checkout.run("python", "-m", "pipelines.sync", "tracking.uri=sqlite:///fresh.db")
    assert runs(checkout, "fresh.db") == sorted(stages(checkout))
    client = MlflowClient(f"sqlite:///{checkout.path}/fresh.db")
    query = "metrics.epsilon > 0 and metrics.peak_sram < 320000 and tags.`triptych.stage` = 'pipeline_hinge'"
    (parent,) = client.search_runs(["1"], query)
    below = client.search_runs(["1"], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert "hinge_measure" in {run.data.tags["triptych.stage"] for run in below}
    (version,) = client.search_model_versions("name='triptych-chain'")
    assert float(version.tags["epsilon"]) == parent.data.metrics["epsilon"]
    (generator,) = client.search_model_versions("name='triptych-generator'")
    assert generator.tags["epsilon"] == version.tags["epsilon"]
    model = Model.load(client.download_artifacts(str(generator.run_id), "model", str(checkout.path.parent)))
    assert model.signature is not None
    assert model.signature.outputs.input_names() == ["images"]


def test_multirun_sweeps_through_joblib(checkout: Checkout, repro: str):
    """A person sweeps a stage without DVC, two jobs at a time."""
    output = checkout.run(
        "python", "-m", "pipelines.private_train", "-m", "experiment=smoke", "private.noise_multiplier=3,5"
    ).stdout
    assert "Joblib.Parallel(n_jobs=2" in output
    (folder,) = (checkout.path / "multirun").glob("*/*")
    epsilons = [json.loads((folder / job / "metrics.json").read_text())["epsilon"] for job in "01"]
    assert epsilons[0] > epsilons[1]
    assert runs(checkout).count("private_train") == 4  # noise 2.5, 4, 3, 5


def test_rivals_side_by_side(checkout: Checkout, repro: str):
    """One command trains methods at one epsilon, another compares them; what exists is used."""
    overrides = [
        "experiment=smoke",
        "private.method=dp_merf_ae,gpate",
        "private.dp_merf_ae.steps=20",
        "private.dp_merf_ae.encoder_steps=20",
        "private.gpate.steps=20",
    ]
    checkout.run("python", "-m", "pipelines.private_compare", "-m", *overrides, "hydra.launcher.n_jobs=1")
    (folder,) = {path.parent for path in (checkout.path / "multirun").glob("*/*/0/out")}
    sweep = folder.parent
    assert all((sweep / job / "out/reference").is_symlink() for job in "01")
    table = checkout.run("python", "-m", "pipelines.rivals", str(sweep)).stdout
    assert "| dp_merf_ae | 10 | 0 |" in table
    assert "| gpate | 10 | 0 |" in table
    with (sweep / "private_rivals.csv").open(newline="") as handle:
        epsilons = [float(row["epsilon"]) for row in csv.DictReader(handle)]
    assert all(9.9 < epsilon <= 10 for epsilon in epsilons)
    assert len(epsilons) == 2
    assert (sweep / "private_rivals_digits_samples.png").exists()


def test_the_same_comparison_twice_at_once_pays_once(checkout: Checkout, repro: str):
    """The second waits for each result of the first, whose checkpoints and ledger it would share."""
    command = [
        sys.executable,
        "-m",
        "pipelines.private_compare",
        "experiment=smoke",
        "seed=3",
        "tracking.uri=null",
    ]
    jobs = [
        subprocess.Popen(
            [*command, "hydra.run.dir=multirun/twice"], cwd=checkout.path, env=checkout.environment
        )
        for _ in range(2)
    ]
    assert [job.wait(timeout=600) for job in jobs] == [0, 0]
    trained = checkout.path / "multirun/twice/out/private/train"
    certificate = read_json(trained / "certificate.json")
    assert certificate["steps"] == certificate["steps_taken"] == 20
    lines = (trained / "ledger.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 20, "the mechanism, and a line a step"


def test_a_search_that_limits_instructions_counts_them_first(checkout: Checkout, repro: str):
    """DVC follows the counts: another board, space or kernel of the engine, and they are made again."""
    checkout.override(tiny=["tiny.search.instructions=true", "tiny.search.max_instructions=420000"])
    changed = ran(checkout.run("dvc", "repro", "tiny_search").stdout)
    assert changed == {"compose@tiny", "tiny_instructions", "tiny_search"}
    table = read_json(checkout.path / "out/tiny/instructions/instructions.json")
    assert any(key.startswith("DepthwiseConv2D") for key in table)
    assert 0 < read_json(checkout.path / "out/tiny/search/metrics.json")["instructions"] <= 420_000
    assert ran(checkout.run("dvc", "repro", "tiny_search").stdout) == set()
