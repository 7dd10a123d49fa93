"""The toy kitchen: videos that are rendered here, with annotations of their own."""

import hashlib
from pathlib import Path
from typing import Any, ClassVar

from recipevis.data.sources.base import Source


class Kitchen(Source):
    """Renders the demo's videos.

    Args:
        seed, camera_cuts: `dataset.seed` and `dataset.kitchen.camera_cuts`.
    """

    licence = "Apache-2.0"
    video_bytes = 0.2e6
    needs: ClassVar = {}

    def __init__(self, seed: int, camera_cuts: float = 0.0):
        # Edited code may render other videos under the same ids, so it gets another folder.
        library = Path(__file__).parents[2]
        drawing = sorted((library / "kitchen/drawing").glob("*.py"))
        modules = [library / "kitchen/recipes.py", *drawing, library / "data/ffmpeg.py"]
        code = hashlib.sha256(b"".join(module.read_bytes() for module in modules)).hexdigest()
        self.name, self.about = f"kitchen-{seed}-{camera_cuts:g}-{code[:12]}", f"the toy kitchen, seed {seed}"
        self._seed, self._cuts = seed, camera_cuts

    @classmethod
    def from_config(cls, dataset: Any, download: Any) -> "Kitchen":
        """See `Source.from_config`."""
        return cls(dataset.seed, dataset.kitchen.camera_cuts)

    def fetch(self, video_id: str, folder: Path) -> Path:
        """See `Source.fetch`."""
        from recipevis.data import ffmpeg
        from recipevis.kitchen import recipes
        from recipevis.kitchen.drawing import rendering

        path = folder / "video.mp4"
        ffmpeg.write(path, rendering.video(recipes.recipe(self._seed, video_id, self._cuts)), rendering.RATE)
        return path

    @classmethod
    def annotations(cls, dataset: Any) -> dict[str, Any]:
        """See `Source.annotations`."""
        from recipevis.kitchen import recipes

        size = dataset.kitchen
        return recipes.youcook2(dataset.seed, size.training_videos, size.validation_videos)
