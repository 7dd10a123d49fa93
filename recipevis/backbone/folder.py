"""A Stable-Diffusion-1.x-shaped folder and a CLIP folder of the user's."""

from collections.abc import Mapping
from pathlib import Path

from recipevis.backbone import weights
from recipevis.backbone.base import Licences, Source, copy_backbone, parts_of
from recipevis.core import files
from recipevis.core.findings import Finding
from recipevis.errors import InputError


class Folder(Source):
    """The folders `backbone.folder` and `backbone.clip_folder`."""

    def origin(self) -> dict[str, str]:
        """See `Source`. Only the folders' names: their place says nothing about the networks."""
        diffusion, clip = self.configurations()
        return {"source": "folder", "stable_diffusion": diffusion.name, "clip": clip.name}

    def places(self) -> tuple[str, str]:
        """See `Source`."""
        diffusion, clip = self.configurations()
        return str(diffusion), str(clip)

    def write(self, target: Path) -> None:
        """See `Source`. Checks that the parts fit before it copies gigabytes."""
        from recipevis.backbone.fit import check_fit

        diffusion, clip = self.configurations()
        check_fit(diffusion, clip)
        copy_backbone(diffusion, clip, target)

    def configurations(self) -> tuple[Path, Path]:
        """See `Source`."""
        diffusion = files.user_path(self.settings.folder)
        clip = self.settings.clip_folder
        return diffusion, files.user_path(clip) if clip else diffusion / "clip"

    def check(self) -> Finding:
        """See `Source`."""
        try:
            diffusion, clip = self.configurations()
            for part, folder in parts_of(diffusion, clip).items():
                weights.plan(part, folder)
        except InputError as error:
            return Finding("backbone", "missing", str(error), "set backbone.folder or backbone.clip_folder")
        return Finding("backbone", "ok", str(diffusion))

    @classmethod
    def licences(cls, origin: Mapping[str, str]) -> Licences:
        """See `Source`."""
        return Licences("other", "see the folder's own licence", "see the folder's own licence")
