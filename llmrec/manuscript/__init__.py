"""From published results to a paper: `llmrec paper` calls the functions of paper/figures.py and paper/tables.py.

    from llmrec.manuscript import figure

    @figure
    def seeds(results):
        block = results.block("ml-100k", "ml-100k")
        ...
        return a matplotlib Figure

makes generated/figures/seeds.pdf and seeds.png; a function marked ``@table`` returns LaTeX, or an
`llmrec.report.table.Table`. Nothing here or there runs a method or imports torch.
"""

from llmrec.manuscript.register import Artefact, NotYet, figure, table
from llmrec.manuscript.results import Results
from llmrec.manuscript.style import canvas

__all__ = ["Artefact", "NotYet", "Results", "canvas", "figure", "table"]
