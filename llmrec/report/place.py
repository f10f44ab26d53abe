"""Names beside points without overlaps: each name takes the free place nearest to its point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ANGLES = np.deg2rad([0, 180, 90, 270, 35, 145, 325, 215, 65, 115, 245, 295])  # tried in this order
DISTANCES = (6.0, 9.0, 14.0, 21.0, 30.0, 42.0)  # points from the mark
LEADER = 12.0  # points; farther names get a thin line to their mark
SIZE = 7.0  # of the names, points
MARK = 4.0  # half the side of a mark, points

CROSSING = 20.0  # what a line across something else costs, as square points of overlap
CONFUSING = 30.0  # what it costs to stand as near to another mark as names stand to theirs

Box = tuple[float, float, float, float]


def label_points(
    figure: Figure,
    axes: Axes,
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    bars: Sequence[tuple[float, float, float]] = (),
) -> None:
    """Write ``names[i]`` beside ``points[i]`` (x, y), clear of each other, the points and ``bars`` (x, low, high).

    Settles the figure's layout, because it measures on the page: call it last.
    """
    figure.draw_without_rendering()
    scale = figure.dpi / 72
    figure.set_layout_engine("none")
    places = axes.transData.transform(np.array(points)) / scale
    frame = np.asarray(axes.get_window_extent().extents) / scale
    marks: list[Box] = [(x - MARK, y - MARK, x + MARK, y + MARK) for x, y in places]
    taken: list[Box] = []
    for x, low, high in bars:
        (left, bottom), (_, top) = axes.transData.transform([(x, low), (x, high)]) / scale
        taken.append((left - 1, bottom, left + 1, top))
    for index in np.lexsort((places[:, 0], -places[:, 1])):  # from the top down, so that the order is always the same
        text = axes.text(0, 0, names[index], fontsize=SIZE)
        extent = text.get_window_extent()
        width, height = extent.width / scale, extent.height / scale
        text.remove()
        others = [mark for number, mark in enumerate(marks) if number != index] + taken
        strangers = np.delete(places, index, axis=0)
        box, distance = _free_place(places[index], width, height, others, strangers, frame)
        taken.append(box)
        centre = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
        line = {"arrowstyle": "-", "linewidth": 0.4, "color": "#6b6e74", "shrinkA": 0, "shrinkB": 3}
        axes.annotate(
            names[index], points[index], centre - places[index], textcoords="offset points", fontsize=SIZE,
            ha="center", va="center", arrowprops=line if distance > LEADER else None,
        )  # fmt: skip


def _free_place(
    point: npt.NDArray[np.float64],
    width: float,
    height: float,
    others: list[Box],
    strangers: npt.NDArray[np.float64],
    frame: npt.NDArray[np.float64],
) -> tuple[Box, float]:
    """The first place that touches nothing; if there is none, the one that covers least."""
    candidates: list[tuple[float, Box, float]] = []
    for distance in DISTANCES:
        for angle in ANGLES:
            cos, sin = float(np.cos(angle)), float(np.sin(angle))
            x = float(point[0]) + cos * (distance + width / 2)
            y = float(point[1]) + sin * (distance + height / 2)
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            covered = sum(_overlap(box, other) for other in others) + _outside(box, frame)
            covered += CONFUSING * int((_gaps(box, strangers) < min(distance, DISTANCES[0] + 1)).sum())
            if distance > LEADER:
                covered += CROSSING * _crossed(point, box, others)
            if covered == 0:
                return box, distance
            candidates.append((covered, box, distance))
    _, box, distance = min(candidates, key=lambda candidate: candidate[0])
    return box, distance


def _crossed(point: npt.NDArray[np.float64], box: Box, others: list[Box]) -> int:
    """How many boxes the line from a mark to its name would cross."""
    middle = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
    line = point + np.linspace(0.1, 1.0, 40)[:, None] * (middle - point)
    return sum(bool(((line > other[:2]) & (line < other[2:])).all(axis=1).any()) for other in others)


def _gaps(box: Box, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far each point [n, 2] lies from a box, points; 0 inside."""
    away = np.maximum(np.maximum(np.array(box[:2]) - points, points - np.array(box[2:])), 0.0)
    gaps: npt.NDArray[np.float64] = np.hypot(away[:, 0], away[:, 1])
    return gaps


def _overlap(a: Box, b: Box) -> float:
    """Area that two boxes share, in square points."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _outside(box: Box, frame: npt.NDArray[np.float64]) -> float:
    """Area of a box that lies outside the axes; the right edge may be passed a little."""
    inside = (float(frame[0]), float(frame[1]), float(frame[2]) + 2, float(frame[3]) + 2)
    return (box[2] - box[0]) * (box[3] - box[1]) - _overlap(box, inside)
