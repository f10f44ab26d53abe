"""A table as Markdown, LaTeX (booktabs) and CSV, and in the terminal."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from llmrec.report.table import Cell, Row, Table
from llmrec.report.words import NO_FIGURE, TIED, Column

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$", "±": r"$\pm$", "≈": r"$\approx$",
    "—": "---", "\N{EN DASH}": "--", "\N{MINUS SIGN}": r"$-$", "Δ": r"$\Delta$", "\u202f": r"\,", "·": r"$\cdot$",
    "…": r"\ldots{}", "\N{MULTIPLICATION SIGN}": r"$\times$", "≥": r"$\geq$", "≤": r"$\leq$", "“": "``", "”": "''",
}  # fmt: skip


def latex_text(text: str) -> str:
    """Text with every character that LaTeX would take for a command written out."""
    return "".join(_LATEX.get(character, character) for character in text)


def figure(cell: Cell, column: Column) -> str:
    """A cell's figure with its spread: ".0523 ± .0006", or the dash."""
    if cell.word:
        return cell.word
    if cell.value is None:
        return NO_FIGURE
    spread = f" ± {column.show(cell.spread)}" if cell.spread is not None and not column.cost else ""
    return column.show(cell.value) + spread


def bounds(cell: Cell, column: Column) -> str:
    """A cell's 95 % interval: "[.0501, .0545]", or ''."""
    if cell.low is None or cell.high is None:
        return ""
    return f"[{column.show(cell.low)}, {column.show(cell.high)}]"


def markdown(table: Table) -> str:
    """GitHub's Markdown; families stand in rows of their own."""
    names = [table.head, *(_title_with_bounds(table, column) for column in table.columns)]
    lines = ["| " + " | ".join(map(_pipes, names)) + " |", "|---" + "|---:" * len(table.columns) + "|"]
    for family, rows in table.groups:
        if family:
            lines.append(f"| *{_pipes(family)}* |" + " |" * len(table.columns))
        for row in rows:
            cells = [_markdown_cell(table, row, column) for column in table.columns]
            lines.append(
                "| " + " | ".join([_pipes(row.name) + _superscripts(row.notes, "<sup>{}</sup>"), *cells]) + " |"
            )
    notes = [f"<sup>{letter}</sup> {_pipes(text)}  " for letter, text in table.notes]
    return "\n".join([f"**{table.name}.** {table.caption}", "", *lines, "", *notes]).rstrip() + "\n"


def latex(table: Table) -> str:
    """A table environment for booktabs, every character escaped; footnotes stand under the rules."""
    ends = " \\\\"
    heads = [latex_text(_title_with_bounds(table, column)) for column in table.columns]
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        f"\\caption{{{latex_text(table.caption)}}}",
        f"\\label{{tab:{''.join(c if c.isalnum() else '-' for c in table.name.lower())}}}",
        "\\centering\\small",
        "\\begin{tabular}{l" + "r" * len(table.columns) + "}",
        "\\toprule",
        " & ".join([table.head.capitalize(), *heads]) + ends,
        "\\midrule",
    ]
    for number, (family, rows) in enumerate(table.groups):
        if family:
            lines += ["\\addlinespace"] if number else []
            lines.append(f"\\multicolumn{{{len(table.columns) + 1}}}{{l}}{{\\emph{{{latex_text(family)}}}}}" + ends)
        for row in rows:
            cells = [_latex_cell(table, row, column) for column in table.columns]
            name = latex_text(row.name) + _superscripts(row.notes, "\\textsuperscript{{{}}}")
            lines.append(" & ".join([name, *cells]) + ends)
    lines += ["\\bottomrule", "\\end{tabular}"]
    if table.notes.texts:
        notes = " ".join(f"\\textsuperscript{{{letter}}}~{latex_text(text)}" for letter, text in table.notes)
        lines += ["", f"\\smallskip\\parbox{{\\linewidth}}{{\\footnotesize {notes}}}"]
    return "\n".join([*lines, "\\end{table}"]) + "\n"


def tidy_csv(tables: list[Table]) -> str:
    """Figures in full precision, one row a table, method and quantity."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["table", "family", "method", "quantity", "unit", "mean", "spread", "low", "high", "best", "tied", "note"]
    writer.writerow(head)
    for table in tables:
        texts = dict(table.notes)
        for family, rows in table.groups:
            for row in rows:
                for column in table.columns:
                    cell = row.cells[column.key]
                    note = " ".join(texts[letter] for letter in (*row.notes, *cell.notes))
                    numbers = ["" if v is None else repr(v) for v in (cell.value, cell.spread, cell.low, cell.high)]
                    marks = ["yes" if mark else "" for mark in (cell.best, cell.tied)]
                    writer.writerow(
                        [table.name, family, row.label, column.key, column.unit, *numbers, *marks, cell.word or note]
                    )
    return out.getvalue()


def print_table(table: Table, console: Console) -> None:
    """Print a table. In a terminal too narrow for it the columns go on in a second table below; no digit is cut."""
    from rich.text import Text

    console.print(Text.assemble((table.name, "bold"), f". {table.caption}"))
    columns, screen = list(table.columns), console.width
    while columns:
        shown = len(columns)
        if console.is_terminal:
            while shown > 1 and _width(table, columns[:shown], console) > screen:
                shown -= 1
        console.width = max(screen, _width(table, columns[:shown], console))
        console.print(_grid(table, columns[:shown]))
        console.width = screen
        columns = columns[shown:]
    for letter, text in table.notes:
        console.print(Text(f"[{letter}] {text}", style="dim"))


def _width(table: Table, columns: list[Column], console: Console) -> int:
    from rich.measure import Measurement

    return Measurement.get(console, console.options.update(width=10_000), _grid(table, columns)).maximum


def _grid(table: Table, columns: list[Column]) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    grid = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    grid.add_column(table.head, no_wrap=True)
    for column in columns:
        grid.add_column(_title_with_bounds(table, column), justify="right", no_wrap=True)
    for family, rows in table.groups:
        if family:
            grid.add_row(Text(family, style="italic dim"))
        for row in rows:
            cells = [_terminal_cell(table, row, column) for column in columns]
            grid.add_row(Text("  " * bool(family) + row.name + _superscripts(row.notes, " [{}]")), *cells)
    return grid


def _terminal_cell(table: Table, row: Row, column: Column) -> Text:
    from rich.text import Text

    cell = row.cells[column.key]
    text = Text(figure(cell, column), style="bold" if cell.best else "")
    if table_bounds(table, column):
        text.append(f" {bounds(cell, column)}", style="dim")
    return text.append(f" {TIED}" if cell.tied else "").append(_superscripts(cell.notes, " [{}]"))


def _markdown_cell(table: Table, row: Row, column: Column) -> str:
    cell = row.cells[column.key]
    text = f"**{figure(cell, column)}**" if cell.best else figure(cell, column)
    if table_bounds(table, column) and bounds(cell, column):
        text += f" {bounds(cell, column)}"
    return text + f" {TIED}" * cell.tied + _superscripts(cell.notes, "<sup>{}</sup>")


def _latex_cell(table: Table, row: Row, column: Column) -> str:
    cell = row.cells[column.key]
    text = latex_text(figure(cell, column))
    text = f"\\textbf{{{text}}}" if cell.best else text
    if table_bounds(table, column) and bounds(cell, column):
        text += f" {{\\scriptsize {latex_text(bounds(cell, column))}}}"
    return text + "$^{\\approx}$" * cell.tied + _superscripts(cell.notes, "\\textsuperscript{{{}}}")


def table_bounds(table: Table, column: Column) -> bool:
    """Whether a column shows its intervals: the table's first accuracy column does, others keep theirs in the CSV."""
    accuracy = [c for c in table.columns if c.accuracy]
    return bool(accuracy) and column == accuracy[0] and any(row.cells[column.key].low is not None for row in table.rows)


def _title_with_bounds(table: Table, column: Column) -> str:
    return f"{column.heading} [95 %]" if table_bounds(table, column) else column.heading


def _superscripts(letters: tuple[str, ...], form: str) -> str:
    return form.format(",".join(letters)) if letters else ""


def _pipes(text: str) -> str:
    return text.replace("|", "\\|")
