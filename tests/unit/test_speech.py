"""Log-mel pictures of speech, and the split by speaker."""

import numpy as np
import pytest

from triptych.data.speech import BANDS, RATE, by_speaker, log_mel, mel_filters


def tone(hz: float, amplitude: float = 0.5) -> np.ndarray:
    return np.rint(32767 * amplitude * np.sin(2 * np.pi * hz * np.arange(RATE) / RATE)).astype(np.int16)


def mel(hz: float) -> float:
    return 2595 * np.log10(1 + hz / 700)


@pytest.mark.parametrize("hz", [300, 1000, 3000, 6000])
def test_a_tone_is_brightest_in_its_band(hz: float):
    """Bands are equally wide in mel between 20 Hz and 8 kHz, low ones first."""
    picture = log_mel(tone(hz)[None])[0]
    band = (mel(hz) - mel(20)) / (mel(8000) - mel(20)) * (BANDS + 1) - 1
    assert abs(int(picture[:, 20].argmax()) - band) <= 1


def test_half_the_amplitude_is_six_decibels_less():
    """A pixel is 100/255 dB, so the picture is a measurement and not a look."""
    loud, soft = (log_mel(tone(1000, amplitude)[None])[0].max() for amplitude in (0.5, 0.25))
    assert (int(loud) - int(soft)) * 100 / 255 == pytest.approx(6.02, abs=0.4)


def test_full_scale_is_near_white_and_silence_black():
    """Nothing is normalized by the clip: silence must look silent."""
    assert log_mel(tone(1000, 1.0)[None])[0].max() > 245
    assert log_mel(np.zeros((1, RATE), np.int16)).max() == 0


def test_time_runs_along_the_columns():
    """Of a tone in the second half only the right half is bright."""
    clip = tone(1000)
    clip[: RATE // 2] = 0
    picture = log_mel(clip[None])[0]
    assert picture[:, :18].max() == 0
    assert picture[:, 22:].max() > 200


def test_every_frequency_is_in_two_bands_that_add_up():
    """Triangles that overlap by half lose no energy between them."""
    bank = mel_filters()
    edges = np.flatnonzero(bank[0] == bank[0].max())[0], np.flatnonzero(bank[-1] == bank[-1].max())[0]
    inside = bank[:, edges[0] + 1 : edges[1]].sum(0)
    np.testing.assert_allclose(inside, 1, atol=1e-9)


def test_no_speaker_is_on_both_sides():
    """A voice that was trained on is no test, and equal clips are always of one speaker."""
    speakers = np.random.default_rng(0).choice([f"s{i}" for i in range(40)], 600)
    held_out = by_speaker(speakers, 120, seed=0)
    assert not set(speakers[held_out]) & set(speakers[~held_out])
    assert 120 <= held_out.sum() < 120 + 30
    assert (by_speaker(speakers, 120, seed=1) != held_out).any()
