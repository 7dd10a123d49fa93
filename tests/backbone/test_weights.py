"""Which files of a folder are used: variants, shards, what `save_pretrained` writes; and what is refused unread."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTextModel, CLIPTokenizer

from recipevis.backbone import weights
from recipevis.errors import InputError
from recipevis.model.networks import Backbone
from tests.backbone.folders import CLIP, TEXT, UNET, VAE, from_folder, refused, rewrite

CLASSES = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel, "clip": CLIPModel}
SHARDED = "20KB"  # the tiny networks are larger


def saved_again(folder, parts=tuple(CLASSES), half=False, **how):
    """Save networks as their users do."""
    for part in parts:
        network = CLASSES[part].from_pretrained(folder / part)
        for file in (folder / part).glob("*.safetensors*"):
            file.unlink()
        (network.half() if half else network).save_pretrained(folder / part, **how)


def variant_of(file: str) -> str:
    return file.replace(".safetensors", ".fp16.safetensors")


def equal(folder, other, half=False) -> bool:
    """Whether the weights of two folders are the same, or the same in half precision."""
    for part in CLASSES:
        ours, theirs = (getattr(Backbone(place), part).state_dict() for place in (folder, other))
        if half:
            ours, theirs = ({name: w.half() for name, w in states.items()} for states in (ours, theirs))
        if ours.keys() != theirs.keys() or not all(torch.equal(ours[name], theirs[name]) for name in ours):
            return False
    return True


def legacy_names(folder) -> None:
    """The names that older versions of diffusers gave to the shards of a variant."""
    index = folder / "unet/diffusion_pytorch_model.safetensors.index.fp16.json"
    content = json.loads(index.read_text())
    index.unlink()
    for weight, name in content["weight_map"].items():
        old = name.replace(".fp16-", "-").replace(".safetensors", ".fp16.safetensors")
        if (folder / "unet" / name).exists():
            (folder / "unet" / name).rename(folder / "unet" / old)
        content["weight_map"][weight] = old
    (folder / "unet/diffusion_pytorch_model.safetensors.fp16.index.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    "how",
    [
        lambda folder: [(folder / file).rename(folder / variant_of(file)) for file in (UNET, VAE, TEXT, CLIP)],
        lambda folder: saved_again(folder, half=True, variant="fp16"),
        lambda folder: saved_again(folder, half=True, variant="fp16", max_shard_size=SHARDED),
        lambda folder: saved_again(folder, half=True, variant="bf16", max_shard_size=SHARDED),
        lambda folder: (
            saved_again(folder, ("unet",), True, variant="fp16", max_shard_size=SHARDED),
            legacy_names(folder),
        ),
    ],
    ids=["renamed", "fp16", "fp16 shards", "bf16 shards", "older names"],
)
def test_a_half_precision_variant_is_used_where_there_is_no_other(folder, tiny_backbone, tmp_path, capsys, how):
    how(folder)
    made = from_folder(folder, tmp_path / "made")
    assert equal(made, tiny_backbone, half=True)
    assert not [file for file in made.rglob("*") if "fp16" in file.name or "bf16" in file.name]
    assert "fp16" in (said := capsys.readouterr().out) or "bf16" in said


def test_plain_weights_win_over_a_variant(folder, tiny_backbone, tmp_path):
    rewrite(
        shutil.copy(folder / UNET, folder / variant_of(UNET)), lambda tensors: {k: t * 0 for k, t in tensors.items()}
    )
    made = from_folder(folder, tmp_path / "made")
    assert equal(made, tiny_backbone)
    assert [path.name for path in (made / "unet").glob("*.safetensors")] == ["diffusion_pytorch_model.safetensors"]


def test_shards_are_used_by_their_index(folder, tiny_backbone, tmp_path):
    saved_again(folder, max_shard_size=SHARDED)
    shard = sorted((folder / "unet").glob("*-of-*.safetensors"))[0]
    shutil.copy(shard, shard.with_name("diffusion_pytorch_model-00001-of-00099.safetensors"))  # of an older save
    made = from_folder(folder, tmp_path / "made")
    assert equal(made, tiny_backbone)
    assert not list(made.glob("unet/*-of-00099.safetensors"))


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_a_stale_index_beside_whole_weights_is_left_behind(folder, tiny_backbone, tmp_path, part):
    stem = "model" if part == "text_encoder" else "diffusion_pytorch_model"
    stale = {"metadata": {}, "weight_map": {"conv_in.weight": f"{stem}-00001-of-00002.safetensors"}}
    (folder / part / f"{stem}.safetensors.index.json").write_text(json.dumps(stale))
    assert equal(from_folder(folder, tmp_path / "made"), tiny_backbone)


def test_a_processor_as_transformers_saves_it_is_used(folder, tiny_backbone, tmp_path):
    processor = CLIPProcessor(
        CLIPImageProcessorPil.from_pretrained(folder / "clip"), CLIPTokenizer.from_pretrained(folder / "clip")
    )
    for name in ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / "clip" / name).unlink()
    processor.save_pretrained(folder / "clip")
    assert not (folder / "clip/preprocessor_config.json").exists()
    ours, theirs = (Backbone(place).processor for place in (from_folder(folder, tmp_path / "made"), tiny_backbone))
    assert ours.to_dict() == theirs.to_dict()


def test_links_are_followed(folder, tiny_backbone, tmp_path):
    """The hub's cache is a folder of links."""
    (tmp_path / "blobs").mkdir()
    for number, file in enumerate([path for path in folder.rglob("*") if path.is_file()]):
        file.symlink_to(file.rename(tmp_path / "blobs" / str(number)))
    made = from_folder(folder, tmp_path / "made")
    assert equal(made, tiny_backbone)
    assert not [path for path in made.rglob("*") if path.is_symlink()]


def pickled(folder) -> None:
    torch.save(load_file(folder / VAE), (folder / VAE).with_suffix(".bin"))
    (folder / VAE).unlink()


def sharded(folder, index: str | None = None, lost: bool = False) -> None:
    saved_again(folder, ("unet",), max_shard_size=SHARDED)
    path = folder / "unet/diffusion_pytorch_model.safetensors.index.json"
    if index is None and not lost:
        path.unlink()
    elif index:
        path.write_text(index)
    if lost:
        sorted((folder / "unet").glob("*-of-*.safetensors"))[1].unlink()


def linked_to_nothing(folder) -> None:
    (folder / UNET).unlink()
    (folder / UNET).symlink_to("gone.safetensors")


@pytest.mark.parametrize(
    ("how", "named"),
    [
        (pickled, ["vae", "diffusion_pytorch_model.bin", "pickled"]),
        (lambda folder: (folder / VAE).unlink(), ["vae", "diffusion_pytorch_model.safetensors"]),
        (
            lambda folder: (folder / UNET).rename(folder / UNET.replace(".safe", ".non_ema.safe")),
            ["unet", "diffusion_pytorch_model.non_ema.safetensors"],
        ),
        (
            lambda folder: (folder / UNET).write_text("version https://git-lfs.github.com/spec/v1\noid"),
            [UNET, "git lfs pull"],
        ),
        (lambda folder: (folder / UNET).write_bytes(b""), [UNET]),
        (lambda folder: (folder / UNET).write_text("<!DOCTYPE html>"), [UNET]),
        (lambda folder: (folder / UNET).write_bytes((folder / UNET).read_bytes()[:-9]), [UNET]),
        (linked_to_nothing, [UNET, "gone.safetensors"]),
        (
            lambda folder: rewrite(folder / UNET, lambda t: t | {"conv_in.bias": t["conv_in.bias"].to(torch.int8)}),
            [UNET, "conv_in.bias", "I8"],
        ),
        (
            lambda folder: rewrite(folder / CLIP, lambda t: {name: w.to(torch.float8_e4m3fn) for name, w in t.items()}),
            [CLIP, "F8_E4M3"],
        ),
        (sharded, ["unet", "diffusion_pytorch_model.safetensors.index.json"]),
        (lambda folder: sharded(folder, "{}"), ["unet", "index.json", "weight_map"]),
        (lambda folder: sharded(folder, "[" * 100_000), ["unet", "index.json"]),
        (
            lambda folder: sharded(folder, '{"weight_map": {"a": "../b.safetensors"}}'),
            ["index.json", "../b.safetensors"],
        ),
        (lambda folder: sharded(folder, lost=True), ["diffusion_pytorch_model-00002-of-000"]),
        (lambda folder: (folder / "text_encoder/adapter_config.json").write_text("{}"), ["text_encoder", "adapter"]),
    ],
)
def test_weights_that_can_not_be_used_are_refused_with_the_reason(folder, tmp_path, how, named):
    how(folder)
    line = refused(folder, tmp_path / "made")
    assert [name for name in named if name not in line] == []
    assert not (tmp_path / "made").exists()


def test_a_folder_that_may_not_be_read_is_named(folder, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(InputError, match=r"unet: .*Permission denied"):
        weights.plan("unet", folder / "unet")


def test_position_ids_may_be_integers(folder, tmp_path):
    ids = {"text_model.embeddings.position_ids": torch.arange(12)[None]}
    rewrite(folder / CLIP, lambda tensors: tensors | ids)
    from_folder(folder, tmp_path / "made")


def test_the_same_files_are_chosen_by_names_alone():
    """Of the names in CompVis/stable-diffusion-v1-4 and in a sharded repository."""
    names = {"config.json", "diffusion_pytorch_model.bin", "diffusion_pytorch_model.fp16.bin"}
    whole, half = "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"
    other = "diffusion_pytorch_model.non_ema.safetensors"
    assert weights.used("unet", names | {whole, half, other}) == ["config.json", whole]
    assert weights.used("unet", names | {half, other}) == ["config.json", half]
    index = "diffusion_pytorch_model.safetensors.index.fp16.json"
    shards = [f"diffusion_pytorch_model.fp16-0000{number}-of-00002.safetensors" for number in (1, 2)]
    assert weights.used("unet", names | {index, *shards, other}) == ["config.json", index, *shards]
    with pytest.raises(InputError, match=r"diffusion_pytorch_model\.bin"):
        weights.used("unet", names)
    with pytest.raises(InputError, match=r"config\.json"):
        weights.used("unet", {whole})
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        weights.used("tokenizer", {"tokenizer_config.json", "vocab.json"})


def test_weights_without_a_note_of_their_format_are_used(folder, tmp_path):
    save_file(load_file(folder / UNET), folder / UNET)
    from_folder(folder, tmp_path / "made")
