"""The toy kitchen's networks, which ship with the package. `scripts/pretrain_kitchen.py` made them."""

from collections.abc import Mapping
from pathlib import Path

from recipevis.backbone.base import Licences, Source, copy_backbone
from recipevis.core.findings import Finding

NETWORKS = Path(__file__).parents[1] / "kitchen" / "networks"  # backbone/ and encoder/


class Kitchen(Source):
    """Small networks, pretrained on captions of rendered scenes."""

    example = ("place a red bowl on the blue counter", "add tomatoes to the bowl")  # it knows only the kitchen's words

    def origin(self) -> dict[str, str]:
        """See `Source`."""
        return {"source": "kitchen", "stable_diffusion": "kitchen", "clip": "kitchen"}

    def write(self, target: Path) -> None:
        """See `Source`."""
        copy_backbone(*self.configurations(), target)

    def configurations(self) -> tuple[Path, Path]:
        """See `Source`."""
        return NETWORKS / "backbone", NETWORKS / "backbone" / "clip"

    def check(self) -> Finding:
        """See `Source`."""
        return Finding("backbone", "ok", "the toy kitchen's, ships with the package")

    @classmethod
    def licences(cls, origin: Mapping[str, str]) -> Licences:
        """See `Source`."""
        return Licences("apache-2.0", "Apache-2.0", "Apache-2.0")
