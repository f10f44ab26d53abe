"""What `python ARCHIVE` does: unpack the code that the archive brings, checked, and `llmrec run ARCHIVE` with it.

It stands in the archive as __main__.py, and knows nothing but Python's own library. Whatever follows the archive's name
is passed on; results go to ./results unless $LLMREC_RESULTS or --results says otherwise.
"""

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath


def main() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036  # whatever Python the machine has runs this
        sys.exit(f"error: llmrec needs Python 3.11 or later; this is {sys.version.split()[0]}.")
    archive = Path(sys.argv[0]).resolve()
    code = unpacked(archive)
    if absent := missing(code):
        sys.exit(f"error: {archive} brings llmrec, but not what it needs: pip install {' '.join(absent)}")
    os.environ.setdefault("LLMREC_RESULTS", str(Path.cwd() / "results"))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(code), *filter(None, [os.environ.get("PYTHONPATH")])])
    os.execv(sys.executable, [sys.executable, "-P", "-m", "llmrec", "run", str(archive), *sys.argv[1:]])


def unpacked(archive: Path) -> Path:
    """The folder with the archive's code; whole or not there, so that many may start at once."""
    with archive.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()[:16]
    cache = os.environ.get("LLMREC_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "llmrec"
    home = Path(cache) / "packs" / f"{digest}-code"
    if not home.is_dir():
        home.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(dir=home.parent, prefix=".code-"))
        try:
            extract(archive, staged)
            staged.rename(home)
        except OSError:
            if not home.is_dir():  # else another was faster
                raise
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    return home


def missing(code: Path) -> list[str]:
    """The packages that llmrec cannot do without and that are not installed here."""
    (told,) = code.glob("llmrec-*.dist-info/METADATA")
    wanted = re.findall(r"^Requires-Dist: ([\w.-]+)(?!.*extra *==)", told.read_text("utf-8"), re.MULTILINE)
    known = {re.sub(r"[-_.]+", "-", d.metadata["Name"] or "").lower() for d in importlib.metadata.distributions()}
    return [name for name in wanted if re.sub(r"[-_.]+", "-", name).lower() not in known]


def extract(archive: Path, folder: Path) -> None:
    """Write the members below code/; one that climbs or is not what the manifest says ends it."""
    with zipfile.ZipFile(archive) as opened:
        sums = json.loads(opened.read("manifest.json"))["members"]
        for name in opened.namelist():
            path = PurePosixPath(name)
            if path.parts[0] != "code":
                continue
            content = opened.read(name)
            if ".." in path.parts or hashlib.sha256(content).hexdigest() != sums.get(name):
                sys.exit(f"error: {archive}: its member {name!r} is not the one that was packed. Copy it again.")
            target = folder.joinpath(*path.parts[1:])
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


if __name__ == "__main__":
    main()
