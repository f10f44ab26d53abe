"""The PDF, where LaTeX is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from llmrec.errors import UserError

INSTALL = (
    "apt-get install --no-install-recommends latexmk texlive-latex-recommended texlive-latex-extra "
    "texlive-fonts-recommended"
)
LONGEST = 600  # seconds
SHOWN = 6  # errors


def build_pdf(paper: Path) -> Path | None:
    """Build main.pdf beside main.tex with latexmk or tectonic; None where neither is installed.

    Raises:
        UserError: LaTeX found mistakes, which are named by file and line.
    """
    build = paper / "build"
    if shutil.which("latexmk") and shutil.which("pdflatex"):
        command = ["latexmk", "-pdf", "-interaction=nonstopmode", "-halt-on-error", "-file-line-error",
                   f"-output-directory={build.name}", "main.tex"]  # fmt: skip
    elif shutil.which("tectonic"):
        command = ["tectonic", "--keep-logs", "--outdir", build.name, "main.tex"]
    else:
        return None
    build.mkdir(exist_ok=True)
    dates = {"SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1"}  # the same sources, the same bytes
    try:
        done = subprocess.run(
            command, cwd=paper, env=os.environ | dates, capture_output=True, check=False, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{command[0]} was stopped after {LONGEST} seconds: main.tex waits for something.") from None
    if done.returncode:
        log = build / "main.log"
        text = (log.read_bytes() if log.exists() else b"") + b"\n" + done.stdout + done.stderr
        raise UserError(f"{paper / 'main.tex'}: LaTeX failed.\n{failing_lines(text.decode('utf-8', 'replace'))}")
    shutil.copyfile(build / "main.pdf", paper / "main.pdf")
    return paper / "main.pdf"


def failing_lines(log: str) -> str:
    """The errors of a LaTeX log and the lines of the source that they stand in; not the whole log."""
    lines = log.splitlines()
    found: list[str] = []
    for number, line in enumerate(lines):
        if re.match(r"^(!|error:|\S+\.\w+:\d+:)", line):
            source = next((text for text in lines[number + 1 : number + 12] if re.match(r"^l\.\d+ ", text)), "")
            said = f"{line}\n  {source}" if source else line
            if said not in found:
                found.append(said)
    return "\n".join(found[:SHOWN]) or "\n".join(lines[-SHOWN:])
