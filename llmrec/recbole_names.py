"""Whether RecBole has a model, asked when a suite is read: before data are loaded, and without RecBole's settings.

Where RecBole is neither installed nor unpacked nothing is said: reading a suite downloads nothing, and the run itself
checks the name again.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from llmrec.content import cache_folder


def check_model(name: str) -> None:
    """Whether a general or sequential model of RecBole has this name.

    Raises:
        UserError: none has; the nearest one, or why a model of another kind is out of scope.
    """
    from llmrec.recbole_mend import VERSION
    from llmrec.recbole_models import KINDS, check_name

    spec = importlib.util.find_spec("recbole")
    unpacked = cache_folder() / f"recbole-{VERSION}"
    if spec is None and not unpacked.is_dir():
        return
    folder = Path(spec.origin).parent if spec is not None and spec.origin else unpacked / "recbole"
    files = [folder / "model" / f"{kind}_recommender" / f"{name.lower()}.py" for kind in KINDS]
    if not (any(map(Path.exists, files)) and (folder / "properties" / "model" / f"{name}.yaml").exists()):
        check_name(name)  # reads all settings, which takes half a second: only for what looks wrong
