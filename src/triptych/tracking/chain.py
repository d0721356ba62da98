"""One certificate for a chain of stages: what was trained on what, and that nothing was changed since.

Each link names a stage, what it read and what it wrote by SHA-256, and the link
before it. The last digest stands for the whole chain: whoever knows it, or holds
a signature over it, detects every changed artefact. A digest alone proves
nothing against someone who may rewrite the certificate too: sign it.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.data.files import digest_of, read_json, sha256
from triptych.errors import DataError, IntegrityError

VERSION = 1
RECORD = "run.json"
WITHHELD = "withheld"  # a digest of sensitive data


@dataclass(frozen=True)
class Step:
    """A stage of the chain by its result folder.

    Where `released` names files, the stage works on sensitive data: only these
    files are listed, and no digest of its inputs, nor the fingerprint that depends
    on them, because a digest of data is a statement about data that no epsilon covers.
    """

    folder: str
    released: tuple[str, ...] = ()


def links(root: Path, steps: Sequence[Step]) -> list[dict[str, Any]]:
    """One entry a step, in order: what its `run.json` says, and the digests of its files."""
    chain: list[dict[str, Any]] = []
    for step in steps:
        record = read_json(root / step.folder / RECORD)
        written = {path for link in chain for path in link["wrote"]}
        read = dict.fromkeys(record["data"], WITHHELD) if step.released else _read(root, record, written)
        entry = {
            "stage": record["stage"],
            "fingerprint": WITHHELD if step.released else record["fingerprint"],
            "read": read,
            "wrote": {path.relative_to(root).as_posix(): sha256(path) for path in _files(root, step)},
            "previous": chain[-1]["digest"] if chain else None,
        }
        chain.append({**entry, "digest": canonical_digest(entry)})
    return chain


def _read(root: Path, record: Mapping[str, Any], written: Collection[str]) -> dict[str, str]:
    """SHA-256 of what the stage read; what the chain itself wrote must still be the same."""
    read = dict(record["data"])
    for path in read.keys() & written:
        if digest_of(root / path, root=root) != read[path]:
            raise IntegrityError(f"{path} is not what {record['stage']} read; run `dvc repro hinge`")
        read[path] = sha256(root / path)
    return read


def _files(root: Path, step: Step) -> list[Path]:
    folder = root / step.folder
    if step.released:
        return [folder / name for name in step.released]
    return sorted(path for path in folder.rglob("*") if path.is_file())


def canonical_digest(value: Mapping[str, Any]) -> str:
    """SHA-256 of `value` as sorted JSON without spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def seal(claims: Mapping[str, Any], chain: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The certificate: the claims, the chain, and one digest over both."""
    body = {"version": VERSION, "claims": dict(claims), "chain": list(chain)}
    return {**body, "digest": canonical_digest(body)}


def verify(certificate: Mapping[str, Any], root: Path) -> int:
    """Check the certificate against itself and every artefact below `root`; returns how many.

    Raises IntegrityError that names the first file which is missing or changed,
    or the link that does not fit.
    """
    body = {name: certificate.get(name) for name in ("version", "claims", "chain")}
    if body["version"] != VERSION or not isinstance(body["chain"], list):
        raise DataError(f"not a chain certificate of version {VERSION}; run `dvc repro hinge`")
    if canonical_digest(body) != certificate.get("digest"):
        raise IntegrityError("the certificate's own digest does not fit its text: it was edited")
    previous, written = None, {}
    for link in body["chain"]:
        entry = {name: value for name, value in link.items() if name != "digest"}
        if link["previous"] != previous or canonical_digest(entry) != link["digest"]:
            raise IntegrityError(f"the link of stage {link['stage']} does not follow from the one before it")
        previous = link["digest"]
        for path in link["read"].keys() & written.keys():
            if link["read"][path] != written[path]:
                raise IntegrityError(f"{link['stage']} read another {path} than the chain wrote")
        written |= link["wrote"]
        for path, expected in link["wrote"].items():
            _check_file(root / path, path, expected, link["stage"])
    return sum(len(link["wrote"]) for link in body["chain"])


def _check_file(file: Path, path: str, expected: str, stage: str) -> None:
    if not file.is_file():
        raise IntegrityError(f"{path}, written by {stage}, is missing; `dvc checkout` restores it")
    if sha256(file) != expected:
        raise IntegrityError(f"{path} is not what {stage} wrote: it has changed since the certificate")
