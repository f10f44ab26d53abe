"""Names beside points: whose name it is can be seen."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.text import Text

from llmrec.report.place import DISTANCES, label_points

mpl.use("Agg")

BEAUTY = {  # coverage and ndcg@10 of a suite where two names once stood beside each other's marks
    "sasrec": (0.890, 0.0531), "bert-sasrec": (0.799, 0.0570), "bert-cf-ease": (0.863, 0.0479),
    "decayed-transitions": (0.988, 0.0511), "hybrid-order": (0.984, 0.0530), "ease": (0.754, 0.0386),
}  # fmt: skip


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
def test_no_name_stands_beside_anothers_mark(seed):
    from matplotlib.figure import Figure

    points = list(BEAUTY.values())
    if seed is not None:
        points = [(x, y) for x, y in np.random.default_rng(seed).random((6, 2))]
    figure = Figure(figsize=(4, 3), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(*zip(*points, strict=True))
    axes.margins(0.3)
    label_points(figure, axes, points, list(BEAUTY))
    figure.draw_without_rendering()
    scale = figure.dpi / 72
    marks = axes.transData.transform(points) / scale
    for index, name in enumerate(axes.texts):
        x0, y0, x1, y1 = np.asarray(Text.get_window_extent(name).extents) / scale  # an annotation's has its line, too
        away = np.maximum(np.maximum(np.array([x0, y0]) - marks, marks - np.array([x1, y1])), 0)
        gaps = np.hypot(*away.T)
        assert (np.delete(gaps, index) > min(gaps[index], DISTANCES[0]) - 0.5).all(), (name.get_text(), gaps)
