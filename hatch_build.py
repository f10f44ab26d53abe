"""Puts the content folders into the wheel, below the one package; an editable install reads them where they are."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CONTENT = ("baselines", "benchmarks", "datasets")


class Content(BuildHookInterface):
    """A static ``force-include`` would copy the folders into editable installs, too, where they hide the checkout's."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            build_data["force_include"] |= {folder: f"llmrec/_bundled/{folder}" for folder in CONTENT}
