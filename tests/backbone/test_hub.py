"""Networks from the hub, which a server on loopback stands in for: what is fetched, what is named before."""

import errno
import shutil

import pytest
from huggingface_hub.errors import HTTPError

from recipevis.backbone.base import make, source_of
from recipevis.backbone.encoder import check_encoder, fetch_encoder
from recipevis.config import BackboneConfig, HubModelConfig
from recipevis.errors import InputError
from recipevis.model.networks import Backbone
from tests.backbone.folders import UNET, VAE, change, settings
from tests.backbone.stand_in_hub import StandInHub, serving

COMMITS = ("a" * 40, "b" * 40)


@pytest.fixture
def hub(folder, tmp_path):
    """A hub with the tiny networks, beside what published repositories hold, too."""
    diffusion = shutil.copytree(folder, tmp_path / "diffusion", ignore=shutil.ignore_patterns("clip"))
    clip = shutil.copytree(folder / "clip", tmp_path / "clip")
    for file in (diffusion / UNET, diffusion / VAE, clip / "model.safetensors"):
        file.with_suffix(".bin").write_bytes(b"pickled")
        file.with_name(file.name.replace(".safe", ".fp16.safe")).write_bytes(b"half")
        file.with_name(file.name.replace(".safe", ".non_ema.safe")).write_bytes(b"other")
    (diffusion / "safety_checker").mkdir()
    (diffusion / "safety_checker/model.safetensors").write_bytes(b"unused")
    (diffusion / "v1-4.ckpt").write_bytes(b"pickled")
    with serving(tmp_path / "cache") as hub:
        hub.repositories = {"owner/diffusion": diffusion, "owner/clip": clip}
        yield hub


def of_hub() -> BackboneConfig:
    models = {"stable_diffusion": ("owner/diffusion", COMMITS[0]), "clip": ("owner/clip", COMMITS[1])}
    named = {key: HubModelConfig(id=name, revision=commit) for key, (name, commit) in models.items()}
    return settings(source="hub", **named)


def check():
    return source_of(of_hub()).check()


def weights_fetched(hub: StandInHub) -> list[str]:
    return [path for path in hub.fetched if not path.endswith((".json", ".txt"))]


def half_only(hub: StandInHub) -> None:
    """Leave the half-precision variant alone."""
    for folder in hub.repositories.values():
        for file in folder.rglob("*.fp16.safetensors"):
            file.with_name(file.name.replace(".fp16", "")).replace(file)


def test_only_what_is_used_is_fetched_and_once(hub, tmp_path):
    assert check().state == "ok"
    assert hub.fetched == []
    make(of_hub(), tmp_path / "made", 32)
    parts = ("text_encoder/model", "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model")
    expected = [f"owner/diffusion/{part}.safetensors" for part in parts]
    assert sorted(weights_fetched(hub)) == ["owner/clip/model.safetensors", *expected]
    assert Backbone(tmp_path / "made").origin["clip"] == f"owner/clip@{COMMITS[1]}"
    fetched = list(hub.fetched)
    hub.failing = 503  # everything is in the cache
    make(of_hub(), tmp_path / "again", 32)
    assert hub.fetched == fetched
    assert check().state == "ok"


def test_a_variant_is_fetched_where_there_is_no_other(hub, tmp_path):
    half_only(hub)
    (hub.repositories["owner/diffusion"] / VAE).write_bytes(
        (hub.repositories["owner/diffusion"] / VAE.replace(".safe", ".fp16.safe")).read_bytes()
    )
    make(of_hub(), tmp_path / "made", 32)
    assert f"owner/diffusion/{UNET.replace('.safe', '.fp16.safe')}" in hub.fetched
    assert f"owner/diffusion/{VAE}" in hub.fetched
    assert not [path for path in hub.fetched if "vae" in path and "fp16" in path]
    assert (tmp_path / "made" / UNET).is_file()


def remove(pattern: str):
    def how(hub):
        for folder in hub.repositories.values():
            for file in folder.glob(pattern):
                file.unlink()

    return how


@pytest.mark.parametrize(
    ("how", "named"),
    [
        (remove("unet/*.safetensors"), ["owner/diffusion", "unet", "diffusion_pytorch_model.safetensors", ".bin"]),
        (remove("vae/config.json"), ["owner/diffusion", "vae", "config.json"]),
        (remove("tokenizer/tokenizer.json"), ["owner/diffusion", "tokenizer.json"]),
        (remove("preprocessor_config.json"), ["owner/clip", "preprocessor_config.json"]),
        (lambda hub: hub.repositories.pop("owner/clip"), ["owner/clip", "404"]),
        (lambda hub: hub.gated.add("owner/diffusion"), ["owner/diffusion", "gated"]),
    ],
    ids=["weights", "configuration", "tokenizer", "preprocessor", "repository", "gated"],
)
def test_what_is_missing_is_named_before_anything_is_fetched(hub, tmp_path, how, named):
    how(hub)
    finding = check()
    assert finding.state == "missing"
    assert [name for name in named if name not in finding.text] == []
    with pytest.raises(InputError) as error:
        make(of_hub(), tmp_path / "made", 32)
    assert [name for name in named if name not in str(error.value)] == []
    assert "\n" not in str(error.value)
    assert weights_fetched(hub) == []


def test_networks_that_do_not_fit_are_refused_before_their_weights_are_fetched(hub, tmp_path):
    change(hub.repositories["owner/diffusion"] / "unet/config.json", {"time_cond_proj_dim": 16})
    with pytest.raises(InputError, match="time_cond_proj_dim"):
        make(of_hub(), tmp_path / "made", 32)
    assert weights_fetched(hub) == []


def test_a_hub_that_does_not_answer_is_no_fault_of_the_repository(hub, tmp_path):
    hub.failing = 503
    finding = check()
    assert finding.state == "missing"
    assert "503" in finding.text
    assert "network" in finding.remedy


def test_a_connection_that_breaks_in_the_middle_is_one_line(hub, tmp_path, monkeypatch):
    def breaking(*arguments, **options):
        raise HTTPError("[Errno 104] Connection reset by peer")

    monkeypatch.setattr("huggingface_hub.snapshot_download", breaking)
    with pytest.raises(InputError, match=f"^owner/diffusion@{COMMITS[0]}: .*reset by peer"):
        make(of_hub(), tmp_path / "made", 32)


def test_a_full_disk_is_no_fault_of_the_hub(hub, tmp_path, monkeypatch):
    """`core.stage` says that it is full, where, and sets the exit status."""

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.snapshot_download", full)
    with pytest.raises(OSError, match="No space") as error:
        make(of_hub(), tmp_path / "made", 32)
    assert error.value.filename == str(tmp_path / "cache")


def test_sizes_are_those_to_fetch(hub):
    """Two sparse files of 3 and 1 GiB instead of two networks."""
    for file, gib in ((UNET, 3), (VAE, 1)):
        with (hub.repositories["owner/diffusion"] / file).open("r+b") as weights:
            weights.truncate(gib * 2**30)
    assert "4 of 4 GiB" in check().text


def test_the_second_clip_is_looked_for_too(hub, folder, tmp_path):
    assert check_encoder("owner/clip", COMMITS[1]).state == "ok"
    assert hub.fetched == []
    fetch_encoder("owner/clip", COMMITS[1], tmp_path / "encoder", 32)
    assert weights_fetched(hub) == ["owner/clip/model.safetensors"]
    remove("model*.safetensors")(hub)
    assert "model.safetensors" in check_encoder("owner/clip", "c" * 40).text
    assert check_encoder(str(folder / "clip"), None).state == "ok"
    assert "evaluate.encoder_revision" in check_encoder("owner/clip", None).text
    (folder / "clip/model.safetensors").unlink()
    assert "model.safetensors" in check_encoder(str(folder / "clip"), None).text
