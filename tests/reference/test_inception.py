"""FID on Inception features: the file is checked before it is opened, the number is Fréchet's distance."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from triptych.data.files import sha256
from triptych.data.prepared import Split
from triptych.errors import DataError
from triptych.evaluation import inception
from triptych.evaluation.inception import check_weights, inception_fidelity


def test_another_file_is_refused_before_it_is_opened(tmp_path: Path):
    """Its format can run code."""
    with pytest.raises(DataError, match=r"inception=.*none\.pth does not exist"):
        check_weights(tmp_path / "none.pth")
    (tmp_path / "other.pth").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(DataError, match=r"has SHA-256 .* not 6726825d"):
        check_weights(tmp_path / "other.pth")


class Hostile:
    """Unpickling it would write a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.write_text, (self.trace, "run")


def test_file_of_the_right_digest_that_would_run_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The eight known digits of the digest can be forged in minutes."""
    path = tmp_path / "weights.pth"
    torch.save({"weights": Hostile(tmp_path / "trace")}, path)
    monkeypatch.setattr(inception, "SHA256_STARTS", sha256(path)[:8])
    with pytest.raises(DataError, match="holds more than tensors"):
        check_weights(path)
    assert not (tmp_path / "trace").exists()


def test_weights_alone_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The stricter loader must not refuse the real thing."""
    path = tmp_path / "weights.pth"
    torch.save({"weights": torch.zeros(3)}, path)
    monkeypatch.setattr(inception, "SHA256_STARTS", sha256(path)[:8])
    check_weights(path)


def frechet(first: np.ndarray, second: np.ndarray) -> float:
    """The formula of Heusel et al. 2017 (arXiv:1706.08500), without covariance matrices."""
    shift = first.mean(0) - second.mean(0)
    a, b = ((x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (first, second))
    root = np.linalg.norm(a @ b.T, "nuc")  # the trace of (cov a cov b)^(1/2)
    return float(shift @ shift + (a**2).sum() + (b**2).sum() - 2 * root)


@pytest.mark.paper  # its network is large
def test_fid_is_frechets_distance_of_inception_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """On random weights, since the published ones are not shipped: tiling, pooling and formula are seen."""
    torch.manual_seed(0)
    monkeypatch.setattr(
        "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", lambda *_, **__: {}
    )
    monkeypatch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
    network = FeatureExtractorInceptionV3("inception-v3-compat", ["64"])
    monkeypatch.undo()
    path = tmp_path / "weights.pth"
    torch.save(network.state_dict(), path)
    monkeypatch.setattr(inception, "SHA256_STARTS", sha256(path))

    rng = np.random.default_rng(0)
    splits = [
        Split(rng.integers(0, top, (12, 1, 28, 28)).astype(np.uint8), np.arange(12) % 10)
        for top in (256, 128)
    ]
    scores = inception_fidelity(*splits, weights=path)
    pooled = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(path))
    features = [
        pooled(torch.from_numpy(split.images).repeat(1, 3, 1, 1))[0].double().numpy() for split in splits
    ]
    assert scores["fid_inception"] == pytest.approx(frechet(*features), rel=1e-3, abs=1e-6)
    assert scores["fid_inception"] > 0
