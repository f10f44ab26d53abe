"""The figures of a suite: quality against cost, accuracy against coverage, slices, learning curves.

Families differ in colour (Okabe and Ito's palette, safe for colour-blind readers) and in the mark's shape, so that a
greyscale print reads the same. Files carry no date: the same records give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmrec.report.evidence import Block, Line
from llmrec.report.place import label_points
from llmrec.report.table import Interval
from llmrec.report.words import FAMILIES, cost_unit, display_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE = Path(__file__).with_name("journal.mplstyle")

INK = "#1c1d1f"
"""The style's text colour; the page replaces it by the reader's own."""

FAMILY_STYLE = {
    "non-personal": ("#8a8d93", "o"),
    "collaborative": ("#0072b2", "s"),
    "sequential": ("#56b4e9", "D"),
    "content": ("#009e73", "^"),
    "bert": ("#e69f00", "P"),
    "gpt": ("#d55e00", "*"),
    "hybrid": ("#cc79a7", "X"),
    "external": ("#b0a000", "v"),
}
FEWEST_USERS = 20  # or other units of a slice that is drawn; with fewer its bars are noise
LEAST_SECONDS = 1e-3
"""Costs below a millisecond are drawn at it: the clock says no more, and a logarithmic axis has no zero."""

SLICE_STYLE = (("#0072b2", ""), ("#56b4e9", "////"), ("#e69f00", "...."), ("#8a8d93", "xxxx"), ("#d55e00", "\\\\\\\\"))
PNG_DPI = 200
MOST_MOVED = 0.08
"""The share of a PNG's pixels that may take a neighbouring shade; edges alone are 2 to 7 %."""

SHADES = ((0, 0.0), (0, 0.45), (1, 0.5), (0, 0.75))
"""(towards: 0 black, 1 white; how far) of the methods of one family."""

MANY = 15
"""Points whose names fit into a column's width; with more of them a plot is wider."""

DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))


def draw_all(block: Block, interval: Interval) -> dict[str, Figure]:
    """Every figure that the block has data for, by file name without suffix."""
    figures: dict[str, Figure] = {}
    unit = cost_unit(block)
    suffix = unit.replace(" ", "_").lower()
    if block.finished:
        figures["quality-fit-cost"] = scatter(
            block, interval, lambda line: _mean(line.costs(f"fit_{suffix}")), f"Fit cost ({unit}, log scale)",
            "Quality against the cost of fitting", log=True,
        )  # fmt: skip
        figures["quality-answer-cost"] = scatter(
            block, interval, lambda line: _mean(line.costs(f"answer_{suffix}")),
            f"Answer cost, all {block.n_users:,} {block.task.unit} ({unit}, log scale)",
            "Quality against the cost of answering", log=True,
        )  # fmt: skip
        if any(line.figures("coverage@10") for line in block.finished):
            figures["accuracy-coverage"] = scatter(
                block, interval, lambda line: _mean(line.figures("coverage@10")),
                "Catalogue coverage@10 (share of candidates)", "Accuracy against coverage",
            )  # fmt: skip
    if any(_validated(line) for line in block.finished):
        figures["learning-curves"] = learning_curves(block)
    for kind in slice_kinds(block):
        figures[f"slices-{kind}"] = slices(block, kind)
    return figures


def scatter(
    block: Block,
    interval: Interval,
    cost: Callable[[Line], float | None],
    x_label: str,
    title: str,
    *,
    log: bool = False,
) -> Figure:
    """The primary metric with its 95 % interval against another quantity, one named point a method."""
    with panel(title, (5.0, 3.9) if len(block.finished) > MANY else None) as (figure, axes):
        points: list[tuple[float, float]] = []
        bars: list[tuple[float, float, float]] = []
        names: list[str] = []
        shown: list[str] = []
        for line in block.finished:
            x, y = cost(line), _mean(line.figures(block.task.primary))
            if x is None or y is None or (log and line.family == "external"):
                continue
            x = max(x, LEAST_SECONDS) if log else x
            colour, mark = FAMILY_STYLE[line.family]
            if found := interval(line, block.task.primary):
                axes.vlines(x, *found, color=colour, linewidth=0.9, alpha=0.8)
                bars.append((x, *found))
            label = FAMILIES[line.family] if line.family not in shown else None
            shown.append(line.family)
            axes.scatter(
                x, y, s=55 if mark == "*" else 32, c=colour, marker=mark, linewidths=0.5, edgecolors=INK,
                zorder=3, label=label, clip_on=False,
            )  # fmt: skip
            points.append((x, y))
            names.append(display_name(line))
        axes.margins(x=0.16, y=0.1)
        if log:
            _log_seconds(axes)
        axes.set_xlabel(x_label)
        _quality_axis(axes, block, "" if block.task.pooled else "bars: 95 % interval")
        _legend_in_family_order(figure, axes)
        if names:
            label_points(figure, axes, points, names, bars)
    return figure


def slices(block: Block, kind: str) -> Figure:
    """The primary metric of each method on each slice of one kind ("items", "users"), methods from best to worst."""
    from matplotlib.ticker import MaxNLocator

    task = block.task
    lines = sorted(block.finished, key=lambda line: task.better * (_mean(line.figures(task.primary)) or 0.0))
    parts = [part for other, part in _drawn_slices(block) if other == kind]
    height = 1.0 + 0.14 * len(lines) * (len(parts) + 0.8)
    with panel(f"By {kind}", (3.8, height)) as (figure, axes):
        thick = 0.8 / len(parts)
        for number, part in enumerate(parts):
            colour, hatch = SLICE_STYLE[number % len(SLICE_STYLE)]
            places = np.arange(len(lines)) + 0.4 - thick * (number + 0.5)
            values = [_mean(_slice_figures(line, f"{kind}:{part}")) for line in lines]
            axes.barh(
                places, [v if v is not None else 0.0 for v in values], thick * 0.9, color=colour, hatch=hatch,
                edgecolor=INK, linewidth=0.3, label=_slice_label(block, kind, part),
            )  # fmt: skip
            for place, value in zip(places, values, strict=True):
                if value is None:
                    axes.annotate("—", (0, place), (3, 0), textcoords="offset points", va="center", fontsize=6)
        axes.set_yticks(np.arange(len(lines)), [display_name(line) for line in lines])
        axes.set_ylim(-0.6, len(lines) - 0.4)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        over = "ratings, mean over folds and seeds" if task.pooled else f"mean over {task.unit} and seeds"
        axes.set_xlabel(f"{task.primary} ({over})")
        figure.legend(loc="outside lower center", ncols=2 if len(parts) > 2 else len(parts))
    return figure


def learning_curves(block: Block) -> Figure:
    """The primary metric on validation after each epoch; one line a seed, a shade of its family's colour and a dash of
    its own a method."""
    from matplotlib.ticker import MaxNLocator

    with panel("Learning curves") as (figure, axes):
        lines = [line for line in block.finished if _validated(line)]
        for number, line in enumerate(lines):
            before = sum(other.family == line.family for other in lines[:number])
            colour, mark = shade(FAMILY_STYLE[line.family][0], before), FAMILY_STYLE[line.family][1]
            dash = DASHES[number % len(DASHES)]
            curves = _validated(line)
            for place, curve in enumerate(curves):
                epochs, values = zip(*curve, strict=True)
                label = display_name(line) if place == 0 else None
                axes.plot(epochs, values, color=colour, linestyle=dash, linewidth=1.0, alpha=0.85, label=label)
            points = [point for curve in curves for point in curve]
            epoch, value = max(points, key=lambda point: (block.task.better * point[1], -point[0]))
            axes.plot(
                epoch, value, mark, color=colour, markersize=5, markeredgecolor=INK, markeredgewidth=0.5, zorder=3
            )
        axes.set_xlabel("Epoch (count)")
        _quality_axis(axes, block, "validation; mark: best")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(loc="outside lower center", ncols=2, handlelength=3)
    return figure


def shade(colour: str, number: int) -> str:
    """A family's colour for its first method; darker, lighter and very dark for the next, and so on."""
    from matplotlib.colors import to_hex, to_rgb

    towards, share = SHADES[number % len(SHADES)]
    red, green, blue = ((1 - share) * part + share * towards for part in to_rgb(colour))
    return to_hex((red, green, blue))


def slice_kinds(block: Block) -> list[str]:
    """The kinds of slices that can be drawn, "items" and "users", say; one slice alone compares nothing."""
    kinds = [kind for kind, _ in _drawn_slices(block)]
    return sorted({kind for kind in kinds if kinds.count(kind) > 1})


def save(figure: Figure, path: Path) -> list[Path]:
    """Write PATH.pdf and PATH.png without dates; the style makes fonts of the PDF TrueType, which journals ask for."""
    import matplotlib as mpl

    written = [path.with_name(path.name + suffix) for suffix in (".pdf", ".png")]
    with mpl.rc_context(fname=STYLE):
        figure.savefig(written[0], metadata={"CreationDate": None, "ModDate": None, "Producer": "matplotlib"})
        written[1].write_bytes(_small_png(figure))
    return written


def _small_png(figure: Figure) -> bytes:
    """A figure as PNG of at most 256 colours: a quarter of the bytes of full colour, and nothing an eye would miss.

    Each palette entry is the commonest of the colours that it stands for, so paper, ink and fills keep theirs exactly;
    only shades of antialiased edges move. Where more than edges would, in a heat map's many tints, no colour does.
    """
    from PIL import Image

    drawn, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=PNG_DPI, pil_kwargs={"compress_level": 1})
    picture = Image.open(drawn).convert("RGB")
    indexed = picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    colours = np.asarray(picture).reshape(-1, 3).astype(np.int64) @ (1 << 16, 1 << 8, 1)  # 0xRRGGBB
    pairs, times = np.unique(np.asarray(indexed).ravel().astype(np.int64) << 24 | colours, return_counts=True)
    order = np.argsort(times, kind="stable")
    pairs, times = pairs[order], times[order]  # the commonest colour of an entry comes last and stays
    palette = np.zeros((256, 3), np.uint8)
    palette[pairs >> 24] = np.stack([pairs >> 16, pairs >> 8, pairs], axis=1).astype(np.uint8)
    indexed.putpalette(palette[: int(pairs.max() >> 24) + 1].tobytes())
    kept = np.zeros(256, np.int64)
    kept[pairs >> 24] = times
    moved = 1 - kept.sum() / times.sum()
    (indexed if moved <= MOST_MOVED else picture).save(packed, "PNG", optimize=True)
    return packed.getvalue()


def svg(figure: Figure) -> str:
    """A figure as an <svg> element whose ink is the page's text colour."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "llmrec", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")


@contextmanager
def panel(title: str, size: tuple[float, float] | None = None) -> Iterator[tuple[Figure, Axes]]:
    """An empty figure of one panel in the report's style. ``size``: inches; default: the style's."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(fname=STYLE):
        figure = Figure(figsize=size) if size else Figure()
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.set_title(title)
        yield figure, axes


def _quality_axis(axes: Axes, block: Block, words: str) -> None:
    """The primary metric, up is better: from 0, or turned upside down where lower is better."""
    task = block.task
    if task.better > 0:
        axes.set_ylim(bottom=0)
    else:
        axes.invert_yaxis()
    said = [words] if words else []
    said += [] if task.better > 0 else ["axis turned: up is better"]
    axes.set_ylabel(f"{task.primary} ({'; '.join(said)})" if said else task.primary)


def _log_seconds(axes: Axes) -> None:
    """A logarithmic x axis with plain numbers, more of them where it spans little."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    subs = (1.0,) if high / low > 300 else (1.0, 3.0) if high / low > 30 else (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _legend_in_family_order(figure: Figure, axes: Axes) -> None:
    handles: Any
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: list(FAMILIES.values()).index(labels[i]))
    figure.legend(
        [handles[i] for i in order], [labels[i] for i in order], loc="outside lower center", ncols=3,
        handletextpad=0.2, columnspacing=1.0,
    )  # fmt: skip


def _mean(figures: list[float]) -> float | None:
    return float(np.mean(figures)) if figures else None


def _drawn_slices(block: Block) -> list[tuple[str, str]]:
    """(kind, part) of every slice with enough units, in the records' order: ("items", "tail")."""
    sizes: dict[str, float] = {}
    for line in block.finished:
        for record in line.records:
            for name, figures in record.slices.items():
                sizes.setdefault(name, figures.get(block.task.unit, 0.0))
    return [
        (kind, part) for name, size in sizes.items() for kind, _, part in [name.partition(":")] if size >= FEWEST_USERS
    ]


def _slice_figures(line: Line, name: str) -> list[float]:
    primary = line.task.primary
    return [r.slices[name][primary] for r in line.records if primary in r.slices.get(name, {})]


def _slice_label(block: Block, kind: str, part: str) -> str:
    """A slice's name with its size, where the records say it; the folds' sizes are added up."""
    sizes = ("targets",) if block.task.pooled else (block.task.unit, "targets")
    for runs in (runs for line in block.finished for runs in line.by_seed):
        figures = [run.record.slices.get(f"{kind}:{part}", {}) for run in runs if run.record]
        for size in sizes:
            if all(size in one for one in figures):
                return f"{part} ({sum(one[size] for one in figures):,.0f} {size})"
    return part


def _validated(line: Line) -> list[list[tuple[float, float]]]:
    """(epoch, primary metric on validation) of each finished run that has a learning curve."""
    watched = line.task.primary
    curves = [[(p["epoch"], p[watched]) for p in run.curve if watched in p] for run in line.done]
    return [curve for curve in curves if curve]
