"""Ed25519 signatures beside a certificate: who vouches for its digest.

The pipeline signs with the key of its machine, made on first use and kept outside
the checkout: whoever changes an artefact may compute every digest anew, the
signature he cannot.
"""

import os
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from triptych.data.files import read_json, write_json
from triptych.errors import DataError, IntegrityError, OutputError

CONTEXT = b"triptych chain certificate v1\0"  # a signature is good for nothing else


def signature_path(certificate: Path) -> Path:
    """Where the signature of `certificate` lies."""
    return certificate.with_suffix(".sig.json")


def own_key() -> Path:
    """Where the key of this machine lies, or will: `$TRIPTYCH_KEY`, else in the home folder."""
    return Path(os.environ.get("TRIPTYCH_KEY") or Path.home() / ".config/triptych/signing.pem")


def ensure_own_key() -> Path:
    """The key of this machine, made where there is none."""
    path = own_key()
    if not path.exists():
        with suppress(DataError):  # somebody was quicker
            create_key(path)
    return path


def create_key(path: Path) -> str:
    """Write a new private key (PEM, for its owner alone); returns the public key, 64 hexadecimal digits.

    Raises DataError where there is a file, OutputError where none can be written.
    """
    key = Ed25519PrivateKey.generate()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent) as handle:  # for its owner alone from the first byte
            handle.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            handle.flush()
            os.fsync(handle.fileno())
            path.hardlink_to(handle.name)
    except FileExistsError as error:
        raise DataError(f"{path} exists; a key is never overwritten") from error
    except OSError as error:
        raise OutputError(
            f"cannot write the key {path}: {error.strerror}; set TRIPTYCH_KEY to a file in a writable folder"
        ) from error
    return _public(key)


def public_key(path: Path) -> str:
    """The public key of the private one in `path`, 64 hexadecimal digits."""
    return _public(_load(path))


def sign(certificate: Path, key: Path) -> str:
    """Sign the digest of `certificate` with the private key in `key`; returns the public key."""
    private = _load(key)
    digest, public = read_json(certificate)["digest"], _public(private)
    signature = private.sign(CONTEXT + bytes.fromhex(digest)).hex()
    entry = {"digest": digest, "public_key": public, "signature": signature}
    write_json(signature_path(certificate), entry)
    return public


def verify_signature(certificate: Path, expected: str | None = None) -> str | None:
    """The public key that signed, or None where there is no signature and none is asked for.

    Raises IntegrityError where the signature is false, missing though that of the public
    key `expected` is asked for, or somebody else's.
    """
    path = signature_path(certificate)
    if not path.exists():
        if expected:
            raise IntegrityError(f"{certificate} is not signed: {path.name} is missing")
        return None
    entry: dict[str, Any] = read_json(path)
    if expected and entry["public_key"] != expected:
        raise IntegrityError(
            f"{path} is signed by {entry['public_key']}, not by {expected}; where you trust the former, "
            "pass it as --public-key"
        )
    message = CONTEXT + bytes.fromhex(read_json(certificate)["digest"])
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(entry["public_key"])).verify(
            bytes.fromhex(entry["signature"]), message
        )
    except (InvalidSignature, ValueError) as error:
        raise IntegrityError(f"{path} does not sign this certificate") from error
    return entry["public_key"]


def _load(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; make one with `triptych certificate key`") from error
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is not an unencrypted PEM key ({error})") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise DataError(f"{path} is not an Ed25519 key; make one with `triptych certificate key`")
    return key


def _public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
