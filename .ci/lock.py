"""Write requirements.lock: the versions that pip chooses for every dependency of the suite, its extras and its tests.

Only pip is needed; nothing is installed. torch stands without local suffix and its CUDA packages are left out, so that
one lock serves CPU and CUDA builds alike: pip adds what the build at hand wants.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
TORCH = "torch==2.13.0"
OF_THE_BUILD = re.compile(r"^(nvidia-|cuda-|triton$|pytorch-triton)")
HEADER = """\
# Every version that the suite, its extras and its tests are run with, on Python 3.11 and 3.12. Written by `make lock`.
# RecBole is not among them, because of its own pins: see `make venv`. CUDA builds of torch bring their own packages.
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        resolve = [
            "install",
            "--dry-run",
            "--ignore-installed",
            "--quiet",
            "--report",
            str(report),
            TORCH,
            f"{ROOT}[all,dev]",
        ]
        subprocess.run([sys.executable, "-m", "pip", *resolve], check=True, cwd=folder)
        chosen = [item["metadata"] for item in json.loads(report.read_text("utf-8"))["install"]]
    pins = {re.sub(r"[-_.]+", "-", item["name"]).lower(): item["version"].split("+")[0] for item in chosen}
    kept = sorted(
        f"{name}=={version}" for name, version in pins.items() if name != "llmrec" and not OF_THE_BUILD.match(name)
    )
    LOCK.write_text(HEADER + "\n".join(kept) + "\n", "utf-8")
    print(f"{LOCK.name}: {len(kept)} packages")


if __name__ == "__main__":
    main()
