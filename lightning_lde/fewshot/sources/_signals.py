"""Sound and other series as samples, and their spectrograms."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.fewshot.data._dataset import FewShotDataset
from lightning_lde.fewshot.data._splits import ClassSplits
from lightning_lde.fewshot.sources._collections import make_dataset

__all__ = ["from_series", "log_mel"]

_CHUNK = 512
_FLOOR = 1e-10


def log_mel(
    waveforms: Tensor,
    sample_rate: float,
    *,
    n_fft: int = 512,
    hop: int | None = None,
    n_mels: int = 64,
    f_min: float = 0.0,
    f_max: float | None = None,
    top_db: float = 80.0,
    scale: Literal["dB", "unit"] = "unit",
) -> Tensor:
    """Return log-mel spectrograms: power of a short-time Fourier transform, in triangular mel bands, in decibels.

    Hann window of ``n_fft`` samples, ends reflected so that frame t is centred on sample ``t * hop``; mel scale
    of O'Shaughnessy, 2595 log10(1 + f / 700), bands not normalised.

    Args:
        waveforms: Floats, shape (..., time).
        sample_rate: Samples a second, Hz.
        n_fft: Samples of a window.
        hop: Samples between windows; None: half a window.
        n_mels: Bands.
        f_min: Lower edge of the lowest band, Hz.
        f_max: Upper edge of the highest band, Hz; None: half the sample rate.
        top_db: What is this much weaker than the strongest point of its recording counts as silence, dB.
        scale: "unit": from 0 (silence) to 1 (the strongest point); "dB": 10 log10 of the power.

    Returns:
        float32, shape (..., n_mels, 1 + time // hop).

    Raises:
        ConfigurationError: A setting cannot work.
        DataError: The waveforms are no floats, or shorter than half a window.

    Source: O'Shaughnessy, Speech Communication: Human and Machine, 1987; Stevens, Volkmann, Newman, 1937.

    Example:
        >>> second = torch.sin(2 * torch.pi * 440 * torch.arange(8000) / 8000)
        >>> spectrogram = log_mel(second, 8000, n_mels=40)
        >>> tuple(spectrogram.shape), float(spectrogram.max())
        ((40, 32), 1.0)
    """
    hop = hop or n_fft // 2
    f_max = sample_rate / 2 if f_max is None else f_max
    _check(waveforms, sample_rate, n_fft, hop, n_mels, f_min, f_max, top_db, scale)
    flat = waveforms.reshape(-1, waveforms.shape[-1]).float()
    bands = _mel_bands(sample_rate, n_fft, n_mels, f_min, f_max).to(flat.device)
    parts = [_decibels(part, n_fft, hop, bands, top_db) for part in torch.split(flat, _CHUNK)]
    decibels = torch.cat(parts).view(*waveforms.shape[:-1], n_mels, -1)
    if scale == "dB":
        return decibels
    return (decibels - decibels.amax((-2, -1), keepdim=True)) / top_db + 1


def from_series(
    name: str,
    series: Tensor | Sequence[Any],
    labels: Sequence[Any] | Tensor,
    *,
    transform: Callable[[Tensor], Tensor] | None = None,
    length: int | None = None,
    classes: Sequence[str] | None = None,
    splits: ClassSplits = None,
    seed: int = 0,
    licence: str | None = None,
    source: str | None = None,
) -> FewShotDataset:
    """Make a few-shot set from sound or other series, as they are or transformed.

    Args:
        name: What to call the set.
        series: A tensor (N, time) or (N, channels, time), or N arrays (time,) or (channels, time).
        labels: N indices or names of classes.
        transform: Takes float32 (n, channels, time), returns floats (n, ...), such as
            ``functools.partial(log_mel, sample_rate=16000)``, whose result is an image of each channel.
        length: Samples of time; longer series are cut at the end, shorter ones filled with zeros; None: they
            have one length.
        classes: Name of each class; None: what the labels say.
        splits: Of the classes, as ``split_classes`` takes them.
        seed: Of splits by fractions.
        licence: Terms under which the series may be used.
        source: Where they come from.

    Returns:
        A set of float32 samples (N, channels, time), or of what the transform makes of them.

    Raises:
        DataError: Series and labels do not fit together, or lengths differ.

    Example:
        >>> from functools import partial
        >>> hum = from_series("hum", torch.randn(4, 4000), ["a", "a", "b", "b"], splits={"a": "train", "b": "test"},
        ...                   transform=partial(log_mel, sample_rate=8000, n_mels=32))
        >>> tuple(hum.images.shape), hum.preparation
        ((4, 1, 32, 16), 'log_mel(sample_rate=8000, n_mels=32)')
    """
    if len(series) != len(labels) or not len(series):
        raise DataError(f"data set {name!r}: {len(series)} series and {len(labels)} labels; expected one label each.")
    rows = [_channels_first(one, row, name, length) for row, one in enumerate(series)]
    if len(shapes := {tuple(row.shape) for row in rows}) > 1:
        raise DataError(f"data set {name!r}: series differ in (channels, time), {sorted(shapes)[:3]}: give length.")
    stacked = torch.stack(rows)
    if transform is not None:
        stacked = torch.cat([transform(part).float() for part in torch.split(stacked, _CHUNK)])
        if len(stacked) != len(labels):
            raise DataError(f"the transform made {len(stacked)} samples of {len(labels)}: it has to keep their number.")
    return make_dataset(
        name,
        stacked.contiguous(),
        labels.tolist() if isinstance(labels, Tensor) else [_item(one) for one in labels],
        classes=classes,
        splits=splits,
        seed=seed,
        licence=licence,
        source=source,
        preparation=None if transform is None else _words(transform),
    )


def _decibels(waves: Tensor, n_fft: int, hop: int, bands: Tensor, top_db: float) -> Tensor:
    window = torch.hann_window(n_fft, device=waves.device)
    power = torch.stft(waves, n_fft, hop, window=window, center=True, return_complex=True).abs().square()
    decibels = 10 * (bands @ power).clamp_min(_FLOOR).log10()
    return torch.maximum(decibels, decibels.amax((-2, -1), keepdim=True) - top_db)


def _mel_bands(sample_rate: float, n_fft: int, n_mels: int, f_min: float, f_max: float) -> Tensor:
    """Weight of each frequency in each band, float32 (n_mels, 1 + n_fft // 2)."""
    low, high = (2595 * math.log10(1 + f / 700) for f in (f_min, f_max))
    edges = 700 * (10 ** (torch.linspace(low, high, n_mels + 2, dtype=torch.float64) / 2595) - 1)
    frequencies = torch.arange(1 + n_fft // 2, dtype=torch.float64) * (sample_rate / n_fft)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequencies - left) / (centre - left), (right - frequencies) / (right - centre)
    return torch.minimum(rising, falling).clamp_min(0).float()


def _channels_first(one: Any, row: int, name: str, length: int | None) -> Tensor:
    values = torch.as_tensor(one).float()
    values = values[None] if values.ndim == 1 else values
    if values.ndim != 2:
        raise DataError(f"series {row} of {name!r} has the shape {tuple(values.shape)}; expected (channels, time).")
    if length is None:
        return values
    values = values[:, :length]
    return torch.nn.functional.pad(values, (0, length - values.shape[1]))


def _item(label: Any) -> Any:
    return label.item() if hasattr(label, "item") else label


def _words(transform: Callable[[Tensor], Tensor]) -> str:
    """Name of a function, with the settings that were bound to it."""
    if not isinstance(transform, functools.partial):
        return str(getattr(transform, "__name__", type(transform).__name__))
    settings = [*map(repr, transform.args), *(f"{key}={value!r}" for key, value in transform.keywords.items())]
    return f"{_words(transform.func)}({', '.join(settings)})"


def _check(
    waveforms: Tensor,
    sample_rate: float,
    n_fft: int,
    hop: int,
    n_mels: int,
    f_min: float,
    f_max: float,
    top_db: float,
    scale: str,
) -> None:
    if sample_rate <= 0 or n_fft < 2 or hop < 1 or n_mels < 1 or top_db <= 0 or scale not in ("dB", "unit"):
        raise ConfigurationError(
            f"sample_rate={sample_rate}, n_fft={n_fft}, hop={hop}, n_mels={n_mels}, top_db={top_db}, scale={scale!r}: "
            "expected positive numbers, a window of at least 2 samples, and scale 'dB' or 'unit'."
        )
    if not 0 <= f_min < f_max <= sample_rate / 2:
        raise ConfigurationError(
            f"f_min={f_min}, f_max={f_max}: expected 0 <= f_min < f_max <= {sample_rate / 2}, half the sample rate."
        )
    if not waveforms.is_floating_point():
        raise DataError(f"waveforms are {waveforms.dtype}: scale them to floats, integers by their largest value.")
    if waveforms.ndim == 0 or waveforms.shape[-1] <= n_fft // 2:
        raise DataError(
            f"waveforms have the shape {tuple(waveforms.shape)}; expected (..., time) with more than {n_fft // 2} "
            "samples of time, half a window: lower n_fft or fill them with zeros."
        )
