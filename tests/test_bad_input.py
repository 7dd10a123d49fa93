"""Mistakes of a user: one line that names them, the right exit status, no traceback, nothing written.

Each case is a row: what is prepared, the command, and what its line must name. The commands run in this process; the
rows of `IN_A_SHELL` run as a user runs them.
"""

import gzip
import importlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import stages
from recipevis.core import inputs
from tests.conftest import ROOT, set_parameters

STEP = {"segment": [3, 9], "id": 0, "sentence": "chop the onions"}
VIDEO = {"duration": 60.0, "subset": "training", "recipe_type": "113", "annotations": [STEP]}
LOCAL = {"dataset.source": "local", "dataset.annotations": "recipes.json", "dataset.videos_dir": "videos"}
YOUTUBE = {"dataset.source": "youtube", "dataset.annotations": "recipes.json"}
FOLDER = {"backbone.source": "folder", "backbone.folder": "networks", "frames.pixels": 32}
GENERATE = ("recipevis", "generate", "recipe.txt", "--model", "model", "--device", "cpu")


@dataclass(frozen=True)
class Case:
    """One mistake.

    Attributes:
        command: `stages` and a stage's name, or `recipevis` and its arguments.
        named: what the line must contain.
        parameters: values in `params.yaml`, by dotted key.
        content: what each file of the user's holds, by name; None: a folder.
        prepare: changes the folder; gets its path.
        environment: environment variables.
        networks: what the folder holds besides: `networks`, a backbone's, or `model`, a packaged model.
        status: the exit status.
    """

    command: tuple[str, ...]
    named: tuple[str, ...]
    parameters: dict[str, object] = field(default_factory=dict)
    content: dict[str, str | bytes | None] = field(default_factory=dict)
    prepare: Callable[[Path], None] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    networks: str = ""
    status: int = 2


def database(video_id: str = "GLd3aX16zBg", step: dict | None = None, **changes: object) -> str:
    """Annotations of one video in YouCook2's form; a value of `...` removes the key."""
    entry = VIDEO | {"annotations": [{k: v for k, v in (STEP | (step or {})).items() if v is not ...}]} | changes
    return json.dumps({"database": {video_id: {k: v for k, v in entry.items() if v is not ...}}})


def tar(*members: tuple[str, str]) -> bytes:
    """A gzipped tar of files with a name and a content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in members:
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def zipped(*members: tuple[str, str]) -> bytes:
    """A zip of files with a name and a content, not compressed."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in members:
            archive.writestr(name, text)
    return out.getvalue()


def png() -> bytes:
    """A small picture."""
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG")
    return out.getvalue()


def annotations(content: str | bytes | None, *named: str, parameters: dict[str, object] | None = None) -> Case:
    """A case of the stage `annotations` with the file `recipes.json`."""
    return Case(("stages", "annotations"), ("recipes.json", *named), parameters or LOCAL, {"recipes.json": content})


def parameter(key: str, value: object, *named: str, **more: object) -> Case:
    """A case of one wrong parameter, found by the stage `annotations`."""
    return Case(("stages", "annotations"), (key, *named), {key: value} | more)


def recipe(content: str | bytes | None, *named: str, name: str = "recipe.txt") -> Case:
    """A case of `generate` with a recipe file that can't be read as one."""
    return Case(("recipevis", "generate", name, "--model", "model"), (name, *named), {}, {name: content, "model/a": ""})


def written(name: str, content: str | bytes) -> Callable[[Path], None]:
    """Write one file below the folder."""

    def prepare(folder: Path) -> None:
        path = folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return prepare


def removed(name: str) -> Callable[[Path], None]:
    """Remove a file or a folder below the folder."""

    def prepare(folder: Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return prepare


def edited(name: str, **values: object) -> Callable[[Path], None]:
    """Set keys of a JSON file; a value of `...` removes the key."""

    def prepare(folder: Path) -> None:
        tree = json.loads((folder / name).read_text()) | values
        (folder / name).write_text(json.dumps({key: value for key, value in tree.items() if value is not ...}))

    return prepare


def cut(name: str) -> Callable[[Path], None]:
    """Keep only the first half of a file."""

    def prepare(folder: Path) -> None:
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])

    return prepare


def pickled(folder: Path) -> None:
    """A VAE as older repositories have it."""
    weights = folder / "networks/vae/diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()


def weights_changed(name: str, change: Callable[[dict], None]) -> Callable[[Path], None]:
    """Change the weights in a safetensors file."""

    def prepare(folder: Path) -> None:
        weights = {key: value.clone() for key, value in load_file(folder / name).items()}
        change(weights)
        save_file(weights, folder / name, metadata={"format": "pt"})

    return prepare


def rebuilt(**values: object) -> Callable[[Path], None]:
    """Make the UNet anew with other values in its configuration."""

    def prepare(folder: Path) -> None:
        from diffusers import UNet2DConditionModel

        config = dict(UNet2DConditionModel.load_config(folder / "networks/unet")) | values
        shutil.rmtree(folder / "networks/unet")
        UNet2DConditionModel.from_config(config).save_pretrained(folder / "networks/unet")

    return prepare


def backbone(prepare: Callable[[Path], None] | None, *named: str, **parameters: object) -> Case:
    """A case of the stage `backbone` with the user's folder `networks`."""
    return Case(("stages", "backbone"), named, FOLDER | parameters, prepare=prepare, networks="networks")


def model(prepare: Callable[[Path], None], *named: str) -> Case:
    """A case of `generate` with a packaged model that isn't whole."""
    return Case(GENERATE, ("model", *named), {}, {"recipe.txt": "chop\n"}, prepare=prepare, networks="model")


def nan(weights: dict) -> None:
    weights["conv_in.weight"][0] = float("nan")


def second_with_nan(folder: Path) -> None:
    """A second CLIP, refused when the backbone has been copied already."""
    shutil.copytree(folder / "networks/clip", folder / "second")
    spoil = {"visual_projection.weight": torch.full((16, 24), torch.nan)}
    weights_changed("second/model.safetensors", lambda weights: weights.update(spoil))(folder)


TRIPLETS = "sample_id,subset,recipe_type,video_id,step,sentence,image,previous_image\n"
LFS = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 3438167536\n"
UNET = "networks/unet/diffusion_pytorch_model.safetensors"

CASES = {
    # Annotations
    "annotations: absent": Case(("stages", "annotations"), ("recipes.json",), LOCAL),
    "annotations: a folder": annotations(None),
    "annotations: empty file": annotations("", "empty"),
    "annotations: cut JSON": annotations('{"database": {', "JSON"),
    "annotations: binary": annotations(bytes(range(256))),
    "annotations: HTML page": annotations("<!doctype html><title>502 Bad Gateway</title>", "JSON"),
    "annotations: an array": annotations("[1, 2]", "database"),
    "annotations: no database": annotations('{"videos": {}}', "database"),
    "annotations: database is an array": annotations('{"database": []}', "database"),
    "annotations: no video": annotations('{"database": {}}', "recipes"),
    "annotations: cut gzip": annotations(gzip.compress(database().encode())[:-12]),
    "annotations: gzip of a page": annotations(gzip.compress(b"<html>"), "JSON"),
    "annotations: tar without JSON": annotations(tar(("README", "hi")), "archive"),
    "annotations: tar with two": annotations(tar(("a.json", database()), ("b.json", database())), "2"),
    "annotations: cut tar": annotations(tar(("a.json", database()))[:60]),
    "annotations: zip without JSON": annotations(zipped(("README", "hi")), "archive"),
    "annotations: zip with two": annotations(zipped(("a.json", database()), ("b.json", database())), "2"),
    "annotations: damaged zip": annotations(zipped(("a.json", database())).replace(b"onions", b"onionz")),
    "annotations: cut zip": annotations(zipped(("a.json", database()))[:-30]),
    "annotations: no server": Case(
        ("stages", "annotations"), ("127.0.0.1:9",), LOCAL | {"dataset.annotations": "http://127.0.0.1:9/a.json"}
    ),
    "annotations: twice the same id": annotations(
        f'{{"database": {{"a": {json.dumps(VIDEO)}, "a": {json.dumps(VIDEO)}}}}}', "'a'", "duplicate"
    ),
    "annotations: id with ../": annotations(database("../../evil"), "../../evil"),
    "annotations: id with a slash": annotations(database("soup/1"), "soup/1"),
    "annotations: empty id": annotations(database(""), "''"),
    "annotations: not YouTube's id": annotations(database("soup"), "soup", parameters=YOUTUBE),
    "annotations: no subset": annotations(database(subset=...), "GLd3aX16zBg", "subset"),
    "annotations: unknown subset": annotations(database(subset="train"), "GLd3aX16zBg", "'train'"),
    "annotations: no duration": annotations(database(duration=...), "GLd3aX16zBg", "duration"),
    "annotations: no length": annotations(database(duration=0), "GLd3aX16zBg", "duration"),
    "annotations: duration in words": annotations(database(duration="1:00"), "GLd3aX16zBg", "1:00"),
    "annotations: duration NaN": annotations(database(duration=float("nan")), "GLd3aX16zBg", "duration"),
    "annotations: no recipe type": annotations(database(recipe_type=...), "GLd3aX16zBg", "recipe_type"),
    "annotations: no steps": annotations(database(annotations=[]), "GLd3aX16zBg", "no steps"),
    "annotations: a video is an array": annotations('{"database": {"abc": []}}', "abc"),
    "annotations: no segment": annotations(database(step={"segment": ...}), "step 0", "segment"),
    "annotations: three times": annotations(database(step={"segment": [1, 2, 3]}), "step 0", "[1, 2, 3]"),
    "annotations: times as text": annotations(database(step={"segment": ["1", "2"]}), "step 0", "'1'"),
    "annotations: end before start": annotations(database(step={"segment": [9, 3]}), "step 0", "9", "3"),
    "annotations: before the start": annotations(database(step={"segment": [-1, 3]}), "step 0", "-1"),
    "annotations: endless": annotations(database(step={"segment": [1, float("inf")]}), "step 0", "inf"),
    "annotations: no sentence": annotations(database(step={"sentence": ...}), "step 0", "sentence"),
    "annotations: empty sentence": annotations(database(step={"sentence": " "}), "step 0", "sentence"),
    "annotations: invisible sentence": annotations(database(step={"sentence": "\u200b\ufeff"}), "step 0", "sentence"),
    "annotations: a number as sentence": annotations(database(step={"sentence": 3}), "step 0", "3"),
    "annotations: control character": annotations(database(step={"sentence": "chop\x07"}), "step 0", "\\x07"),
    # Parameters
    "parameters: absent": Case(("stages", "annotations"), ("params.yaml",), prepare=removed("params.yaml")),
    "parameters: a folder": Case(("recipevis", "fusers", "--params", "folder"), ("folder",), content={"folder": None}),
    "parameters: empty": Case(("recipevis", "fusers", "--params", "p.yaml"), ("p.yaml",), content={"p.yaml": ""}),
    "parameters: a list": Case(("recipevis", "fusers", "--params", "p.yaml"), ("p.yaml",), content={"p.yaml": "- 1\n"}),
    "parameters: not YAML": Case(
        ("recipevis", "fusers", "--params", "p.yaml"), ("p.yaml", "YAML"), content={"p.yaml": "a: [1\n"}
    ),
    "parameters: twice the same key": Case(
        ("recipevis", "fusers", "--params", "p.yaml"), ("p.yaml",), content={"p.yaml": "seed: 1\nseed: 2\n"}
    ),
    "parameters: binary": Case(
        ("recipevis", "fusers", "--params", "p.yaml"), ("p.yaml",), content={"p.yaml": b"\xff\xfe\x00\x01"}
    ),
    "parameters: unknown fuser": parameter("fuser", "concatt", "concatt", "concat, "),
    "parameters: empty fuser": parameter("fuser", ""),
    "parameters: unknown key": parameter("train.stepz", 5, "steps"),
    "parameters: negative steps": parameter("train.steps", -5, "-5"),
    "parameters: steps in words": parameter("train.steps", "many", "many"),
    "parameters: steps as a fraction": parameter("train.steps", 2.5, "2.5"),
    "parameters: empty steps": parameter("train.steps", None),
    "parameters: empty text for steps": parameter("train.steps", ""),
    "parameters: no batch": parameter("train.batch_size", 0, "0"),
    "parameters: batch in three parts": parameter("train.accumulation", 7, "7", "batch_size"),
    "parameters: rate NaN": parameter("train.learning_rate", float("nan"), "nan"),
    "parameters: endless rate": parameter("train.learning_rate", float("inf"), "inf"),
    "parameters: dropout above 1": parameter("train.dropout_text", 1.5, "1.5"),
    "parameters: all dropped": Case(
        ("stages", "annotations"), ("dropout_text",), {"train.dropout_text": 0.9, "train.dropout_both": 0.9}
    ),
    "parameters: ema of 1": parameter("train.ema", 1.0, "1.0"),
    "parameters: precision": parameter("train.precision", "fp8", "fp8", "bf16"),
    "parameters: seed": parameter("seed", -1, "-1"),
    "parameters: width in words": parameter("fuser_hidden", "big", "big", "matched"),
    "parameters: unknown option": parameter("fuser_options", {"headz": 2}, "headz"),
    "parameters: device": parameter("device", "gpu", "gpu", "cuda"),
    "parameters: one GPU for two": Case(
        ("stages", "annotations"), ("device", "cuda:0"), {"device": "cuda:0", "train.processes": 2}
    ),
    "parameters: unknown source": parameter("dataset.source", "vimeo", "vimeo", "youtube"),
    "parameters: no annotations": parameter("dataset.annotations", None, **{"dataset.source": "youtube"}),
    "parameters: empty annotations": parameter("dataset.annotations", "", **{"dataset.source": "youtube"}),
    "parameters: no videos": Case(("stages", "annotations"), ("videos_dir",), LOCAL | {"dataset.videos_dir": ""}),
    "parameters: address of no video": parameter("dataset.url", "https://example.org/", "video_id"),
    "parameters: limit": parameter("dataset.limit", 0, "0"),
    "parameters: only": Case(("stages", "annotations"), ("nowhere.json",), {"dataset.only": "nowhere.json"}),
    "parameters: pauses the wrong way": parameter("download.pause_s", [9.0, 1.0], "9.0"),
    "parameters: one pause": parameter("download.pause_s", [9.0], "9.0"),
    "parameters: Dask without a scheme": parameter("execution.dask", "localhost:8786", "localhost:8786"),
    "parameters: pixels": parameter("frames.pixels", 100, "100", "8"),
    "parameters: resize": parameter("frames.resize", "stretch", "stretch", "squash"),
    "parameters: revision": parameter("backbone.clip.revision", "main", "main"),
    "parameters: untrained shapes": parameter("backbone.random", "huge", "huge", "tiny"),
    "parameters: no folder": parameter("backbone.folder", None, **{"backbone.source": "folder"}),
    "parameters: too many steps": parameter("sample.steps", 1001, "1001"),
    "parameters: resamples": parameter("evaluate.resamples", 10, "10", "100"),
    # Videos, and what stages find
    "videos: no folder": Case(("stages", "download"), ("videos",), LOCAL, prepare=lambda f: ready(f, "annotations")),
    "videos: a file": Case(
        ("stages", "download"), ("videos",), LOCAL, {"videos": ""}, prepare=lambda f: ready(f, "annotations")
    ),
    "videos: no cookies": Case(
        ("stages", "download"),
        ("RECIPEVIS_COOKIES", "cookies.txt"),
        YOUTUBE,
        prepare=lambda f: ready(f, "annotations"),
        environment={"RECIPEVIS_COOKIES": "cookies.txt"},
    ),
    "videos: empty cookies": Case(
        ("stages", "download"),
        ("RECIPEVIS_COOKIES", "cookies.txt"),
        YOUTUBE,
        {"cookies.txt": "# Netscape HTTP Cookie File\n"},
        prepare=lambda f: ready(f, "annotations"),
        environment={"RECIPEVIS_COOKIES": "cookies.txt"},
    ),
    "videos: unknown option of yt-dlp": Case(
        ("stages", "download"),
        ("RECIPEVIS_YTDLP_ARGS", "--no-such-option"),
        YOUTUBE,
        prepare=lambda f: ready(f, "annotations"),
        environment={"RECIPEVIS_YTDLP_ARGS": "--no-such-option"},
    ),
    "videos: annotations not made": Case(("stages", "download"), ("data/annotations.json", "annotations")),
    "videos: other annotations": Case(
        ("stages", "download"), ("data/annotations.json",), content={"data/annotations.json": '{"a": 1}'}
    ),
    "frames: videos not made": Case(
        ("stages", "frames"), ("data/videos.csv",), prepare=lambda f: ready(f, "annotations")
    ),
    # Networks in a folder
    "networks: no folder": Case(("stages", "backbone"), ("networks",), FOLDER),
    "networks: no UNet": backbone(removed("networks/unet"), "unet"),
    "networks: no weights": backbone(removed(UNET), "unet"),
    "networks: pickled": backbone(pickled, "vae", "pickled"),
    "networks: LFS pointer": backbone(written(UNET, LFS), "unet"),
    "networks: cut weights": backbone(cut(UNET), "unet"),
    "networks: NaN": backbone(weights_changed(UNET, nan), "unet"),
    "networks: a weight is missing": backbone(
        weights_changed(UNET, lambda weights: weights.pop("conv_in.weight")), "unet", "conv_in.weight"
    ),
    "networks: configuration is no JSON": backbone(written("networks/unet/config.json", "{"), "unet", "config.json"),
    "networks: another width": backbone(edited("networks/unet/config.json", cross_attention_dim=24), "24", "16"),
    "networks: class-conditioned UNet": backbone(
        rebuilt(class_embed_type="projection", projection_class_embeddings_input_dim=32), "unet", "class_embed_type"
    ),
    "networks: UNet of SDXL": backbone(
        rebuilt(addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=64),
        "unet",
        "addition_embed_type",
    ),
    "networks: no tokenizer": backbone(removed("networks/tokenizer/tokenizer.json"), "tokenizer"),
    "networks: no schedule": backbone(removed("networks/scheduler/scheduler_config.json"), "scheduler"),
    "networks: flow matching": backbone(
        written(
            "networks/scheduler/scheduler_config.json",
            '{"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}',
        ),
        "scheduler",
    ),
    "networks: no CLIP": backbone(removed("networks/clip"), "clip"),
    "networks: CLIP of another family": backbone(edited("networks/clip/config.json", model_type="siglip"), "siglip"),
    "networks: pictures aren't resized": backbone(
        edited("networks/clip/preprocessor_config.json", do_resize=False, do_center_crop=False), "clip", "do_resize"
    ),
    "networks: quantised": backbone(
        edited(
            "networks/text_encoder/config.json",
            quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True, "_load_in_8bit": True},
        ),
        "text_encoder",
        "quantization_config",
    ),
    "networks: a second CLIP with NaN": backbone(
        second_with_nan, "second", "visual_projection.weight", **{"evaluate.encoder": "second"}
    ),
    "networks: no second CLIP": backbone(None, "evaluate.encoder", "nowhere", **{"evaluate.encoder": "nowhere"}),
    # Models
    "model: absent": Case(GENERATE, ("model",), content={"recipe.txt": "chop\n"}),
    "model: a file": Case(GENERATE, ("model",), content={"recipe.txt": "chop\n", "model": ""}),
    "model: another folder": Case(
        GENERATE, ("model", "model_index.json"), content={"recipe.txt": "chop\n", "model/a": ""}
    ),
    "model: no conditioner": model(removed("model/conditioner"), "conditioner"),
    "model: fuser not installed": model(edited("model/conditioner/config.json", fuser="ours"), "ours"),
    "model: no channels for the latent": model(
        edited("model/conditioner/config.json", previous_latent=True), "4 channels", "previous_latent"
    ),
    "model: cut weights": model(cut("model/unet/diffusion_pytorch_model.safetensors")),
    "model: no VAE": model(removed("model/vae")),
    "model: index is no JSON": model(written("model/model_index.json", "{")),
    # Recipes
    "recipe: absent": Case(GENERATE, ("recipe.txt",)),
    "recipe: a folder": recipe(None),
    "recipe: an address": Case(
        ("recipevis", "generate", "https://example.org/soup", "--model", "model"), ("https://example.org/soup",)
    ),
    "recipe: empty": recipe(" \n\n\t\n", "empty"),
    "recipe: invisible": recipe("\u200b\n\ufeff\n"),
    "recipe: Latin-1": recipe("crème".encode("latin-1"), "UTF-8"),
    "recipe: NUL bytes": recipe(b"chop\0the\0onions\n"),
    "recipe: a picture": recipe(png(), name="recipe.png"),
    "recipe: PDF": recipe(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "PDF", name="recipe.pdf"),
    "recipe: web page": recipe("<!doctype html>\n<html><body><p>Chop.</p></body></html>\n", "HTML"),
    "recipe: table": recipe('title,directions\nPan,"[""Peel.""]"\n', "CSV", name="recipe.csv"),
    "recipe: Word document": recipe(zipped(("word/document.xml", "<w/>")), name="recipe.docx"),
    "recipe: JSON without a recipe": recipe('{"@type": "Person"}', "Recipe", name="recipe.json"),
    "recipe: JSON without steps": recipe('{"@type": "Recipe", "name": "Pan"}', name="recipe.json"),
    "recipe: cut JSON": recipe('{"@type": "Recipe", "recipeInstr', "JSON", name="recipe.json"),
    # Where results go
    "storyboard: PDF": Case((*GENERATE, "--out", "b.pdf"), ("b.pdf", ".png"), content={"recipe.txt": "chop\n"}),
    "storyboard: no ending": Case((*GENERATE, "--out", "board"), ("board", ".png"), content={"recipe.txt": "chop\n"}),
    "storyboard: no folder": Case((*GENERATE, "--out", "no/b.png"), ("no",), content={"recipe.txt": "chop\n"}),
    "storyboard: a folder": Case(
        (*GENERATE, "--out", "b.png"), ("b.png",), content={"recipe.txt": "chop\n", "b.png": None}
    ),
    "storyboard: below a file": Case(
        (*GENERATE, "--out", "file/b.png"), ("file",), content={"recipe.txt": "chop\n", "file": ""}
    ),
    "storyboard: steps into a file": Case(
        (*GENERATE, "--steps-dir", "file"), ("file",), content={"recipe.txt": "chop\n", "file": ""}
    ),
    "storyboard: an endless step": Case(
        (*GENERATE, "--out", "b.jpg"),
        ("step 1", "1,000,000"),
        content={"recipe.txt": "stir " * 400_000},
        networks="model",
    ),
    "storyboard: too many steps": Case(
        (*GENERATE, "--out", "b.jpg"),
        ("storyboard", "65,500"),
        content={"recipe.txt": "stir\n" * 20_000},
        networks="model",
    ),
    "storyboard: guidance is no number": Case(
        (*GENERATE, "--guidance", "nan"), ("--guidance", "nan"), content={"recipe.txt": "chop\n"}, networks="model"
    ),
    "storyboard: endless image guidance": Case(
        (*GENERATE, "--image-guidance", "inf"),
        ("--image-guidance",),
        content={"recipe.txt": "chop\n"},
        networks="model",
    ),
    "export: nothing to export": Case(("recipevis", "export", "out"), ("data/triplets.csv",)),
    "export: no triplets": Case(
        ("recipevis", "export", "out"),
        ("triplets",),
        content={"data/annotations.json": "[]", "data/triplets.csv": TRIPLETS},
    ),
    "export: a folder with files": Case(
        ("recipevis", "export", "out"),
        ("out",),
        content={
            "data/annotations.json": "[]",
            "data/triplets.csv": f"{TRIPLETS}a_00,training,1,a,0,chop,a.png,\n",
            "a.png": png(),
            "out/a": "",
        },
    ),
    "export: a file": Case(
        ("recipevis", "export", "out"),
        ("out",),
        content={
            "data/annotations.json": "[]",
            "data/triplets.csv": f"{TRIPLETS}a_00,training,1,a,0,chop,a.png,\n",
            "a.png": png(),
            "out": "",
        },
    ),
    "export: below a file": Case(
        ("recipevis", "export", "file/out"),
        ("file",),
        content={
            "data/annotations.json": "[]",
            "data/triplets.csv": f"{TRIPLETS}a_00,training,1,a,0,chop,a.png,\n",
            "a.png": png(),
            "file": "",
        },
    ),
    "export: a frame is missing": Case(
        ("recipevis", "export", "out"),
        ("a.png",),
        content={"data/annotations.json": "[]", "data/triplets.csv": f"{TRIPLETS}a_00,training,1,a,0,chop,a.png,\n"},
    ),
}
COMMAND_LINE = "from recipevis.cli import app; app()"
IN_A_SHELL = ("annotations: cut JSON", "parameters: unknown fuser", "recipe: empty", "videos: no folder")


def ready(folder: Path, stage: str) -> None:
    """Write what the stage `annotations` writes, for one video."""
    step = {"step": 0, "start_s": 3.0, "end_s": 9.0, "sentence": "chop"}
    entry = {"video_id": "GLd3aX16zBg", "subset": "training", "recipe_type": "113", "duration_s": 60.0, "steps": [step]}
    (folder / "data").mkdir()
    (folder / f"data/{stage}.json").write_text(json.dumps([entry]))


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory, tiny_backbone):
    """A packaged model of tiny untrained networks."""
    from recipevis.model.conditions import Conditioner
    from recipevis.model.networks import Backbone
    from recipevis.model.shapes import fuser_shapes
    from recipevis.sampling.pipeline import assemble

    backbone = Backbone(tiny_backbone)
    shapes = asdict(fuser_shapes(tiny_backbone, tiny_backbone / "clip", 3))
    made = assemble(backbone, Conditioner("attend_to_image", {"hidden": 16}, **shapes), backbone.unet, 64, "white")
    made.save_pretrained(folder := tmp_path_factory.mktemp("tiny") / "model")
    return folder


@pytest.fixture
def prepared(tmp_path, recipevis_home, tiny_backbone, tiny_model, monkeypatch):
    """A function that makes a project with a case's mistake in it, goes there, and returns its folder."""

    def prepare(case):
        folder = tmp_path / "project"
        folder.mkdir()
        recipevis_home.mkdir()
        for name in ("recipevis", "stages"):
            (folder / name).symlink_to(ROOT / name)
        for name in ("dvc.yaml", "params.yaml"):
            shutil.copy(ROOT / name, folder / name)
        set_parameters(folder / "params.yaml", case.parameters)
        if case.networks:
            shutil.copytree({"networks": tiny_backbone, "model": tiny_model}[case.networks], folder / case.networks)
        for name, content in case.content.items():
            path = folder / name
            if content is None:
                path.mkdir(parents=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        if case.prepare:
            case.prepare(folder)
        for name, value in case.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(folder)
        return folder

    return prepare


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of change of every file below a folder, folders included; linked ones are left out.

    A stage's empty work folder is no work: its lock and its record of the code may stay.
    """
    work = folder / "recipevis-home/work"
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes() if path.is_file() else b"", path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
        if not (path in (work, work.parent) or (work in path.parents and (path.is_dir() or path.name == "code.json")))
        and path.suffix != ".lock"
    }


def call(command: tuple[str, ...], capsys: pytest.CaptureFixture) -> tuple[int, str, str]:
    """Run a command in this process; its exit status, output and errors."""
    program, *arguments = command
    if program == "recipevis":
        from recipevis.cli import app

        done = CliRunner().invoke(app, arguments)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stdout, done.stderr
    inputs.at_start.cache_clear()
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        stages.run(arguments[0], importlib.import_module(f"stages.{arguments[0]}").main)
    return stopped.value.code, *capsys.readouterr()


def check(case: Case, status: int, output: str, errors: str) -> None:
    """One line that names the case's things, its exit status, and no other output.

    `generate` prints the steps before it loads the model: whether that can be loaded is known later.
    """
    assert status == case.status, errors
    assert len(errors.splitlines()) == 1, errors
    assert "Traceback" not in errors
    for part in case.named:
        assert part in errors
    assert not output or output.endswith("loading model ...\n")


@pytest.mark.parametrize("name", CASES)
def test_one_clear_line_and_nothing_written(prepared, capsys, name):
    case = CASES[name]
    everything = prepared(case).parent  # the project and RECIPEVIS_HOME
    before = snapshot(everything)
    check(case, *call(case.command, capsys))
    assert snapshot(everything) == before


@pytest.mark.parametrize("name", IN_A_SHELL)
def test_the_same_as_a_user_runs_it(prepared, name):
    case = CASES[name]
    folder = prepared(case)
    before = snapshot(folder.parent)
    program, *arguments = case.command
    start = ["-m", f"stages.{arguments[0]}"] if program == "stages" else ["-c", COMMAND_LINE, *arguments]
    done = subprocess.run([sys.executable, "-B", *start], cwd=folder, capture_output=True, text=True, timeout=120)
    check(case, done.returncode, done.stdout, done.stderr)
    assert snapshot(folder.parent) == before


def test_a_python_without_the_packages_is_one_line(prepared):
    folder = prepared(CASES["parameters: seed"])
    command = [sys.executable, "-B", "-S", "-m", "stages.annotations"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    check(Case((), ("packages", "source .venv/bin/activate")), done.returncode, done.stdout, done.stderr)
