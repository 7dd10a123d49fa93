"""Untrained networks, made from a folder of Hugging Face configuration files."""

from collections.abc import Mapping
from pathlib import Path

from recipevis.backbone.base import Licences, Source
from recipevis.core import files
from recipevis.core.findings import Finding

CONFIGS = Path(__file__).with_name("configs")


class Random(Source):
    """Networks with random weights, always the same for the same configuration files."""

    untrained = True

    def origin(self) -> dict[str, str]:
        """See `Source`."""
        return {"source": "random", "stable_diffusion": "random", "clip": "random"}

    def write(self, target: Path) -> None:
        """See `Source`."""
        from recipevis.backbone import untrained

        untrained.save(untrained.read(self.configurations()[0]), target)

    def configurations(self) -> tuple[Path, Path]:
        """See `Source`: the folder of that name in `configs/`, or the user's."""
        name = self.settings.random
        folder = CONFIGS / name if (CONFIGS / name).is_dir() else files.user_path(name)
        return folder, folder / "clip"

    def check(self) -> Finding:
        """See `Source`."""
        folder, _ = self.configurations()
        if not (folder / "unet").is_dir():
            return Finding("backbone", "missing", f"{folder}: has no folder unet", "set backbone.random")
        return Finding("backbone", "ok", f"untrained networks, shapes of {self.settings.random}")

    @classmethod
    def licences(cls, origin: Mapping[str, str]) -> Licences:
        """See `Source`."""
        return Licences("apache-2.0", "untrained", "untrained")
