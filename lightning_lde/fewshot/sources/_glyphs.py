"""Drawing of single characters from the TrueType fonts that matplotlib ships, the same every time."""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from lightning_lde.errors import MissingDependencyError

__all__ = ["IMAGE_SIZE", "draw", "faces_of", "key_of", "plain", "uniform"]

IMAGE_SIZE = 28
_CANVAS = 3 * IMAGE_SIZE
_FONT_SIZE = 60
_LARGEST = 72
_FACES = (
    "DejaVuSans",
    "DejaVuSerif",
    "DejaVuSansMono",
    "STIXGeneral",
    "DejaVuSans-Bold",
    "DejaVuSerif-Bold",
    "DejaVuSansMono-Bold",
    "STIXGeneralBol",
    "DejaVuSans-Oblique",
    "DejaVuSerif-Italic",
    "DejaVuSansMono-Oblique",
    "STIXGeneralItalic",
    "DejaVuSans-BoldOblique",
    "DejaVuSerif-BoldItalic",
    "DejaVuSansMono-BoldOblique",
    "STIXGeneralBolIta",
)

Pixels = npt.NDArray[np.uint8]


def faces_of(code_point: int) -> list[str]:
    """Return the faces, plainest first, in which a character has ink."""
    return [face for face in _FACES if code_point in _characters_of(face) and _glyph(face, code_point) is not None]


def plain(face: str, code_point: int) -> Pixels:
    """Return a character as it stands in a face: centred, (28, 28), ink bright on 0."""
    return _shrink(_inked(face, code_point))


def draw(face: str, code_point: int, key: bytes) -> Pixels:
    """Return a character after a small affine change that follows from ``key`` alone.

    The change is a rotation of up to 8 degrees, a shear of up to 0.12, a scale of 0.9 to 1.1 in each
    direction and a shift of up to 2 pixels of the result.

    Args:
        face: A face that has the character.
        code_point: The character.
        key: 16 bytes or more, see ``key_of``.

    Returns:
        uint8, (28, 28), ink bright on 0.
    """
    turn, shear, wide, high, right, down = uniform(key, 6).tolist()
    angle = math.radians(8) * turn
    scale_x, scale_y = 1 + 0.1 * wide, 1 + 0.1 * high
    cosine, sine = math.cos(angle), math.sin(angle)
    a, b = cosine / scale_x, sine / scale_x + 0.12 * shear
    c, d = -sine / scale_y, cosine / scale_y
    half = _CANVAS / 2
    shift_x, shift_y = half + 6 * right, half + 6 * down
    # Rounding hides differences in the last bit of sin and cos between C libraries.
    matrix = tuple(
        round(value, 6) for value in (a, b, half - a * shift_x - b * shift_y, c, d, half - c * shift_x - d * shift_y)
    )
    moved = _inked(face, code_point).transform(
        (_CANVAS, _CANVAS), Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR
    )
    return _shrink(moved)


def key_of(*parts: object) -> bytes:
    """Return a stable 32-byte key of some words and numbers."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).digest()


def uniform(key: bytes, count: int) -> npt.NDArray[np.float64]:
    """Return ``count`` numbers in [-1, 1) from the raw Philox stream of a key, which numpy keeps stable."""
    generator = np.random.Philox(key=np.frombuffer(key[:16], dtype="<u8").astype(np.uint64))
    raw: npt.NDArray[np.uint64] = generator.random_raw(count)
    signed: npt.NDArray[np.float64] = (raw >> np.uint64(11)) * 2.0**-52 - 1
    return signed


def _shrink(canvas: Image.Image) -> Pixels:
    return np.asarray(canvas.reduce(_CANVAS // IMAGE_SIZE), dtype=np.uint8)


def _inked(face: str, code_point: int) -> Image.Image:
    glyph = _glyph(face, code_point)
    return Image.new("L", (_CANVAS, _CANVAS)) if glyph is None else glyph


@lru_cache(maxsize=1024)
def _glyph(face: str, code_point: int) -> Image.Image | None:
    """Return the character centred on the canvas, shrunk where it is too large, None without ink."""
    font, text = _font(face), chr(code_point)
    left, top, right, bottom = font.getbbox(text)
    width, height = math.ceil(right - left), math.ceil(bottom - top)
    if width < 1 or height < 1:
        return None
    tight = Image.new("L", (width, height))
    ImageDraw.Draw(tight).text((-left, -top), text, font=font, fill=255)
    box = tight.getbbox()
    if box is None:
        return None
    tight = tight.crop(box)
    tight.thumbnail((_LARGEST, _LARGEST), Image.Resampling.BOX)
    canvas = Image.new("L", (_CANVAS, _CANVAS))
    canvas.paste(tight, ((_CANVAS - tight.width) // 2, (_CANVAS - tight.height) // 2))
    return canvas


@lru_cache(maxsize=32)
def _font(face: str) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_path(face)), _FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=32)
def _characters_of(face: str) -> frozenset[int]:
    from fontTools.ttLib import TTFont

    with TTFont(str(_path(face)), lazy=True) as font:
        return frozenset(font.getBestCmap())


def _path(face: str) -> Path:
    try:
        import matplotlib
    except ImportError as error:
        raise MissingDependencyError(
            "character sets are drawn from the fonts that matplotlib ships: pip install matplotlib."
        ) from error
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"
