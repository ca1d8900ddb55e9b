"""Spectrograms against numpy and scipy, series of any length, and texts through encoders."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.fewshot import Episodes, from_encoder, from_series, load_pack, load_text_pack, log_mel

HALVES = {"train": 0.5, "test": 0.5}


def reference(
    wave: npt.NDArray[Any], rate: float, n_fft: int, hop: int, n_mels: int, low: float, high: float
) -> npt.NDArray[Any]:
    """Power in mel bands, decibels: scipy's window, numpy's transform and interpolation, float64."""
    padded = np.pad(wave, n_fft // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    power = np.abs(np.fft.rfft(frames * signal.get_window("hann", n_fft))).T ** 2
    mel = np.linspace(2595 * np.log10(1 + low / 700), 2595 * np.log10(1 + high / 700), n_mels + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    frequencies = np.fft.rfftfreq(n_fft, 1 / rate)
    bands = np.stack([np.interp(frequencies, edges[band : band + 3], [0, 1, 0]) for band in range(n_mels)])
    return np.asarray(10 * np.log10(np.maximum(bands @ power, 1e-10)))


@settings(max_examples=25, deadline=None)
@given(
    rate=st.sampled_from([8000, 16000, 44100]),
    n_fft=st.sampled_from([64, 100, 256]),
    divisor=st.integers(1, 4),
    n_mels=st.integers(1, 24),
    length=st.integers(300, 2000),
    edges=st.tuples(st.floats(0, 0.2), st.floats(0.3, 0.5)),
    seed=st.integers(0, 999),
)
def test_log_mel_agrees_with_scipy(
    rate: int, n_fft: int, divisor: int, n_mels: int, length: int, edges: tuple[float, float], seed: int
) -> None:
    waves = np.random.default_rng(seed).standard_normal((2, 3, length))
    low, high, hop = edges[0] * rate, edges[1] * rate, n_fft // divisor
    settings_ = {"n_fft": n_fft, "hop": hop, "n_mels": n_mels, "f_min": low, "f_max": high}
    found = log_mel(torch.from_numpy(waves), rate, top_db=300, scale="dB", **settings_)
    assert found.dtype == torch.float32
    assert found.shape == (2, 3, n_mels, 1 + length // hop)
    wanted = np.stack([reference(one, rate, n_fft, hop, n_mels, low, high) for one in waves.reshape(6, -1)])
    # Float32 in front of a logarithm: what is compared is power, relative to the strongest of the recording.
    power, wanted_power = 10 ** (found.numpy().reshape(6, n_mels, -1) / 10), 10 ** (wanted / 10)
    assert np.abs(power - wanted_power).max() <= 1e-4 * wanted_power.max()


def test_a_tone_lies_in_its_band_and_silence_at_the_bottom() -> None:
    time = torch.arange(16000) / 16000
    tone = torch.sin(2 * torch.pi * 1000 * time) * (time < 0.5)
    found = log_mel(tone, 16000, n_mels=40)
    assert (float(found.min()), float(found.max())) == (0.0, 1.0)
    centres = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 42)[1:-1] / 2595) - 1)
    assert int(found[:, 10].argmax()) == int(np.abs(centres - 1000).argmin())
    assert float(found[:, -5:].max()) == 0.0
    decibels = log_mel(tone, 16000, n_mels=40, top_db=40, scale="dB")
    assert float(decibels.max() - decibels.min()) == pytest.approx(40, abs=1e-4)
    assert torch.allclose(
        log_mel(tone * 0.01, 16000, n_mels=40, top_db=40), (decibels - decibels.max()) / 40 + 1, atol=1e-4
    )


def test_silence_alone_makes_no_nonsense() -> None:
    assert torch.equal(log_mel(torch.zeros(2, 800), 8000), torch.ones(2, 64, 4))


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"sample_rate": 0}, "sample_rate=0"),
        ({"n_mels": 0}, "n_mels=0"),
        ({"hop": -1}, "hop=-1"),
        ({"f_min": 5000}, "half the sample rate"),
        ({"f_max": 4001}, "f_max=4001"),
        ({"scale": "db"}, "scale='db'"),
    ],
)
def test_settings_that_cannot_work_are_named(settings_: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        log_mel(torch.zeros(800), **{"sample_rate": 8000, **settings_})


def test_waveforms_that_cannot_work_are_named() -> None:
    with pytest.raises(DataError, match=r"torch\.int16"):
        log_mel(torch.zeros(800, dtype=torch.int16), 8000)
    with pytest.raises(DataError, match="more than 256 samples"):
        log_mel(torch.zeros(256), 8000)


def test_series_become_samples_with_channels_in_front() -> None:
    series = torch.randn(8, 2, 600)
    found = from_series("two channels", series, torch.arange(8) % 2, splits=HALVES)
    assert torch.equal(found.images, series)
    assert found.classes == ("0", "1")
    assert found.preparation is None
    mel = functools.partial(log_mel, sample_rate=8000, n_mels=16)
    images = from_series("mel", series, list("abababab"), splits=HALVES, transform=mel)
    assert torch.equal(images.images, mel(series))
    assert images.preparation == "log_mel(sample_rate=8000, n_mels=16)"
    assert Episodes(images, split="test", ways=1, shots=1, queries=2)[0].support_images.shape == (1, 2, 16, 3)


def test_series_of_different_lengths_are_cut_and_filled() -> None:
    waves = [np.arange(1, n + 1, dtype=np.float64) for n in (3, 5, 4, 9)]
    found = from_series("uneven", waves, ["a", "a", "b", "b"], splits=HALVES, length=4)
    assert found.images[:, 0].tolist() == [[1, 2, 3, 0], [1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4]]
    assert found.images.shape == (4, 1, 4)
    with pytest.raises(DataError, match="give length"):
        from_series("uneven", waves, ["a", "a", "b", "b"], splits=HALVES)
    with pytest.raises(DataError, match="4 series and 3 labels"):
        from_series("uneven", waves, ["a", "a", "b"])
    with pytest.raises(DataError, match=r"series 0 of 'deep' has the shape \(2, 2, 2\)"):
        from_series("deep", torch.zeros(2, 2, 2, 2), [0, 1])
    with pytest.raises(DataError, match="made 1 samples of 4"):
        from_series("lost", torch.zeros(4, 9), [0, 0, 1, 1], transform=lambda waves: waves[:1])


def test_an_encoder_sees_every_text_once_and_in_order() -> None:
    texts = [f"{'x' * n} {n}" for n in range(11)]
    seen: list[list[str]] = []

    def encoder(batch: list[str]) -> torch.Tensor:
        seen.append(batch)
        return torch.tensor([[len(one), 1] for one in batch])

    found = from_encoder("lengths", texts, ["a", "b"] * 5 + ["a"], encoder, splits=HALVES, batch_size=4)
    assert [len(batch) for batch in seen] == [4, 4, 3]
    assert [text for batch in seen for text in batch] == texts
    assert found.images[:, 0].tolist() == [len(one) for one in texts]
    assert str(found.preparation).endswith("encoder")
    named = from_encoder("lengths", texts, ["a", "b"] * 5 + ["a"], encoder, splits=HALVES, encoder_name="length v1")
    assert named.preparation == "encoder=length v1"


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (lambda texts: np.zeros((len(texts) - 1, 3)), r"shape \(3, 3\); expected numbers \(4, d\)"),
        (lambda texts: np.zeros(len(texts)), r"shape \(4,\)"),
        (lambda texts: np.zeros((len(texts), len(texts))), r"returns \[2, 4\] numbers a text"),
        (lambda texts: np.full((len(texts), 2), np.nan), "sample 0 holds NaN"),
    ],
)
def test_what_an_encoder_must_not_return_is_named(encoder: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_encoder("x", list("abcdef"), [0, 0, 0, 1, 1, 1], encoder, splits=HALVES, batch_size=4)


def test_texts_and_labels_have_to_fit() -> None:
    with pytest.raises(DataError, match="2 texts and 1 labels"):
        from_encoder("x", ["a", "b"], [0], lambda texts: [[0.0]] * len(texts))
    with pytest.raises(ConfigurationError, match="batch_size=0"):
        from_encoder("x", ["a"], [0], lambda texts: [[0.0]], batch_size=0)


def nearest_centroid(tasks: Episodes) -> float:
    """Mean accuracy over tasks of assigning each query to the nearest mean of a class."""
    right = []
    for task in tasks:
        support = task.support_images.view(tasks.ways, tasks.shots, -1).mean(1)
        found = torch.cdist(task.query_images, support).argmin(1)
        right.append((found == task.query_labels).float().mean())
    return float(torch.stack(right).mean())


def test_real_requests_are_told_apart_by_their_words(packs_folder: Path) -> None:
    pack = load_text_pack(packs_folder / "clinc150.parquet")
    assert len(pack.texts) == len(pack.labels) == 22500
    with pytest.raises(DataError, match="no texts: read images with load_pack"):
        load_text_pack(packs_folder / "trashnet.parquet")
    with pytest.raises(DataError, match="read texts with load_text_pack"):
        load_pack(packs_folder / "clinc150.parquet")
    hashing = HashingVectorizer(n_features=256, alternate_sign=False)
    requests = pack.encoded(hashing.transform, batch_size=4096, encoder_name="hashing 256")
    assert requests.images.shape == (22500, 256)
    assert [len(requests.split(part).classes) for part in ("train", "val", "test")] == [90, 30, 30]
    assert nearest_centroid(Episodes(requests, n_episodes=40)) > 0.8


@pytest.mark.slow
def test_weights_fitted_on_training_classes_help_on_new_ones(packs_folder: Path) -> None:
    pack = load_text_pack(packs_folder / "clinc150.parquet")
    fitted = TfidfVectorizer(max_features=2000, sublinear_tf=True).fit(pack.texts_of("train"))
    assert len(pack.texts_of("train")) == 90 * 150
    requests = pack.encoded(fitted.transform, encoder_name="TF-IDF of the training classes")
    assert nearest_centroid(Episodes(requests, n_episodes=100)) > 0.84
