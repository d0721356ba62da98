"""Keyword spotting: one second of speech as a log-mel picture, split by speaker.

The clips are Google Speech Commands v0.02 (Warden 2018), of which the mirror
holds the canonical 12-class test set alone. We split it by speaker ourselves, so
accuracies cannot be compared with published ones.
"""

import lzma
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int16, UInt8
from numpy import ndarray as Array

from triptych.config.data import DataConfig
from triptych.data.arrays import read_npz
from triptych.data.download import fetch
from triptych.data.prepared import Split

RATE = 16000  # samples a second, and a clip
WINDOW, HOP = 640, 400  # samples: 40 and 25 ms
BANDS = 40
LOWEST_HZ, HIGHEST_HZ = 20.0, 8000.0
DECIBELS = 100.0  # below full scale; the range of a pixel
TRANSFORM = 1024
CHECKSUMS = {
    "audio_delta16.xz": "8bcafb5d7306a672775614c41dfdc5d4946e34988fd104007dd65c136df605ce",
    "meta.npz": "76472c16a38cdb49e31e3b2b42fe60d60a1d6302e3430ebfb4c1288295fe8148",
}


def load_speech_commands(config: DataConfig, raw: Path) -> tuple[dict[str, Split], dict[str, Any]]:
    """Speakers of the test split are not in the training split. Only from TRIPTYCH_MIRROR."""
    folder = "speech_commands_v2_test"
    audio, meta = (
        fetch(folder, name, checksum=checksum, urls=(), folder=raw / folder)
        for name, checksum in CHECKSUMS.items()
    )
    shift, labels, speakers = read_npz(meta, "shift", "y", "speaker")
    clips = _decode(lzma.decompress(audio.read_bytes()), shift)
    everything = Split(log_mel(clips)[:, None], labels.astype(np.int64))
    held_out = by_speaker(_speakers(speakers, clips), config.test_size, config.split_seed)
    order = np.random.default_rng(config.split_seed).permutation(len(clips))
    splits = {
        "train": everything.take(order[~held_out[order]][: config.train_size]),
        "test": everything.take(order[held_out[order]][: config.test_size]),
    }
    card = {
        "source": "Google Speech Commands v0.02, 12-class test set, split by speaker (P. Warden, 2018)",
        "licence": "CC BY 4.0",
    }
    return splits, card


def log_mel(clips: Int16[Array, "n 16000"]) -> UInt8[Array, "n 40 40"]:
    """Energy of mel bands (rows, low first) over time: 0 is 100 dB below full scale, 255 is full scale."""
    half = (WINDOW - HOP) // 2
    padded = np.pad(clips, ((0, 0), (half, half))).astype(np.float32) / 2**15
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=1)[:, ::HOP]
    bank, window = mel_filters().astype(np.float32), np.hanning(WINDOW).astype(np.float32)
    pictures = []
    for each in frames:  # one clip at a time: all at once take gigabytes
        power = np.abs(np.fft.rfft(each * window, TRANSFORM)) ** 2 / (window.sum() / 2) ** 2
        decibels = 10 * np.log10(power.astype(np.float32) @ bank.T + 1e-10)
        pictures.append(np.rint((decibels.T / DECIBELS + 1).clip(0, 1) * 255).astype(np.uint8))
    return np.stack(pictures)


def mel_filters() -> Float[Array, "bands bins"]:
    """Triangles, equally wide in mel (O'Shaughnessy's formula), height 1."""
    lowest, highest = (2595 * np.log10(1 + hz / 700) for hz in (LOWEST_HZ, HIGHEST_HZ))
    mel = np.linspace(lowest, highest, BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    bins = np.arange(TRANSFORM // 2 + 1) * RATE / TRANSFORM
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)).clip(0)


def by_speaker(speakers: Array, test_size: int, seed: int) -> Bool[Array, " n"]:
    """Which clips are of the speakers that are drawn until they have `test_size` clips."""
    names, index, counts = np.unique(speakers, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    needed = int(np.searchsorted(np.cumsum(counts[order]), test_size)) + 1
    return np.isin(index, order[:needed])


def _speakers(names: Array, clips: Int16[Array, "n 16000"]) -> Array:
    """Clips without a speaker (silence) stand for themselves; equal ones stay together."""
    return np.array(
        [
            str(name) or f"clip {sha256(clip.tobytes()).hexdigest()}"
            for name, clip in zip(names, clips, strict=True)
        ]
    )


def _decode(content: bytes, shift: UInt8[Array, " n"]) -> Int16[Array, "n 16000"]:
    """Differences, low and high bytes apart, without each clip's lowest bits."""
    planes = np.frombuffer(content, np.uint8).reshape(2, -1)
    differences = planes.T.copy().view("<i2").reshape(-1, RATE)
    return (np.cumsum(differences.astype(np.int32), 1) << shift.astype(int)[:, None]).astype(np.int16)
