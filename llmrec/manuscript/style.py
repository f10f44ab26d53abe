"""An empty figure in the one style of all figures, and how a figure becomes files."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec.report import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FONTS = ("Noto Sans CJK SC", "Noto Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Source Han Sans SC", "SimHei",
         "PingFang SC", "Microsoft YaHei", "Droid Sans Fallback")  # fmt: skip
"""Fonts with Chinese characters, any of which will do."""

FIRST_CJK = 0x2E80


@contextmanager
def canvas(size: tuple[float, float] | None = None, title: str = "", **subplots: Any) -> Iterator[tuple[Figure, Any]]:
    """A figure of ``size`` inches (default: a journal's column) and its axes, as `Figure.subplots` gives them."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(fname=plots.STYLE):
        figure = Figure(figsize=size) if size else Figure()
        FigureCanvasAgg(figure)
        axes = figure.subplots(**subplots)
        if title:
            axes.set_title(title)
        yield figure, axes


def save(figure: Figure, path: Path) -> list[str]:
    """Write PATH.pdf and PATH.png, the same bytes each time; what the fonts could not show, in words."""
    import matplotlib as mpl

    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(fname=plots.STYLE):  # looking for texts makes those of ticks
        _choose_fonts(figure)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plots.save(figure, path)
    missing = [str(warning.message) for warning in caught if "missing from" in str(warning.message)]
    if not missing:
        return []
    return [
        f"figure {path.name}: no installed font has some of its characters ({missing[0].split(' missing')[0]}), which "
        "are drawn as boxes. Install one: apt-get install fonts-noto-cjk"
    ]


def _choose_fonts(figure: Figure) -> None:
    """Give texts with Chinese characters a second font, where one is installed."""
    from matplotlib.font_manager import fontManager
    from matplotlib.text import Text

    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    foreign = [text for text in texts if any(ord(character) >= FIRST_CJK for character in text.get_text())]
    if foreign:
        installed = {font.name for font in fontManager.ttflist}
        fonts = ["DejaVu Sans", *(name for name in FONTS if name in installed)]
        for text in foreign:
            text.set_fontfamily(fonts)
