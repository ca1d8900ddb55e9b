"""What all charts share: colours, fonts, figures without a display, SVG and PNG with a text alternative."""

from __future__ import annotations

import base64
import html
import io
import re
import warnings
from typing import TYPE_CHECKING, Any

from scipy import stats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#666666"
COLOURS = (BLUE, ORANGE, "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", GREY)
MARKERS = ("o", "D", "s", "^", "v", "P", "X", "*")
_LONGEST_NAME = 28
# An element, which no name can write: in text and in attributes its bracket is escaped.
_INLINE = re.compile(r'(<image [^>]*href="data:image/png;base64,)([^"]+)')
_STYLE: dict[str, Any] = {
    "svg.hashsalt": "lightning-lde",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def styled() -> Any:
    """A context in which matplotlib draws in the style of the reports."""
    import matplotlib as mpl

    return mpl.rc_context(_STYLE)


def subplots(rows: int, columns: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure without global state or display, and its axes; width and height of each in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, [axis for row in axes for axis in row]


def svg_of(figure: Figure, alternative: str) -> str:
    """A figure as an SVG element, with words for those who cannot see it."""
    text = _svg(figure, {"Date": None})
    element = text[text.index("<svg") :]
    return element.replace("<svg", f'<svg role="img" aria-label="{html.escape(alternative, quote=True)}"', 1)


def svg_file_of(figure: Figure, title: str, caption: str) -> bytes:
    """A figure as an SVG file that holds its caption."""
    return _svg(figure, {"Date": None, "Title": title, "Description": caption}).encode()


def png_of(figure: Figure, title: str, caption: str) -> bytes:
    """A figure as a PNG file that holds its caption."""
    return with_palette(_saved(figure, "png", {"Title": title, "Description": caption}, dpi=150))


def with_palette(png: bytes) -> bytes:
    """A PNG with a byte for each pixel in place of matplotlib's four, which takes less than half of the space.

    Up to 256 colours stay as they are; of more each differs by a few steps of 256, which nobody sees. A picture that is
    transparent somewhere, or that would not become smaller, stays as it is.

    Args:
        png: The picture.
    """
    from PIL import Image, PngImagePlugin

    buffer, texts = io.BytesIO(), PngImagePlugin.PngInfo()
    with Image.open(io.BytesIO(png)) as image:
        if image.convert("RGBA").getextrema()[3] != (255, 255):
            return png
        for name, value in image.info.items():
            if isinstance(value, str):
                texts.add_text(name, value)
        few = image.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(buffer, "png", optimize=True, pnginfo=texts, dpi=image.info.get("dpi"))
    return min(png, buffer.getvalue(), key=len)


def half_width(standard_error: float, n: int) -> float:
    """Half of a 95 % interval of a mean of n values by Student's t; none for a single one."""
    return float(stats.t.ppf(0.975, n - 1)) * standard_error if n > 1 else 0.0


def short(name: str) -> str:
    """A name that fits beside an axis."""
    name = name.replace("_", " ")
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _svg(figure: Figure, metadata: dict[str, Any]) -> str:
    text = _saved(figure, "svg", metadata).decode()

    def smaller(found: re.Match[str]) -> str:
        return found[1] + base64.b64encode(with_palette(base64.b64decode(found[2]))).decode()

    return _INLINE.sub(smaller, text)


def _saved(figure: Figure, form: str, metadata: dict[str, Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    with styled(), warnings.catch_warnings():
        # Text stays text in the SVG; the reader's browser has the characters that matplotlib's font lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format=form, metadata=metadata, **options)
    return buffer.getvalue()
