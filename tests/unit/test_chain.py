"""The chain's certificate: whatever was changed after it is found, and nothing sensitive is in it."""

import json
from pathlib import Path

import pytest

from triptych.data.files import digest_of, read_json, sha256, write_json
from triptych.errors import DataError, IntegrityError, OutputError
from triptych.tracking.chain import WITHHELD, Step, links, seal, verify
from triptych.tracking.signature import (
    create_key,
    ensure_own_key,
    public_key,
    sign,
    signature_path,
    verify_signature,
)

STEPS = (Step("out/private", ("generator",)), Step("out/samples"), Step("out/board"))


def stage(root: Path, name: str, reads: list[str], **files: str) -> None:
    """A finished stage that read files and wrote others."""
    folder = root / "out" / name
    for file, text in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    data = {path: digest_of(root / path, root=root) for path in reads}
    write_json(folder / "run.json", {"stage": name, "fingerprint": f"mark of {name}", "data": data})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    sensitive = tmp_path / "data/sensitive"
    sensitive.parent.mkdir()
    sensitive.write_text("patients")
    stage(tmp_path, "private", ["data/sensitive"], generator="weights", discriminators="secret")
    stage(tmp_path, "samples", ["out/private/generator"], train="images")
    stage(tmp_path, "board", ["out/samples/train"], firmware="code")
    return tmp_path


@pytest.fixture
def certificate(root: Path) -> dict:
    return seal({"epsilon": 9.9}, links(root, STEPS))


def test_untouched_chain_is_verified(root: Path, certificate: dict):
    """One released file of the private stage, two of each other."""
    assert verify(certificate, root) == 5


@pytest.mark.parametrize("path", ["out/private/generator", "out/samples/train", "out/board/firmware"])
def test_every_changed_artefact_is_named(root: Path, certificate: dict, path: str):
    """One flipped byte anywhere in the chain."""
    (root / path).write_text("changed")
    with pytest.raises(IntegrityError, match=f"{path} is not what"):
        verify(certificate, root)


def test_missing_artefact_is_named(root: Path, certificate: dict):
    """A certificate without its firmware certifies nothing."""
    (root / "out/board/firmware").unlink()
    with pytest.raises(IntegrityError, match="out/board/firmware, written by board, is missing"):
        verify(certificate, root)


def test_edited_claim_is_found(root: Path, certificate: dict):
    """The number that people read first must be under the digest too."""
    with pytest.raises(IntegrityError, match="it was edited"):
        verify({**certificate, "claims": {"epsilon": 1.0}}, root)


def test_links_cannot_be_left_out_or_swapped(root: Path, certificate: dict):
    """Each link holds the digest of the one before it, whatever the outer digest says."""
    first, second, third = certificate["chain"]
    for chain in ([second, third], [first, third], [second, first, third]):
        with pytest.raises(IntegrityError, match="does not follow"):
            verify(seal(certificate["claims"], chain), root)


def test_stage_that_read_another_file_than_the_chain_wrote_is_refused(root: Path):
    """Samples of an older generator must not inherit this epsilon."""
    (root / "out/private/generator").write_text("retrained")
    with pytest.raises(IntegrityError, match="out/private/generator is not what samples read"):
        links(root, STEPS)


def test_no_digest_of_sensitive_data_is_published(root: Path, certificate: dict):
    """Whoever holds a candidate data set could compare: no epsilon covers that."""
    text = json.dumps(certificate)
    assert sha256(root / "data/sensitive") not in text
    assert digest_of(root / "data/sensitive", root=root) not in text
    assert sha256(root / "out/private/discriminators") not in text
    assert certificate["chain"][0]["read"] == {"data/sensitive": WITHHELD}
    assert certificate["chain"][0]["fingerprint"] == WITHHELD


def test_other_json_is_refused(root: Path):
    """The private certificate lies near and has the same name."""
    with pytest.raises(DataError, match="not a chain certificate"):
        verify({"version": 1, "epsilon": 3.0}, root)


@pytest.fixture
def signed(root: Path, certificate: dict) -> tuple[Path, str]:
    path = root / "certificate.json"
    write_json(path, certificate)
    create_key(root / "key.pem")
    return path, sign(path, root / "key.pem")


def test_signature_names_its_key(signed: tuple[Path, str]):
    """Who vouches for the chain."""
    path, public = signed
    assert verify_signature(path) == public
    assert verify_signature(path, public) == public


def test_certificate_that_was_sealed_anew_loses_its_signature(signed: tuple[Path, str], certificate: dict):
    """The digests alone could be recomputed by anyone; the signature could not."""
    path, _ = signed
    write_json(path, seal({"epsilon": 1.0}, certificate["chain"]))
    with pytest.raises(IntegrityError, match="does not sign this certificate"):
        verify_signature(path)


def test_signature_of_another_key_is_refused_where_one_is_expected(signed: tuple[Path, str], root: Path):
    """An attacker can always sign with a key of his own."""
    path, public = signed
    create_key(root / "other.pem")
    sign(path, root / "other.pem")
    with pytest.raises(IntegrityError, match="not by"):
        verify_signature(path, public)
    signature_path(path).unlink()
    assert verify_signature(path) is None
    with pytest.raises(IntegrityError, match="is not signed"):
        verify_signature(path, public)


def test_key_is_never_overwritten_and_another_file_is_no_key(signed: tuple[Path, str], root: Path):
    """A lost signing key cannot be made again."""
    with pytest.raises(DataError, match="never overwritten"):
        create_key(root / "key.pem")
    assert (root / "key.pem").stat().st_mode & 0o077 == 0
    with pytest.raises(DataError, match="is not an unencrypted PEM key"):
        sign(signed[0], signed[0])
    assert read_json(signature_path(signed[0]))["public_key"] == signed[1]


def test_machine_has_one_key_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Made on first use, outside the checkout, for its owner alone, and the same ever after."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TRIPTYCH_KEY", raising=False)
    made = ensure_own_key()
    assert made == tmp_path / ".config/triptych/signing.pem"
    assert made.stat().st_mode & 0o777 == 0o600
    assert list(made.parent.iterdir()) == [made]
    assert public_key(ensure_own_key()) == public_key(made)
    monkeypatch.setenv("TRIPTYCH_KEY", str(made / "below/a/file"))
    with pytest.raises(OutputError, match="set TRIPTYCH_KEY"):
        ensure_own_key()
