"""The paper's figures. To add one, write a function marked ``@figure`` that returns a matplotlib figure.

Its name, with hyphens, is the file's: `quality_cost` makes generated/figures/quality-cost.pdf and .png, and main.tex
shows it with ``\\fig{quality-cost}``. Families have a colour and a mark of their own; a greyscale print reads the same.
"""

from itertools import combinations
from statistics import fmean

import numpy as np
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from llmrec import stats
from llmrec.manuscript import NotYet, canvas, figure
from llmrec.report import plots, tuning
from llmrec.report.words import FAMILIES, MINUS, cost_unit, display_name

HEADLINE = ("ml-100k", "ml-100k")  # suite and dataset whose methods are shown one by one
GAINS = (
    "ml-100k",
    "tuned-ml-1m",
    "tuned-beauty",
    "gpt-beauty-seeds",
    "impressions",
    "impressions-zh",
    "requests",
)  # suites of the heat map, in order
NEW = "cold"  # suite whose items are new
FIELDS = ("sequences", "sets")  # suites of the second heat map: the core methods on many datasets, one seed
TUNED = ("tuned-ml-100k", "ml-100k")  # suite and dataset whose searches are shown
LEVEL = 0.05
GENERATOR = "gpt-semantic-id"
SLICES = (
    {"head": "popular targets", "tail": "other targets", "cold": "new targets"},
    {"low": "short", "mid": "middling", "high": "long"},
)
SIGNALS = {"random": "random", "collaborative": "collaborative", "text": "text", "text+collaborative": "both"}
NEIGHBOURS = ("collaborative_dims", "collaborative_reach", "collaborative_weight")
UNREAD = {"random": ("encoder", *NEIGHBOURS), "text": NEIGHBOURS, "collaborative": ("encoder", "collaborative_weight")}
"""Parameters that make no difference under a signal."""


@figure
def quality_cost(results):
    """Accuracy against CPU seconds of fitting, with the front of those that nothing cheaper beats."""
    block = results.block(*HEADLINE)
    unit = cost_unit(block)
    key = "fit_" + unit.replace(" ", "_").lower()
    drawn = plots.scatter(
        block, results.findings(block).interval, lambda line: fmean(line.costs(key)),
        f"Cost of fitting ({unit}, log scale)", "", log=True,
    )  # fmt: skip
    points = [
        (max(fmean(x.costs(key)), plots.LEAST_SECONDS), fmean(x.figures(block.task.primary))) for x in block.finished
    ]
    front = pareto(points)
    axes, edges = drawn.axes[0], drawn.axes[0].get_xlim()
    xs, ys = zip(*front, (edges[1], front[-1][1]), strict=True)
    axes.step(xs, ys, where="post", color="#6b6e74", linewidth=0.7, linestyle=(0, (4, 2)), zorder=1)
    axes.set_xlim(edges)
    for name in axes.texts:  # the front passes behind names
        name.set_path_effects([withStroke(linewidth=2, foreground="white")])
    return drawn


def pareto(points):
    """The points that no other beats at once in cost (x, less is better) and quality (y), from the cheapest up."""
    front = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front


@figure
def accuracy_coverage(results):
    """Accuracy against the share of the catalogue that is recommended to anyone."""
    block = results.block(*HEADLINE)
    return plots.scatter(
        block, results.findings(block).interval, lambda line: fmean(line.figures("coverage@10")),
        "Coverage@10 (share of the catalogue)", "",
    )  # fmt: skip


@figure
def accuracy_popularity(results):
    """Accuracy against how popular the recommended items are: the bias towards popular items."""
    block = results.block(*HEADLINE)
    return plots.scatter(
        block, results.findings(block).interval, lambda line: fmean(line.figures("popularity@10")),
        "Mean popularity of the recommended items (interactions)", "",
    )  # fmt: skip


@figure
def critical_difference(results):
    """Mean ranks over users; a bar joins methods that no Holm-corrected permutation test tells apart."""
    block = results.block(*HEADLINE)
    lines = block.finished
    values = np.stack([line.values(block.task.primary).mean(axis=0) for line in lines])
    ranks = mean_ranks(block.task.better * values)
    order = np.argsort(ranks.mean(axis=1), kind="stable")
    groups = cliques(ranks[order])
    height = 0.6 + 0.14 * ((len(lines) + 1) // 2) + 0.12 * len(groups)
    with canvas((6.2, height)) as (drawn, axes):
        draw_ranks(axes, ranks[order].mean(axis=1), [lines[i] for i in order], groups)
        axes.set_xlabel(f"Mean rank over {block.n_users:,} users by {block.task.primary} (rank, 1 = best)")
    return drawn


def mean_ranks(values):
    """Ranks of methods within each user, [methods, users]: 1 is best, ties share the mean of their places."""
    better = (values[:, None] < values[None]).sum(axis=1)
    same = (values[:, None] == values[None]).sum(axis=1)
    return better + (same + 1) / 2


def cliques(ranks):
    """Stretches (first, last) of methods, best first, within which no pair differs; only the longest ones."""
    pairs = [(i, j) for i in range(len(ranks)) for j in range(i + 1, len(ranks))]
    p = stats.holm([stats.paired_permutation_test(ranks[i] - ranks[j]) for i, j in pairs])
    apart = {pair for pair, value in zip(pairs, p, strict=True) if value < LEVEL}
    found = []
    for first in range(len(ranks)):
        last = first
        while last + 1 < len(ranks) and not any((i, last + 1) in apart for i in range(first, last + 1)):
            last += 1
        if last > first and not (found and found[-1][1] >= last):
            found.append((first, last))
    return found


def draw_ranks(axes, means, lines, groups):
    """Names left and right of an axis of ranks, each with a line to its place; bars for groups below the axis."""
    low, high = np.floor(means.min() * 2) / 2, np.ceil(means.max() * 2) / 2
    half = (len(lines) + 1) // 2
    first = -0.5 - 0.35 * len(groups)
    for place, (mean, line) in enumerate(zip(means, lines, strict=True)):
        left = place < half
        depth = first - 0.5 * (place if left else len(lines) - 1 - place)
        edge = low - 0.02 * (high - low) if left else high + 0.02 * (high - low)
        colour, mark = plots.FAMILY_STYLE[line.family]
        axes.plot([mean, mean, edge], [0, depth, depth], color=plots.INK, linewidth=0.6, clip_on=False)
        axes.plot(mean, 0, mark, color=colour, markeredgecolor=plots.INK, markeredgewidth=0.5, markersize=5, zorder=3,
                  clip_on=False)  # fmt: skip
        words = f"{display_name(line)}  {mean:.2f}" if left else f"{mean:.2f}  {display_name(line)}"
        axes.annotate(words, (edge, depth), (-2 if left else 2, 0), textcoords="offset points", fontsize=7,
                      ha="right" if left else "left", va="center", annotation_clip=False)  # fmt: skip
    for number, (start, end) in enumerate(groups):
        width = 0.006 * (high - low)
        depth = -0.3 - 0.35 * number
        axes.plot([means[start] - width, means[end] + width], [depth] * 2, color=plots.INK, linewidth=2.6, zorder=4,
                  solid_capstyle="butt")  # fmt: skip
    axes.set_xlim(low, high)
    axes.set_ylim(first - 0.5 * half, 0.4)
    axes.spines[["left", "right", "bottom"]].set_visible(False)
    axes.spines["top"].set_visible(True)
    axes.spines["top"].set_position(("data", 0))
    axes.xaxis.set_ticks_position("top")
    axes.xaxis.set_label_position("top")
    axes.set_yticks([])
    axes.grid(visible=False)


@figure
def gains(results):
    """Relative gain over the best baseline (chosen on validation), a column a dataset; * marks differences."""
    return gain_map(results, GAINS)


@figure
def fields(results):
    """The same for the core methods on datasets of many fields."""
    return gain_map(results, FIELDS)


def gain_map(results, suites):
    blocks = [block for suite in suites if suite in results.suites for block in results.blocks(suite)]
    blocks = [block for block in blocks if results.findings(block).baseline is not None]
    if not blocks:
        raise NotYet("no published table has a baseline chosen on validation")
    labels = sorted(
        {(list(FAMILIES).index(line.family), display_name(line)) for block in blocks for line in block.finished}
    )
    rows = [label for _, label in labels]
    table, marks = np.full((len(rows), len(blocks)), np.nan), {}
    for column, block in enumerate(blocks):
        findings = results.findings(block)
        base = fmean(findings.baseline.figures(block.task.primary))
        row = rows.index(display_name(findings.baseline))
        table[row, column], marks[row, column] = 0.0, "baseline"
        for found in findings.against_baseline:
            row = rows.index(display_name(found.line))
            table[row, column] = 100 * found.difference / base
            marks[row, column] = whole_percent(table[row, column]) + "*" * found.distinct
    return heat_map(table, marks, rows, [column_name(block, blocks) for block in blocks])


def whole_percent(gain):
    """ "+19", with a true minus sign; "0" has none."""
    return f"{gain:+.0f}".replace("-", MINUS) if round(gain) else "0"


def column_name(block, others):
    """Dataset, task and metric; where two suites ask the same of one dataset, the suite's name as well."""
    asked = (block.dataset, block.spec.task)
    twice = sum((other.dataset, other.spec.task) == asked for other in others) > 1
    notes = [block.suite] * twice + ["small"] * (block.n_users < 300)
    return "\n".join(
        [broken(block.dataset), block.spec.task, block.task.primary, *(f"({broken(note)})" for note in notes)]
    )


def broken(name):
    """A long name on two lines, parted after the hyphen nearest to its middle."""
    places = [place for place, letter in enumerate(name, 1) if letter == "-"]
    if len(name) <= 9 or not places:
        return name
    at = min(places, key=lambda place: abs(place - len(name) / 2))
    return f"{name[:at]}\n{name[at:]}"


def heat_map(table, marks, rows, columns):
    with canvas((6.4, 1.7 + 0.165 * len(rows))) as (drawn, axes):
        image = axes.imshow(np.clip(table, -100, 100), cmap="PuOr_r", vmin=-100, vmax=100, aspect="auto")
        for (row, column), words in marks.items():
            shade = table[row, column]
            ink = "white" if np.isfinite(shade) and abs(shade) > 55 else plots.INK
            axes.text(column, row, words, ha="center", va="center", fontsize=6.5, color=ink)
        axes.set_xticks(range(len(columns)), columns, fontsize=6 if len(columns) < 7 else 4.8)
        axes.set_yticks(range(len(rows)), rows)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.set_facecolor("#ececef")  # not run
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        bar = drawn.colorbar(image, ax=axes, location="bottom", shrink=0.5, aspect=40, pad=0.02)
        bar.set_label("Gain over the best baseline (%)", fontsize=7)
        bar.ax.tick_params(labelsize=6.5)
        bar.outline.set_visible(False)
    return drawn


@figure
def slices(results):
    """Accuracy by popularity of the target and by length of the user's history, methods from best to worst; in brackets
    the number of users."""
    block = results.block(*HEADLINE)
    metric = block.task.primary
    lines = sorted(block.finished, key=lambda line: block.task.better * fmean(line.figures(metric)))
    with canvas((6.4, 1.1 + 0.15 * len(lines)), ncols=2, sharey=True) as (drawn, panels):
        for axes, kind, words in zip(panels, ("items", "users"), SLICES, strict=True):
            sizes = {part: size for part in words if (size := users_of(lines, f"{kind}:{part}")) >= plots.FEWEST_USERS}
            for number, (part, size) in enumerate(sizes.items()):
                places = [place for place, line in enumerate(lines) if parts(line, f"{kind}:{part}")]
                values = [fmean(one[metric] for one in parts(lines[place], f"{kind}:{part}")) for place in places]
                apart = 0.2 * ((len(sizes) - 1) / 2 - number)  # equal figures would hide each other
                shade = plots.SLICE_STYLE[number][0] if number else "white"
                axes.plot(values, np.array(places) + apart, "osD"[number], color=shade, markersize=4.5, clip_on=False,
                          markeredgecolor=plots.INK, markeredgewidth=0.7, zorder=3, label=f"{words[part]} ({size:,})",
                          )  # fmt: skip
            axes.set_yticks(range(len(lines)), [display_name(line) for line in lines])
            axes.tick_params(axis="y", length=0)
            axes.set_xlim(left=0)
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.set_xlabel(f"{metric} (mean over users and seeds)")
            axes.set_title(" ")  # room for the legend, which would squeeze the panel if the layout counted it
            legend = axes.legend(loc="lower left", bbox_to_anchor=(-0.03, 0.99), ncols=3, handletextpad=0,
                                 columnspacing=0.5, fontsize=6.5)  # fmt: skip
            legend.set_in_layout(False)
    return drawn


def users_of(lines, name):
    """How many users a slice has."""
    return int(max((one.get(line.task.unit, 0) for line in lines for one in parts(line, name)), default=0))


def parts(line, name):
    """A slice's figures in each of a row's records that have it."""
    return [record.slices[name] for record in line.records if name in record.slices]


@figure
def cold_items(results):
    """Accuracy on new items, which nobody had taken in training, beside that on all items; in brackets the number of
    users whose target is new."""
    blocks = [block for block in results.blocks(NEW) if users_of(block.finished, "items:cold") >= plots.FEWEST_USERS]
    if not blocks:
        raise NotYet(f"not yet run: no dataset of suite {NEW!r} has {plots.FEWEST_USERS} users whose target is new")
    metric = blocks[0].task.primary
    rows = {line.label: line for block in reversed(blocks) for line in block.finished if parts(line, "items:cold")}
    order = sorted(rows.values(), key=lambda line: new_figure(line, metric))
    places = {line.label: place for place, line in enumerate(order)}
    with canvas((6.4, 0.9 + 0.15 * len(order)), ncols=len(blocks), sharey=True) as (drawn, panels):
        for axes, block in zip(np.atleast_1d(panels), blocks, strict=True):
            for line in (line for line in block.finished if parts(line, "items:cold")):
                colour, mark = plots.FAMILY_STYLE[line.family]
                for value, fill in ((fmean(line.figures(metric)), "white"), (new_figure(line, metric), colour)):
                    axes.plot(value, places[line.label], mark, color=fill, markeredgecolor=plots.INK, clip_on=False,
                              markeredgewidth=0.7, markersize=5, zorder=2 + (fill == colour))  # fmt: skip
            axes.set_yticks(range(len(order)), [display_name(line) for line in order])
            axes.tick_params(axis="y", length=0)
            axes.set_xlim(left=0)
            axes.xaxis.set_major_locator(MaxNLocator(3))
            axes.set_xlabel(f"{metric}, {block.dataset}\n({users_of(block.finished, 'items:cold'):,} users)")
    return drawn


def new_figure(line, metric):
    """Mean over seeds of the accuracy on new items."""
    return fmean(one[metric] for one in parts(line, "items:cold"))


@figure
def seeds(results):
    """Each seed's figure beside the interval over users: what chance in training is worth, and what chance in users."""
    block = results.block(*HEADLINE)
    primary, interval = block.task.primary, results.findings(block).interval
    lines = sorted(block.finished, key=lambda line: block.task.better * fmean(line.figures(primary)))
    with canvas((3.8, 0.9 + 0.18 * len(lines))) as (drawn, axes):
        for place, line in enumerate(lines):
            colour, mark = plots.FAMILY_STYLE[line.family]
            if bounds := interval(line, primary):
                axes.plot(bounds, [place, place], color=colour, linewidth=5, alpha=0.3, solid_capstyle="butt")
            axes.plot(line.figures(primary), [place] * len(line.figures(primary)), mark, color=colour, markersize=4.5,
                      markeredgecolor=plots.INK, markeredgewidth=0.4, alpha=0.9, linestyle="none")  # fmt: skip
        names = [f"{display_name(line)} ({len(line.by_seed)})" for line in lines]
        axes.set_yticks(range(len(lines)), names)
        axes.set_xlabel(f"{primary} (bar: 95 % interval)")
        axes.set_xlim(left=0)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
    return drawn


@figure
def learning_curves(results):
    """Accuracy on validation after each epoch, a line a seed."""
    return untitled(plots.learning_curves(results.block(*HEADLINE)))


@figure
def tuning_curves(results):
    """The best validation figure after each trial of the search for a row's parameters."""
    budgets = tuning.frozen(results.studies(*TUNED))
    return untitled(tuning.tuning_curves(budgets, TUNED[1]))


@figure
def beams_exactness(results):
    """What a narrow beam costs: accuracy, and users whose figure is that of the search through the whole catalogue."""
    found = [group for group in alike(results, ("search", "beams")) if any(exact(line) for line in group[1])]
    if not found:
        raise NotYet(f"not yet run: no published suite has {GENERATOR} with several beams and with search = 'exact'")
    block, lines = found[0]
    truth = next(line for line in lines if exact(line))
    metric, interval = block.task.primary, results.findings(block).interval
    beams = sorted((setting(line, "beams"), line) for line in lines if not exact(line))
    widths = [width for width, _ in beams]
    with canvas((6.4, 2.2), ncols=2) as (drawn, (left, right)):
        colour, mark = plots.FAMILY_STYLE["gpt"]
        for width, line in beams:
            left.vlines(width, *interval(line, metric), color=colour, linewidth=0.9, alpha=0.8)
        left.plot(widths, [fmean(line.figures(metric)) for _, line in beams], marker=mark, color=colour)
        level = fmean(truth.figures(metric))
        left.axhline(level, color=plots.INK, linestyle="--", linewidth=0.8)
        left.annotate("every item scored", (widths[0], level), (3, 3), textcoords="offset points", fontsize=7,
                      path_effects=[withStroke(linewidth=2, foreground="white")])  # fmt: skip
        left.set_ylabel(f"{metric} (bars: 95 % interval)")
        left.set_ylim(bottom=0)
        same = [100 * agreement(line.values(metric), truth.values(metric)) for _, line in beams]
        right.plot(widths, same, marker=mark, color=colour)
        right.set_ylabel(f"Users with the {metric}\nof the exact search (%)")
        for axes in (left, right):
            axes.set_xscale("log", base=2)
            axes.set_xticks(widths, [str(width) for width in widths])
            axes.set_xlabel("Beams (count, log scale)")
    return drawn


def agreement(some, others):
    """The share of users whose figure is the same [seeds, users], over the seeds that both have."""
    seeds = min(len(some), len(others))
    return float(np.isclose(some[:seeds], others[:seeds]).mean())


@figure
def semantic_ids(results):
    """What the generator's ids are made of, all else equal: each seed's figure, the interval over users and seeds."""
    groups = one_a_dataset(alike(results, ("signal",)))
    if not groups:
        raise NotYet(f"not yet run: no published suite has {GENERATOR} with several signals and all else equal")
    with canvas((2.9 * len(groups[:2]) + 0.4, 2.5), ncols=len(groups[:2]), squeeze=False) as (drawn, rows):
        for (block, lines), axes in zip(groups, rows[0], strict=False):
            metric, interval = block.task.primary, results.findings(block).interval
            order = sorted(lines, key=lambda line: list(SIGNALS).index(setting(line, "signal")))
            colour, mark = plots.FAMILY_STYLE["gpt"]
            for place, line in enumerate(order):
                axes.vlines(place, *interval(line, metric), color=colour, linewidth=5, alpha=0.3)
                figures = line.figures(metric)
                axes.plot([place] * len(figures), figures, mark, color=colour, markersize=6, linestyle="none",
                          markeredgecolor=plots.INK, markeredgewidth=0.4)  # fmt: skip
            names = [f"{SIGNALS[setting(line, 'signal')]}\n({len(line.by_seed)})" for line in order]
            axes.set_xticks(range(len(order)), names)
            axes.set_xlim(-0.5, len(order) - 0.5)
            axes.set_ylim(bottom=0)
            axes.set_xlabel(f"Signal of the ids (seeds)\n{block.dataset}")
            axes.set_ylabel(f"{metric} (bar: 95 % interval)")
            axes.grid(axis="x", visible=False)
    return drawn


def alike(results, names):
    """(block, rows) of the generator's rows that differ in these parameters and in nothing else: most rows first, then
    those with most seeds."""
    groups = []
    for block, lines in results.lines_of(GENERATOR):
        found = {}
        for one in lines:
            same = [other for other in lines if agree(one, other, names)]
            if len(same) > 1 and all(agree(*pair, names) for pair in combinations(same, 2)):
                found[tuple(map(id, same))] = (block, same)  # each group once
        groups += found.values()
    return sorted(groups, key=lambda group: (-len(group[1]), -min(len(line.by_seed) for line in group[1])))


def one_a_dataset(groups):
    return list({block.dataset: (block, lines) for block, lines in reversed(groups)}.values())[::-1]


def agree(one, other, names):
    """Whether two rows have the same parameters but for these, and those that one of them does not read."""
    idle = {*names, *UNREAD.get(setting(one, "signal"), ()), *UNREAD.get(setting(other, "signal"), ())}
    ours, theirs = one.records[0].params, other.records[0].params
    return all(ours.get(key) == theirs.get(key) for key in ours.keys() | theirs.keys() if key not in idle)


def setting(line, name):
    return line.records[0].params[name]


def exact(line):
    return setting(line, "search") == "exact"


def untitled(drawn):
    """Captions stand in the text."""
    drawn.axes[0].set_title("", loc="left")
    return drawn
