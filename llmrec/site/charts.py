"""Small charts as SVG text: bars of slices, two histograms of a pair, quality against cost, learning curves.

They are drawn by hand because a site has hundreds of them and each takes under a millisecond so. Colours and marks are
those of `llmrec.report.plots` (Okabe and Ito's palette); ink is the page's text colour; every chart has its words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from llmrec.report.plots import FAMILY_STYLE, SLICE_STYLE
from llmrec.types import Floats

OURS, THEIRS, GREY = "#0072b2", "#e69f00", "#8a8d93"
"""A, B, and neither."""

LEAST_SECONDS = 1e-3
HEAD = '<svg class="chart" viewBox="0 0 {w} {h}" role="img" aria-label="{words}" xmlns="http://www.w3.org/2000/svg">'


@dataclass(frozen=True)
class Axis:
    """From values to places along one side of a chart; ``low``, at the start, may be the larger."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log10(max(value, self.low)), math.log10(low), math.log10(high)
        return self.start + (self.end - self.start) * (value - low) / ((high - low) or 1.0)

    @property
    def ticks(self) -> list[float]:
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            step = max(1, (last - first) // 5)
            return [10.0**power for power in range(first, last + 1, step)]
        return ticks(min(self.low, self.high), max(self.low, self.high))


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values between two ends."""
    span = (high - low) or 1.0
    raw = span / about
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 10) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def plain(value: float) -> str:
    """A tick's number: 0.05, 12, 3,000."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"


def _n(value: float) -> str:
    """A coordinate, short."""
    return f"{value:.1f}".removesuffix(".0")


def _text(x: float, y: float, text: str, *, anchor: str = "start", cls: str = "t", turn: bool = False) -> str:
    turned = f' transform="rotate(-90 {_n(x)} {_n(y)})"' if turn else ""
    return f'<text class="{cls}" x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}"{turned}>{escape(text)}</text>'


def _rect(x: float, y: float, w: float, h: float, colour: str, title: str, extra: str = "") -> str:
    return (
        f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(max(w, 0))}" height="{_n(max(h, 0))}" fill="{colour}"{extra}>'
        f"<title>{escape(title)}</title></rect>"
    )


def _frame(x: Axis, y: Axis, x_label: str, y_label: str) -> list[str]:
    """Both axes with ticks and names."""
    bottom, left = y.start, x.start
    parts = []
    for tick in y.ticks:
        at = _n(y(tick))
        parts.append(f'<line class="g" x1="{_n(left)}" x2="{_n(x.end)}" y1="{at}" y2="{at}"/>')
        parts.append(_text(left - 5, y(tick) + 3, plain(tick), anchor="end"))
    for tick in x.ticks:
        at = _n(x(tick))
        parts.append(f'<line class="a" x1="{at}" x2="{at}" y1="{_n(bottom)}" y2="{_n(bottom + 4)}"/>')
        parts.append(_text(x(tick), bottom + 15, plain(tick), anchor="middle"))
    parts.append(f'<line class="a" x1="{_n(left)}" x2="{_n(x.end)}" y1="{_n(bottom)}" y2="{_n(bottom)}"/>')
    parts.append(_text((left + x.end) / 2, bottom + 31, x_label, anchor="middle", cls="l"))
    parts.append(_text(12, (y.start + y.end) / 2, y_label, anchor="middle", cls="l", turn=True))
    return parts


def _svg(width: float, height: float, words: str, parts: Sequence[str]) -> Markup:
    head = HEAD.format(w=_n(width), h=_n(height), words=escape(words))
    return Markup(head + "".join(parts) + "</svg>")  # every piece of text in it went through escape()


def histogram(gaps: Floats, a: str, b: str, metric: str, unit: str) -> Markup:
    """How far A and B differ, user by user; users for whom both are the same are counted in words, not drawn."""
    moved = gaps[np.abs(gaps) > 1e-12]
    widest = float(np.abs(moved).max()) if len(moved) else 1.0
    edges = np.linspace(-widest, widest, 31)
    counts, _ = np.histogram(moved, edges)
    x, y = Axis(-widest, widest, 54, 410), Axis(0, float(max(counts.max(), 1)), 214, 14)
    parts = _frame(x, y, f"difference in {metric} (A minus B)", f"{unit} (count)")
    for count, low, high in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if count:
            colour = OURS if low + high > 1e-12 else THEIRS if low + high < -1e-12 else GREY
            title = f"{low:+.3f} to {high:+.3f}: {count:,} {unit}"
            parts.append(_rect(x(low) + 0.5, y(count), x(high) - x(low) - 1, y.start - y(count), colour, title))
    parts.append(f'<line class="z" x1="{_n(x(0))}" x2="{_n(x(0))}" y1="14" y2="214"/>')
    words = f"Histogram of the differences in {metric} of {len(moved):,} {unit}: {a} minus {b}"
    return _svg(420, 250, words, parts)


def bubbles(ours: Floats, theirs: Floats, a: str, b: str, metric: str, unit: str) -> Markup:
    """Every user at (B's figure, A's figure); a circle grows with the number of users there."""
    high = float(max(ours.max(), theirs.max(), 1e-9))
    low = min(0.0, float(min(ours.min(), theirs.min())))
    x, y = Axis(low, high, 54, 254), Axis(low, high, 214, 14)
    cells = 20
    edges = np.linspace(low, high, cells + 1)
    counts, _, _ = np.histogram2d(theirs, ours, bins=[edges, edges])
    most = float(counts.max())
    parts = _frame(x, y, f"B: {metric}", f"A: {metric}")
    parts.append(f'<line class="z" x1="{_n(x(low))}" y1="{_n(y(low))}" x2="{_n(x(high))}" y2="{_n(y(high))}"/>')
    middle = (edges[:-1] + edges[1:]) / 2
    for i, j in np.argwhere(counts > 0).tolist():
        count, at, to = counts[i, j], float(middle[i]), float(middle[j])
        radius = max(2.0, 11 * math.sqrt(count / most))
        colour = OURS if j > i else THEIRS if j < i else GREY
        title = f"A about {to:.2f}, B about {at:.2f}: {count:,.0f} {unit}"
        parts.append(
            f'<circle cx="{_n(x(at))}" cy="{_n(y(to))}" r="{_n(radius)}" fill="{colour}" fill-opacity=".75">'
            f"<title>{escape(title)}</title></circle>"
        )
    return _svg(266, 250, f"Every one of the {unit} by its {metric} under {b} (across) and {a} (up)", parts)


def outcome(wins: int, ties: int, losses: int, unit: str) -> Markup:
    """One bar: for whom A is better, for whom both are the same, for whom B is."""
    total = max(wins + ties + losses, 1)
    parts, at = [], 0.0
    for count, colour, what in ((wins, OURS, "A better"), (ties, GREY, "the same"), (losses, THEIRS, "B better")):
        width = 680 * count / total
        extra = ' fill-opacity=".35"' if colour == GREY else ""
        parts.append(_rect(at, 0, width, 20, colour, f"{what}: {count:,} {unit}", extra))
        at += width
    return _svg(680, 20, f"A better for {wins:,}, the same for {ties:,}, B better for {losses:,} {unit}", parts)


@dataclass(frozen=True)
class Bar:
    """One slice: its figure, and the one that it is held against where there is one."""

    name: str
    value: float | None
    reference: float | None = None
    size: str = ""


def bars(groups: Sequence[tuple[str, Sequence[Bar]]], metric: str, reference: str = "") -> Markup:
    """Bars of slices by kind; a line across a bar marks the reference's figure on the same slice."""
    figures = [v for _, some in groups for bar in some for v in (bar.value, bar.reference) if v is not None]
    x = Axis(0, max([*figures, 1e-9]) * 1.02, 120, 400)
    parts, at = [], 4.0
    for kind, some in groups:
        parts.append(_text(2, at + 10, kind, cls="l"))
        at += 15
        for number, bar in enumerate(some):
            colour = SLICE_STYLE[number % len(SLICE_STYLE)][0]
            parts.append(_text(114, at + 9, bar.name, anchor="end"))
            if bar.value is None:
                parts.append(_text(124, at + 9, "—"))
            else:
                title = f"{kind} {bar.name}: {metric} {bar.value:.4f}{bar.size}"
                parts.append(_rect(120, at, x(bar.value) - 120, 11, colour, title))
            if bar.reference is not None:
                place = _n(x(bar.reference))
                title = f"{reference}: {bar.reference:.4f}"
                parts.append(
                    f'<line class="r" x1="{place}" x2="{place}" y1="{_n(at - 1)}" y2="{_n(at + 12)}">'
                    f"<title>{escape(title)}</title></line>"
                )
            at += 14
        at += 5
    for tick in x.ticks:
        parts.append(f'<line class="a" x1="{_n(x(tick))}" x2="{_n(x(tick))}" y1="{_n(at)}" y2="{_n(at + 4)}"/>')
        parts.append(_text(x(tick), at + 14, plain(tick), anchor="middle"))
    parts.append(f'<line class="a" x1="120" x2="400" y1="{_n(at)}" y2="{_n(at)}"/>')
    parts.append(_text(260, at + 29, metric, anchor="middle", cls="l"))
    return _svg(420, at + 34, f"{metric} by slice", parts)


@dataclass(frozen=True)
class Point:
    """One row of a board at its cost and quality; ``href``: its method's page."""

    name: str
    family: str
    cost: float
    quality: float
    href: str


def cost_scatter(points: Sequence[Point], metric: str, better: int, cost_label: str) -> Markup:
    """Quality against the cost of fitting, log scale. Rows that nothing beats at less cost are named and joined."""
    costs = [max(point.cost, LEAST_SECONDS) for point in points]
    x = Axis(min(costs) / 1.6, max(max(costs), min(costs) * 10) * 3, 62, 700, log=True)
    values = [point.quality for point in points]
    low, high = (0.0, max(values) * 1.08) if better > 0 else (min(values), max(values))
    room = 0.0 if better > 0 else (high - low) * 0.12 or 1.0
    y = Axis(low - room, high + room, 330, 16) if better > 0 else Axis(high + room, low - room, 330, 16)
    turned = "" if better > 0 else " (axis turned: up is better)"
    parts = _frame(x, y, cost_label, f"{metric}{turned}")
    front = _front(points, better)
    path = " ".join(f"{_n(x(max(p.cost, LEAST_SECONDS)))},{_n(y(p.quality))}" for p in front)
    parts.append(f'<polyline class="f" points="{path}"/>')
    for point, cost in zip(points, costs, strict=True):
        colour, mark = FAMILY_STYLE.get(point.family, (GREY, "o"))
        title = (
            f"{point.name}: {metric} {point.quality:.4f}, {point.cost:.3g} {cost_label.split('(')[-1].split(',')[0]}"
        )
        parts.append(
            f'<a href="{escape(point.href)}" aria-label="{escape(title)}">'
            f'<path d="{_mark(mark, x(cost), y(point.quality))}" fill="{colour}" class="p"/>'
            f"<title>{escape(title)}</title></a>"
        )
    parts += _names(front, x, y)
    return _svg(720, 374, f"{metric} against {cost_label}; {len(points)} methods", parts)


def _front(points: Sequence[Point], better: int) -> list[Point]:
    """Rows that no cheaper row equals, from cheap to dear."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, -better * p.quality, p.name)):
        if not kept or better * point.quality > better * kept[-1].quality:
            kept.append(point)
    return kept


def _names(front: Sequence[Point], x: Axis, y: Axis) -> list[str]:
    """Names above and left of the front's points, each under the one before where they would meet."""
    parts, last_right, last_y = [], -1e9, 1e9
    for point in front:
        at_x, at_y = x(max(point.cost, LEAST_SECONDS)), y(point.quality) - 9
        width = 6.1 * len(point.name)
        left = min(max(at_x - width / 2, 64), 716 - width)
        if left < last_right + 6 and abs(at_y - last_y) < 13:
            at_y = last_y - 13
        parts.append(_text(left, max(at_y, 10), point.name, cls="l"))
        last_right, last_y = left + width, max(at_y, 10)
    return parts


def _mark(mark: str, x: float, y: float, r: float = 5.2) -> str:
    """A path around (x, y) in the shape that matplotlib calls ``mark``."""
    corners = {
        "s": [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
        "D": [(0, -1.15), (1.15, 0), (0, 1.15), (-1.15, 0)],
        "^": [(0, -1.1), (1.05, 0.85), (-1.05, 0.85)],
        "v": [(0, 1.1), (1.05, -0.85), (-1.05, -0.85)],
        "P": [(-0.35, -1), (0.35, -1), (0.35, -0.35), (1, -0.35), (1, 0.35), (0.35, 0.35), (0.35, 1), (-0.35, 1),
              (-0.35, 0.35), (-1, 0.35), (-1, -0.35), (-0.35, -0.35)],
        "X": [(-1, -0.6), (-0.6, -1), (0, -0.4), (0.6, -1), (1, -0.6), (0.4, 0), (1, 0.6), (0.6, 1), (0, 0.4),
              (-0.6, 1), (-1, 0.6), (-0.4, 0)],
        "*": [(math.sin(n * math.pi / 5) * (1.45 if n % 2 == 0 else 0.6),
               -math.cos(n * math.pi / 5) * (1.45 if n % 2 == 0 else 0.6)) for n in range(10)],
    }  # fmt: skip
    if mark in corners:
        return "M" + "L".join(f"{_n(x + r * dx)} {_n(y + r * dy)}" for dx, dy in corners[mark]) + "Z"
    return f"M{_n(x - r)} {_n(y)}a{r} {r} 0 1 0 {_n(2 * r)} 0a{r} {r} 0 1 0 {_n(-2 * r)} 0Z"


def curve(points: Sequence[tuple[float, float]], x_label: str, y_label: str, better: int) -> Markup:
    """A line over epochs, its best point marked."""
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    low, high = (0.0 if better > 0 and min(ys) >= 0 else min(ys)), max(ys)
    room = (high - low) * 0.06 or 0.01
    x = Axis(min(xs), max(max(xs), min(xs) + 1), 62, 410)
    y = Axis(low, high + room, 214, 14)
    parts = _frame(x, y, x_label, y_label)
    parts.append(f'<polyline class="c" points="{" ".join(f"{_n(x(a))},{_n(y(b))}" for a, b in points)}"/>')
    best = max(points, key=lambda p: (better * p[1], -p[0]))
    parts.append(
        f'<circle cx="{_n(x(best[0]))}" cy="{_n(y(best[1]))}" r="4" fill="{OURS}">'
        f"<title>{escape(f'best: {best[1]:.4g} at {best[0]:g}')}</title></circle>"
    )
    return _svg(420, 250, f"{y_label} over {x_label}; best {best[1]:.4g} at {best[0]:g}", parts)


def mark_of(family: str) -> Markup:
    """A family's mark, for a key."""
    colour, mark = FAMILY_STYLE.get(family, (GREY, "o"))
    path = f'<path d="{_mark(mark, 7, 7, 4.4)}" fill="{colour}" class="p"/>'
    return Markup(f'<svg viewBox="0 0 14 14" aria-hidden="true">{path}</svg>')
