"""A Stable-Diffusion-1.x-shaped folder and a CLIP folder of the user's."""

from collections.abc import Mapping
from pathlib import Path

from recipevis.backbone.base import Licences, Source, copy_clip, copy_diffusion
from recipevis.core import files
from recipevis.core.findings import Finding


class Folder(Source):
    """The folders `backbone.folder` and `backbone.clip_folder`."""

    def origin(self) -> dict[str, str]:
        """See `Source`. Only the folders' names: their place says nothing about the networks."""
        diffusion, clip = self.configurations()
        return {"source": "folder", "stable_diffusion": diffusion.name, "clip": clip.name}

    def write(self, target: Path) -> None:
        """See `Source`. Checks that the parts fit before it copies gigabytes."""
        from recipevis.backbone.checks import check_fit

        diffusion, clip = self.configurations()
        check_fit(diffusion, clip)
        copy_diffusion(diffusion, target)
        copy_clip(clip, target / "clip")

    def configurations(self) -> tuple[Path, Path]:
        """See `Source`."""
        diffusion = files.user_path(self.settings.folder)
        clip = self.settings.clip_folder
        return diffusion, files.user_path(clip) if clip else diffusion / "clip"

    def check(self) -> Finding:
        """See `Source`."""
        diffusion, clip = self.configurations()
        if not (diffusion / "unet").is_dir():
            return Finding("backbone", "missing", f"{diffusion}: has no folder unet", "set backbone.folder")
        if not clip.is_dir():
            return Finding("backbone", "missing", f"{clip}: no such folder", "set backbone.clip_folder")
        return Finding("backbone", "ok", str(diffusion))

    @classmethod
    def licences(cls, origin: Mapping[str, str]) -> Licences:
        """See `Source`."""
        return Licences("other", "see the folder's own licence", "see the folder's own licence")
