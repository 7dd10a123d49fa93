"""Stable Diffusion and CLIP from the Hugging Face hub, each at a pinned commit."""

import errno
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from recipevis.backbone import weights
from recipevis.backbone.base import DIFFUSION_PARTS, Licences, Source, copy_backbone
from recipevis.config import HubModelConfig
from recipevis.core.findings import Finding
from recipevis.errors import InputError

MADE = Path("models/backbone")  # what the stage `backbone` writes
# The folder of each part in a repository, "" for its root.
_DIFFUSION = {part: f"{part}/" for part in DIFFUSION_PARTS}
CLIP = {"clip": ""}
_GIB = 2**30
_TIMEOUT_S = 10
# Repositories whose licence is known.
_STABLE_DIFFUSION_1 = re.compile(r"(CompVis|runwayml|sd-legacy|stable-diffusion-v1-5)/stable-diffusion-v1-[1-5]")
_OPENAI_CLIP = re.compile(r"openai/clip-vit-\w+-patch\d+(-336)?")


class Hub(Source):
    """Repositories on the hub. An interrupted download resumes."""

    on_hub = True

    def origin(self) -> dict[str, str]:
        """See `Source`."""
        diffusion, clip = (f"{model.id}@{model.revision}" for model, _ in self._models())
        return {"source": "hub", "stable_diffusion": diffusion, "clip": clip}

    def write(self, target: Path) -> None:
        """See `Source`. Checks that the parts fit before it fetches gigabytes."""
        from recipevis.backbone.fit import check_fit

        models = [(model.id, model.revision, parts) for model, parts in self._models()]
        check_fit(*(snapshot(*model, with_weights=False) for model in models))
        copy_backbone(*(snapshot(*model) for model in models), target)

    def configurations(self) -> tuple[Path, Path] | None:
        """See `Source`: the folders that the stage `backbone` wrote, if it wrote these commits."""
        written = MADE / "backbone.json"
        if written.is_file() and json.loads(written.read_text(encoding="utf-8")) == self.origin():
            return MADE, MADE / "clip"
        return None

    def check(self) -> Finding:
        """See `Source`: by the lists of files alone, before any is fetched."""
        models = [(model.id, model.revision, parts) for model, parts in self._models()]
        return check_files("backbone", models, "backbone.stable_diffusion and backbone.clip, or backbone.source")

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

    def _models(self) -> list[tuple[HubModelConfig, dict[str, str]]]:
        """Each model with the folders of its parts."""
        return [(self.settings.stable_diffusion, _DIFFUSION), (self.settings.clip, CLIP)]


def snapshot(repository: str, revision: str | None, parts: Mapping[str, str] = CLIP, with_weights: bool = True) -> Path:
    """Fetch the files of a repository that are used; returns their folder in the hub's own cache.

    Args:
        repository: owner/name.
        revision: the commit.
        parts: the folder of each part.
        with_weights: False: the configurations only.

    Raises:
        InputError: the repository, the commit or a file isn't there, or the hub can't be reached.
        OSError: the disk is full.
    """
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.errors import HFValidationError, HTTPError

    name = f"{repository}@{revision}"
    try:
        names = _used_files(name, parts, _cached_files(repository, revision) or _files_on_hub(repository, revision))
    except _UnreachableError:  # the cache may hold the files, but no list of them
        names = [f"{prefix}{pattern}" for prefix in parts.values() for pattern in ("*.json", "*.txt", "*.safetensors")]
    if not with_weights:
        names = [name for name in names if not name.endswith(".safetensors")]
    try:
        return Path(huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=names))
    except (OSError, HTTPError, HFValidationError) as error:  # HTTPError: the connection broke
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(error.errno, error.strerror, constants.HF_HUB_CACHE) from error
        raise InputError(f"{name}: can't be fetched from the hub: {' '.join(str(error).split())}") from error


def check_files(what: str, models: Sequence[tuple[str, str | None, Mapping[str, str]]], keys: str) -> Finding:
    """Whether the files of repositories are fetched, or on the hub, by the lists of files alone.

    Args:
        what: the finding's.
        models: repository, commit and parts of each, as for `snapshot`.
        keys: the parameters to set if they aren't there.
    """
    from huggingface_hub import constants

    left = whole = 0
    try:
        for repository, revision, parts in models:
            known = _cached_files(repository, revision)
            sizes = known or _files_on_hub(repository, revision)
            used = _used_files(f"{repository}@{revision}", parts, sizes)
            missing = [name for name in used if not _is_cached(repository, revision, name)]
            if missing and known:  # the list was in the cache: is the hub there?
                _files_on_hub(repository, revision)
            left += sum(sizes[name] for name in missing)
            whole += sum(sizes[name] for name in used)
    except _UnreachableError as error:
        begun = all(
            _is_cached(repository, revision, f"{parts.get('unet', '')}config.json")
            for repository, revision, parts in models
        )
        if begun and not known:  # an older version of the hub's library left no list beside the files
            text = f"a download was started or is complete, in {constants.HF_HUB_CACHE}; {error}"
            return Finding(what, "note", text, "connect to the network unless it is complete")
        return Finding(what, "missing", str(error), f"connect to the network, or set {keys}")
    except InputError as error:
        return Finding(what, "missing", str(error), f"set {keys}")
    if not left:
        return Finding(what, "ok", f"fetched, in {constants.HF_HUB_CACHE}")
    return Finding(what, "ok", f"on the hub, {left / _GIB:.2g} of {whole / _GIB:.2g} GiB not fetched yet")


class _UnreachableError(InputError):
    """The hub can't be asked now."""


def _used_files(name: str, parts: Mapping[str, str], names: Mapping[str, int]) -> list[str]:
    """The files of a repository that are used.

    Raises:
        InputError: one is missing; the message names the repository and the file.
    """
    found = []
    for part, prefix in parts.items():
        inside = {path.removeprefix(prefix) for path in names if path.startswith(prefix)}
        try:
            found += [prefix + file for file in weights.used(part, {file for file in inside if "/" not in file})]
        except InputError as error:
            raise InputError(f"{name}: {prefix.rstrip('/') or 'the repository'} {error}") from None
    return found


def _cached_files(repository: str, revision: str | None) -> dict[str, int] | None:
    """The list of a repository's files with their sizes in bytes, if an earlier download left it in the cache."""
    from huggingface_hub import constants, get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError, HFValidationError

    try:
        tree = get_cached_repo_tree(repository, revision=revision, cache_dir=constants.HF_HUB_CACHE)
    except (CachedRepoTreeNotFoundError, HFValidationError, OSError):
        return None
    return {file.path: file.size for file in tree}


def _files_on_hub(repository: str, revision: str | None) -> dict[str, int]:
    """A repository's files with their sizes in bytes, from the hub. Nothing is fetched.

    Raises:
        _UnreachableError: the hub doesn't answer.
        InputError: there is no such repository or commit, or the user may not read it.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, HTTPError

    name, api = f"{repository}@{revision}", HfApi()
    try:
        info = api.model_info(repository, revision=revision, files_metadata=True, timeout=_TIMEOUT_S)
        if info.gated:  # its list of files is public, its files are not
            api.auth_check(repository)
    except HFValidationError as error:
        raise InputError(f"{name}: {' '.join(str(error).split())}") from error
    except GatedRepoError as error:
        raise InputError(
            f"{name}: is gated; accept its conditions at {constants.ENDPOINT}/{repository}, then run hf auth login"
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status >= 500 or status == 429:  # it fails, or wants us to wait
            raise _UnreachableError(f"{constants.ENDPOINT}: answers {status}, so {name} can't be checked") from error
        raise InputError(
            f"{name}: {constants.ENDPOINT} answers {status}: no such repository or commit, or it is private and needs "
            "hf auth login"
        ) from error
    except (HTTPError, OSError, ValueError) as error:  # also offline mode, and a page of a proxy instead of JSON
        reason = f"can't be reached ({type(error).__name__})"
        raise _UnreachableError(f"{constants.ENDPOINT}: {reason}, so {name} can't be checked") from error
    return {file.rfilename: file.size or 0 for file in info.siblings or []}


def _is_cached(repository: str, revision: str | None, name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repository, name, revision=revision), str)
