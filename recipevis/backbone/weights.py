"""Which files of a part are used, by their names: the same choice in a folder and in the hub's list of files.

Weights are safetensors, whole or in shards with an index, as `save_pretrained` of diffusers and transformers names
them. Where a part has no others, its half-precision variant is used.
"""

import json
from collections.abc import Collection
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from recipevis.core import files
from recipevis.errors import InputError

_VARIANTS = ("fp16", "bf16")  # of `save_pretrained(variant=...)`
_STEMS = {
    "text_encoder": "model",
    "vae": "diffusion_pytorch_model",
    "unet": "diffusion_pytorch_model",
    "clip": "model",
    "image_encoder": "model",
}
# What a part needs beside its weights: for each need the alternatives, each of one or more files.
_CONFIGURATION = (("config.json",),)
_TOKENIZER = ((("tokenizer_config.json",),), (("tokenizer.json",), ("vocab.json", "merges.txt")))
_PREPROCESSOR = (("preprocessor_config.json",), ("processor_config.json",))
_NEEDS = {
    "tokenizer": _TOKENIZER,
    "scheduler": ((("scheduler_config.json",),),),
    "text_encoder": (_CONFIGURATION,),
    "vae": (_CONFIGURATION,),
    "unet": (_CONFIGURATION,),
    "clip": (_CONFIGURATION, *_TOKENIZER, _PREPROCESSOR),
    "image_encoder": (_CONFIGURATION, _PREPROCESSOR),
}
_PICKLED = (".bin", ".bin.index.json", ".ckpt", ".pt", ".pth")
_LFS_POINTER = b"version https://git-lfs"
_FLOATS = ("F64", "F32", "F16", "BF16")


class Weights(NamedTuple):
    """The chosen weights of a part.

    Attributes:
        stem: of the files' names.
        variant: `fp16`, `bf16`, or "" for the plain weights.
        main: the whole file's name, or the index's.
    """

    stem: str
    variant: str
    main: str

    @property
    def is_sharded(self) -> bool:
        """Whether `main` is an index of shards."""
        return self.main.endswith(".json")

    @property
    def index(self) -> str:
        """The plain name of an index of shards."""
        return f"{self.stem}.safetensors.index.json"

    def plain(self, name: str) -> str:
        """A file's name without the variant."""
        return name.replace(f".{self.variant}", "") if self.variant else name

    def shards(self, names: Collection[str]) -> list[str]:
        """The files that are shards of these weights by their names."""
        dotted = f".{self.variant}" if self.variant else ""
        endings = f"{dotted}-?????-of-?????.safetensors", f"-?????-of-?????{dotted}.safetensors"
        return sorted(name for name in names if any(fnmatch(name, self.stem + ending) for ending in endings))


def choose(part: str, names: Collection[str]) -> Weights | None:
    """The weights of a part among the files of its folder; None: a part without weights. Arguments as for `used`.

    Raises:
        InputError: there are none in safetensors; the message lacks the folder.
    """
    if part not in _STEMS:
        return None
    stem = _STEMS[part]
    whole, index = f"{stem}.safetensors", f"{stem}.safetensors.index.json"
    candidates = [("", whole), ("", index)]
    for variant in _VARIANTS:
        candidates.append((variant, f"{stem}.{variant}.safetensors"))
        # the second name is that of older versions of diffusers
        for name in (f"{stem}.safetensors.index.{variant}.json", f"{stem}.safetensors.{variant}.index.json"):
            candidates.append((variant, name))
    for variant, name in candidates:
        if name in names:
            return Weights(stem, variant, name)
    if any(fnmatch(name, f"{stem}*-?????-of-?????*.safetensors") for name in names):
        raise InputError(f"holds shards of {whole} without their index, {index}")
    if pickled := sorted(name for name in names if name.endswith(_PICKLED)):
        raise InputError(f"holds no {whole}; pickled weights ({pickled[0]}) are refused: save them as safetensors")
    others = sorted(name for name in names if name.endswith(".safetensors"))
    raise InputError(f"holds no {whole}" + (f", only {', '.join(others[:3])}" if others else ""))


def configurations(part: str, names: Collection[str]) -> list[str]:
    """The files of a part that are used beside its weights; arguments and errors as for `used`."""
    for alternatives in _NEEDS[part]:
        if not any(all(name in names for name in files) for files in alternatives):
            raise InputError("lacks " + ", or ".join(" and ".join(files) for files in alternatives))
    return sorted(name for name in names if name.endswith((".json", ".txt")) and ".index." not in name)


def used(part: str, names: Collection[str]) -> list[str]:
    """The files of a part that are used: configurations, and weights with all that look like their shards.

    Args:
        part: its name in a backbone.
        names: of the files in its folder.

    Raises:
        InputError: one is missing; the message names it and lacks the folder.
    """
    found, chosen = configurations(part, names), choose(part, names)
    if chosen is None:
        return found
    return [*found, chosen.main, *(chosen.shards(names) if chosen.is_sharded else [])]


class Plan(NamedTuple):
    """How a part is copied.

    Attributes:
        weights: the chosen ones; None: a part without weights.
        files: name in the source: name in the copy, which is the plain one for a variant, since later stages read that.
        index: content of the copy's index of shards; None: not sharded.
    """

    weights: Weights | None
    files: dict[str, str]
    index: dict | None


def plan(part: str, folder: Path) -> Plan:
    """How to copy a part from a folder; the headers of its weights are read.

    An index is used only where there are no whole weights: beside them it may be stale, and diffusers would prefer it.

    Raises:
        InputError: the folder or a file is missing or can't be read, holds an adapter, or weights that are pickled or
            quantised.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected a part of a model in Hugging Face layout")
    try:
        paths = list(folder.iterdir())
        names = {path.name for path in paths if path.is_file()}
    except OSError as error:
        raise InputError(f"{folder}: can't be read: {error.strerror}") from error
    for path in paths:
        if path.is_symlink() and not path.exists() and path.suffix in (".json", ".txt", ".safetensors"):
            raise InputError(f"{path}: a link to a file that isn't there, {path.readlink()}; fetch it again")
    if part in _STEMS and "adapter_config.json" in names:
        raise InputError(
            f"{folder}: holds an adapter (adapter_config.json); merge it into the weights, or take its files away"
        )
    try:
        copied, chosen = {name: name for name in configurations(part, names)}, choose(part, names)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None
    if chosen is None:
        return Plan(None, copied, None)
    index = _index(folder / chosen.main) if chosen.is_sharded else None
    tensors = sorted(set(index["weight_map"].values())) if index else [chosen.main]
    for name in tensors:
        if name not in names:
            raise InputError(f"{folder}: lacks {name}, which {chosen.main} names")
        _check_header(folder / name)
    copied |= {name: chosen.plain(name) for name in tensors}
    if index:
        index["weight_map"] = {weight: chosen.plain(name) for weight, name in index["weight_map"].items()}
    return Plan(chosen, copied, index)


def widen(folder: Path) -> None:
    """Rewrite a part's half-precision weights in fp32, and say so in its configuration.

    Every network is trained and run in fp32 anyway. Other libraries load the precision that a part was saved in, and
    fail where one part is in fp16 and another in fp32.
    """
    from safetensors.torch import load_file, save_file  # imports torch

    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="numpy") as file:
            kinds = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
            about = file.metadata()
        if kinds & {"F16", "BF16"}:
            tensors = load_file(path)
            wide = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
            save_file(wide, path, metadata=about)
    configuration = folder / "config.json"
    if configuration.exists():
        settings = json.loads(configuration.read_text(encoding="utf-8"))
        if changed := {key: "float32" for key in ("dtype", "torch_dtype") if key in settings}:
            files.write_json(configuration, settings | changed)


def _index(path: Path) -> dict:
    """An index of shards: `weight_map` has the file name of each weight.

    Raises:
        InputError: it can't be read, or names something else than files beside it.
    """
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        shards = index["weight_map"].values()
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: not a readable index of shards: {error}") from error
    for name in shards:
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise InputError(f"{path}: names {name!r}; must name safetensors files beside it")
    return index


def _check_header(path: Path) -> None:
    """Check that a safetensors file is whole and holds floats.

    Raises:
        InputError: it isn't, or doesn't.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
                raise InputError(f"{path}: a pointer of Git LFS, not the weights; run git lfs pull in its repository")
        with safe_open(path, framework="numpy") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a readable safetensors file: {' '.join(str(error).split())[:300]}") from error
    for name, kind in kinds.items():
        if kind not in _FLOATS and not name.endswith("position_ids"):
            raise InputError(f"{path}: {name} is of type {kind}; quantised weights can't be trained, use fp32 or fp16")
