"""Stable Diffusion and CLIP from the Hugging Face hub, each at a pinned commit."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import requests

from recipevis.backbone.base import (
    CONFIGURATIONS,
    DIFFUSION_PARTS,
    Licences,
    Source,
    copy_clip,
    copy_diffusion,
)
from recipevis.config import HubModelConfig
from recipevis.core.findings import Finding
from recipevis.errors import InputError

MADE = Path("models/backbone")  # what the stage `backbone` writes
_VARIANTS = ["*.fp16.*", "*.non_ema.*", "safety_checker/*"]
# Repositories whose licence is known.
_STABLE_DIFFUSION_1 = re.compile(r"(CompVis|runwayml|sd-legacy|stable-diffusion-v1-5)/stable-diffusion-v1-[1-5]")
_OPENAI_CLIP = re.compile(r"openai/clip-vit-\w+-patch\d+(-336)?")


class Hub(Source):
    """Repositories on the hub. An interrupted download resumes."""

    on_hub = True

    def origin(self) -> dict[str, str]:
        """See `Source`."""
        diffusion, clip = (f"{model.id}@{model.revision}" for model in self._models())
        return {"source": "hub", "stable_diffusion": diffusion, "clip": clip}

    def write(self, target: Path) -> None:
        """See `Source`."""
        diffusion, clip = self._models()
        copy_diffusion(snapshot(diffusion.id, diffusion.revision, DIFFUSION_PARTS), target)
        copy_clip(snapshot(clip.id, clip.revision), target / "clip")

    def configurations(self) -> tuple[Path, Path] | None:
        """See `Source`: the folders that the stage `backbone` wrote, if it wrote these commits."""
        written = MADE / "backbone.json"
        if written.is_file() and json.loads(written.read_text(encoding="utf-8")) == self.origin():
            return MADE, MADE / "clip"
        return None

    def check(self) -> Finding:
        """See `Source`."""
        from huggingface_hub import constants, try_to_load_from_cache

        diffusion, clip = self._models()
        wanted = {"unet/config.json": diffusion, "config.json": clip}
        if all(isinstance(try_to_load_from_cache(m.id, file, revision=m.revision), str) for file, m in wanted.items()):
            return Finding("backbone", "ok", f"download started or complete, in {constants.HF_HUB_CACHE}")
        try:
            for model in (diffusion, clip):
                address = f"{constants.ENDPOINT}/api/models/{model.id}/revision/{model.revision}"
                requests.get(address, timeout=10).raise_for_status()
        except requests.RequestException as error:
            text = f"{constants.ENDPOINT}: {_reason(error)}"
            return Finding("backbone", "missing", text, "connect to the network, or set backbone.source: folder")
        return Finding("backbone", "ok", "on the hub, not fetched yet")

    @classmethod
    def licences(cls, origin: Mapping[str, str]) -> Licences:
        """See `Source`."""
        diffusion, clip = (origin[part].partition("@")[0] for part in ("stable_diffusion", "clip"))
        is_known = _STABLE_DIFFUSION_1.fullmatch(diffusion)
        return Licences(
            model="creativeml-openrail-m" if is_known else "other",
            stable_diffusion="CreativeML OpenRAIL-M" if is_known else "see its page on the hub",
            clip="MIT" if _OPENAI_CLIP.fullmatch(clip) else "see its page on the hub",
        )

    def _models(self) -> tuple[HubModelConfig, HubModelConfig]:
        return self.settings.stable_diffusion, self.settings.clip


def snapshot(repository: str, revision: str | None, parts: Sequence[str] = ("",)) -> Path:
    """Fetch a repository's configuration and safetensors files; returns their folder in the hub's own cache.

    Args:
        repository: owner/name.
        revision: the commit.
        parts: folders of the repository; "" is its root.

    Raises:
        InputError: the repository or the commit isn't there, or the hub can't be reached.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    prefixes = [f"{part}/" if part else "" for part in parts]
    allowed = [f"{prefix}{pattern}" for prefix in prefixes for pattern in (*CONFIGURATIONS, "*.safetensors")]
    try:
        return Path(
            huggingface_hub.snapshot_download(
                repository, revision=revision, allow_patterns=allowed, ignore_patterns=_VARIANTS
            )
        )
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{repository}@{revision}: can't be fetched from the hub: {reason}") from error


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"answers {error.response.status_code} to {error.response.url}"
    return "no answer in 10 seconds" if isinstance(error, requests.Timeout) else "can't be reached"
