"""What things are called and how figures are written, the same in every table, plot and page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmrec.records import Protocol, Record, TaskName
from llmrec.report.evidence import Block, Line

FAMILIES = {
    "non-personal": "Non-personal",
    "collaborative": "Collaborative filtering",
    "sequential": "Sequential",
    "content": "Content-based",
    "bert": "BERT, scoring",
    "gpt": "GPT, generative",
    "hybrid": "Hybrid",
    "external": "External: answers of other programs",
}
"""Families in the order of a table, with their headings."""

MINUS = "\N{MINUS SIGN}"
NO_FIGURE = "—"
TIED = "≈"
"""Stands after a figure that is not distinguishable from the best of its column."""


@dataclass(frozen=True)
class Column:
    """One quantity of a table. ``better``: 1 if higher is better, -1 if lower is, 0 if neither."""

    key: str
    title: str
    unit: str
    better: int
    show: Callable[[float], str]
    accuracy: bool = False
    cost: bool = False

    @property
    def heading(self) -> str:
        return f"{self.title} ({self.unit})" if self.unit else self.title


def fraction(value: float) -> str:
    """Four decimals without the leading zero: .0523."""
    text = f"{value:.4f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def signed(value: float) -> str:
    """A difference, always with its sign: +.0123."""
    return ("+" if value >= 0 else MINUS) + fraction(abs(value))


def effect(value: float) -> str:
    """An effect size with its sign: +0.12."""
    return f"{value:+.2f}".replace("-", MINUS)


def quantity(value: float) -> str:
    """Three significant digits without an exponent, thousands set apart: 0.00412, 12.3, 4 120."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}".replace(",", "\u202f")
    decimals = 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:.{decimals}f}" if size >= 0.0005 else "<0.001"


def count(value: float) -> str:
    """A number of things, shortened: 940, 12.3 k, 1.20 M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.0f}"


def gibibytes(value: float) -> str:
    return f"{value / 2**30:.2f}"


def p_value(value: float) -> str:
    return "<.001" if value < 0.001 else fraction(value)[:-1]


def metric_column(key: str) -> Column:
    """The column of a metric: "ndcg@10", "coverage@10", "novelty@10", ..."""
    name = key.split("@")[0]
    if name in ("recall", "ndcg", "hit", "mrr", "map", "precision", "auc", "user_auc"):
        return Column(key, key.replace("_", " "), "", 1, fraction, accuracy=True)
    if name in ("rmse", "mae"):
        return Column(key, key, "", -1, fraction, accuracy=True)
    if name == "novelty":
        return Column(key, key, "bits", 1, lambda value: f"{value:.2f}")
    if name == "popularity":
        return Column(key, key, "interactions", 0, lambda value: f"{value:,.1f}")
    better = {"gini": -1, "coverage": 1, "diversity_text": 1, "diversity_genre": 1, "tail": 1}.get(name, 0)
    return Column(key, key.replace("_", " "), "", better, fraction)


def cost_columns(block: Block) -> list[Column]:
    """Fit, answer, throughput, size, memory. Wall-clock if each run had the machine to itself, else CPU seconds."""
    alone = runs_alone(block)
    unit, suffix = ("s", "seconds") if alone else ("CPU s", "cpu_seconds")
    gpu = any(record.cost.peak_gpu_bytes for line in block.lines for record in line.records)
    columns = [
        Column(f"fit_{suffix}", "fit", unit, -1, quantity, cost=True),
        Column(f"answer_{suffix}", "answer", unit, -1, quantity, cost=True),
        Column("answers_per_second", "answers/s", "" if alone else "wall-clock", 1, quantity, cost=True),
        Column("parameters", "parameters", "", 0, count, cost=True),
        Column("peak_rss_bytes", "memory", "GiB", 0, gibibytes, cost=True),
    ]
    return [*columns, Column("peak_gpu_bytes", "GPU memory", "GiB", 0, gibibytes, cost=True)] if gpu else columns


def runs_alone(block: Block) -> bool:
    """Whether every run of the block had nothing beside it, so that wall-clock seconds can be compared."""
    return all(record.cost.alone for line in block.lines for record in line.records)


def cost_unit(block: Block) -> str:
    return "seconds" if runs_alone(block) else "CPU seconds"


def small_gpt(line: Line) -> bool:
    """Whether a gpt row was trained from scratch: it read no pretrained weights but those of a text encoder, and has
    weights at all (a template's row has none; of a row without a run nobody knows)."""
    sizes = [record.cost.parameters for record in line.records]
    return line.family == "gpt" and any(sizes) and not any(_language_models(record) for record in line.records)


def _language_models(record: Record) -> set[str]:
    from llmrec.encoders import DEFAULT  # measures the diversity of every method's lists

    encoders = {str(value) for key, value in record.params.items() if "encoder" in key}
    return set(record.provenance.models) - encoders - {DEFAULT}


def display_name(line: Line) -> str:
    return f"{line.label} (small GPT)" if small_gpt(line) else line.label


def protocol_words(protocol: Protocol, task: TaskName = "topn") -> str:
    """A protocol in one line; it says what applies to it, and of the rest what differs from the default."""
    name, fitted = protocol.name, "train and validation" if protocol.fit_data == "train+valid" else "train"
    words = [_split_words(protocol)]
    if name == "requests":
        words.append("the labels' field " + ("withheld from" if protocol.withhold else "left in") + " the item texts")
    elif name != "impressions":
        words.append(f"fitted on {fitted}")
        if task == "topn":
            words += [
                f"full ranking over {'all' if protocol.candidates == 'all' else 'training'} items",
                f"history {'masked' if protocol.mask_history else 'not masked'}",
            ]
        words.append("equal times in " + ("a seeded order" if protocol.ties == "hash" else "the file's order"))
    if protocol.repeats != "train":
        words.append("repeated events dropped" if protocol.repeats == "drop" else "repeated events are targets too")
    if protocol.max_history != "all":
        words.append(f"histories of the newest {protocol.max_history:,} events")
    asked = {"impressions": "impressions", "requests": "requests"}.get(name, "users")
    sample = protocol.users
    words.append(f"all {asked}" if sample == "all" else f"a seeded sample of {sample} {asked}")
    return ", ".join(words)


def _split_words(protocol: Protocol) -> str:
    train, valid = (f"{100 * share:g}" for share in protocol.cuts)
    rest = f"{100 * (1 - protocol.cuts[1]):g}"
    between = f"{100 * (protocol.cuts[1] - protocol.cuts[0]):g}"
    shares = f"{train} / {between} / {rest} %"
    return {
        "leave-one-out": "leave-one-out in time",
        "temporal": f"split at points in time ({train} % and {valid} % of all events)",
        "ratio": f"each user's events split {shares} in time (in a seeded order where no time is known)",
        "random": f"all events split {shares} at random",
        "user-holdout": f"users split {shares} at random, the held-out ones asked with 80 % of their items given",
        "official": "the dataset's own split" + (f", fold {protocol.fold} tests" if protocol.fold else ""),
        "impressions": "impressions as logged",
        "requests": "requests in words",
    }[protocol.name]


def number_of(count: int, noun: str) -> str:
    """ "1 run", "3 runs"."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def listed(names: list[str]) -> str:
    """ "a, b and c"."""
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)
