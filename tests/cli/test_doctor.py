"""What the doctor finds: each lack is seen, and is gone with its remedy."""

import json
import re
from collections import namedtuple

import pytest
import requests
import torch
from typer.testing import CliRunner

from recipevis.cli import disk, doctor, main
from recipevis.config import load
from recipevis.data import annotations
from recipevis.data.sources.youtube import YOUTUBE_ID
from tests.conftest import set_parameters


@pytest.fixture
def parameters(root, tmp_path):
    """A function: the parameters of a file, some of them changed."""

    def made(name="params.yaml", **changes):
        path = tmp_path / "params.yaml"
        path.write_text((root / name).read_text())
        set_parameters(path, {key.replace("__", "."): value for key, value in changes.items()})
        return load(path)

    return made


def states(parameters) -> dict[str, str]:
    return {finding.what: finding.state for finding in doctor.examine(parameters)}


def test_the_demo_lacks_nothing_but_perhaps_a_name_for_git(parameters):
    found = states(parameters())
    assert {state for what, state in found.items() if what != "git"} == {"ok"}


def written(path, training, validation):
    """Annotations of so many videos, each of two steps."""
    steps = [{"segment": [second, second + 1], "id": second, "sentence": "stir"} for second in (0, 1)]
    about = {"duration": 2, "recipe_type": "1", "annotations": steps}
    database = {f"t{number}": about | {"subset": "training"} for number in range(training)}
    database |= {f"v{number}": about | {"subset": "validation"} for number in range(validation)}
    path.write_text(json.dumps({"database": database}))


def test_a_folder_is_looked_into_for_the_annotated_videos(parameters, tmp_path):
    local = {"dataset__source": "local", "dataset__annotations": str(tmp_path / "a.json")}
    local["dataset__videos_dir"] = str(tmp_path / "videos")

    def look():
        found = {finding.what: finding for finding in doctor.examine(parameters(**local))}
        return found["annotations"], found["videos"]

    assert [finding.state for finding in look()] == ["missing", "missing"]
    (tmp_path / "a.json").write_text('{"database": {')
    (tmp_path / "videos/nested").mkdir(parents=True)
    told, _ = look()
    assert told.state == "missing"
    assert "a.json: not JSON" in told.text
    written(tmp_path / "a.json", 3, 1)
    told, videos = look()
    assert (told.state, videos.state) == ("ok", "missing")
    assert told.text.endswith("a.json: 4 videos, 8 steps")
    for name in ("t0.mp4", "nested/t2.mkv", "other.mp4", "v0.json"):
        (tmp_path / "videos" / name).touch()
    (tmp_path / "videos/v0.mp4").symlink_to(tmp_path / "nowhere")
    _, videos = look()
    assert videos.state == "missing"
    assert videos.text == f"2 of 4 annotated videos found in {tmp_path / 'videos'}, none for validation"
    (tmp_path / "nowhere").touch()
    _, videos = look()
    assert (videos.state, videos.text.partition(" annotated")[0]) == ("note", "3 of 4")
    (tmp_path / "videos/t1.webm").touch()
    assert look()[1].state == "ok"


def test_the_papers_run(parameters, monkeypatch, tmp_path):
    def refuse(*arguments, **options):
        raise requests.ConnectionError("no route to host")

    monkeypatch.setattr(requests, "get", refuse)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.delenv("RECIPEVIS_COOKIES", raising=False)
    (backbone,) = (found for found in doctor.examine(parameters("params/paper.yaml")) if found.what == "backbone")
    assert backbone.text == "the hub, https://huggingface.co: can't be reached"
    assert backbone.remedy == "connect, or set backbone.source: folder"
    found = states(parameters("params/paper.yaml"))
    assert found["backbone"] == found["JavaScript for yt-dlp"] == "missing"
    assert (found["cookies"], found["git"]) == ("note", "missing")
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "deno" if name == "deno" else None)
    monkeypatch.setenv("RECIPEVIS_COOKIES", str(tmp_path / "cookies.txt"))
    assert states(parameters("params/paper.yaml"))["cookies"] == "missing"
    (tmp_path / "cookies.txt").touch()
    found = states(parameters("params/paper.yaml"))
    assert (found["cookies"], found["JavaScript for yt-dlp"]) == ("ok", "ok")


def test_a_hub_that_fails_is_told_in_few_words():
    refused = requests.Response()
    refused.status_code, refused.url = 404, "https://hub/a"
    told = [doctor._why(e) for e in (requests.HTTPError("long", response=refused), requests.Timeout("long"))]
    assert told == ["answers 404 to https://hub/a", "no answer in time"]


def test_disk_against_what_is_written(parameters):
    """Of the papers' networks: fp16 tokens and latents of each step, fp32 weights; five sets of validation's steps."""
    taken = {(share.stage, share.place): share.gib * 2**30 for share in disk.needed(parameters("params/paper.yaml"))}
    assert taken["embed", "the project"] == pytest.approx(13_829 * 2 * (77 * 768 + 257 * 1024 + 8 * 32 * 32))
    assert taken["frames", "the project"] / taken["sample", "the project"] == pytest.approx(13_829 / (5 * 3_492))
    assert taken["train", "RECIPEVIS_HOME"] == pytest.approx(2 * 3 * 4 * (859_520_964 + 49_946_112))
    assert taken["backbone", "the project"] == taken["backbone", "the hub's cache"]


def test_disk_follows_the_annotations_that_are_at_hand(parameters, tmp_path, shared):
    paper = parameters("params/paper.yaml")
    path = shared / "youcook2/youcookii_annotations_trainval.json"
    recipes = annotations.parse(path.read_bytes(), "youcook2", YOUTUBE_ID)
    for there, estimated in zip(disk.needed(paper, recipes), disk.needed(paper), strict=True):
        assert (there.stage, there.place) == (estimated.stage, estimated.place)
        assert there.gib == pytest.approx(estimated.gib), there.stage
    limited = disk.needed(parameters("params/paper.yaml", sample__recipes=10), recipes)
    steps = sum(len(recipe.steps) for recipe in [r for r in recipes if r.subset == "validation"][:10])
    assert limited[-1].gib * 2**30 == pytest.approx(5 * steps * 256**2 * 1.6)


Card = namedtuple("Card", "name total_memory")


@pytest.mark.parametrize(
    ("changes", "state", "told"),
    [
        ({"device": "cuda:1"}, "ok", "card 1, 24 GiB, one of 2"),
        ({"device": "cuda:7"}, "missing", "device = 'cuda:7': not on this machine"),
        ({"train__processes": 2}, "ok", "card 0, 24 GiB, one of 2"),
        ({"embed__processes": 4}, "missing", "card 0, 24 GiB, one of 2; 4 processes want a card each"),
        ({"train__precision": "bf16"}, "missing", "train.precision = 'bf16': this GPU has fp32 and fp16 only"),
    ],
    ids=str,
)
def test_cards_are_those_that_the_run_would_take(parameters, monkeypatch, changes, state, told):
    cuda = torch.cuda
    monkeypatch.setattr(cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "device_count", lambda: 2)
    monkeypatch.setattr(cuda, "set_device", lambda index: None)
    monkeypatch.setattr(cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(cuda, "get_device_properties", lambda where: Card(f"card {where.index or 0}", 24 * 2**30))
    finding = doctor._device(parameters(**changes))
    assert (finding.state, finding.text[: len(told)]) == (state, told)


usage = namedtuple("usage", "total used free")


def test_a_full_disk(parameters, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage(10, 10, 0))
    found = states(parameters())
    assert [state for what, state in found.items() if what.startswith("disk of")].count("missing") >= 1
    assert "ok" not in [state for what, state in found.items() if what.startswith("disk of")]


def test_places_on_one_file_system_must_have_room_for_their_sum(parameters, monkeypatch):
    paper = parameters("params/paper.yaml")
    total = sum(share.gib for share in disk.needed(paper))
    monkeypatch.setattr(doctor, "_weights", lambda parameters: doctor.Finding("backbone", "ok", "on the hub"))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage(0, 0, 0.9 * total * 2**30))
    for numbers, expected in (
        ([1, 1, 1], {"the project, RECIPEVIS_HOME, the hub's cache": "missing"}),
        ([1, 2, 1], {"the project, the hub's cache": "ok", "RECIPEVIS_HOME": "ok"}),
        ([1, 2, 3], {"the project": "ok", "RECIPEVIS_HOME": "ok", "the hub's cache": "ok"}),
    ):
        devices = iter(numbers)
        monkeypatch.setattr(doctor, "_device_number", lambda path, devices=devices: next(devices))
        found = states(paper)
        assert {w.removeprefix("disk of "): s for w, s in found.items() if w.startswith("disk of")} == expected


def test_the_texts_quote_the_doctor(parameters, root):
    shares = disk.needed(parameters("params/paper.yaml"))
    told = {(share.stage, share.place): disk.told(share.gib) for share in shares}
    readme = " ".join((root / "README.md").read_text(encoding="utf-8").split())
    for text in (
        f"about {sum(share.gib for share in shares):.0f} GiB of disk",
        f"videos {told['download', disk.HOME]}",
        f"frames {told['frames', disk.PROJECT]}",
        f"the backbone {told['backbone', disk.PROJECT]}",
        f"embeddings {told['embed', disk.PROJECT]}",
        f"two checkpoints {told['train', disk.HOME]}",
        f"the model {told['train', disk.PROJECT]}",
        f"drawn images {told['sample', disk.PROJECT]}",
        f"`RECIPEVIS_HOME` holds {sum(share.gib for share in shares if share.place == disk.HOME):.0f}",
    ):
        assert text in readme, text
    rows = dict(
        re.findall(r"^\| `(\w+)` \| (.*?) \|", (root / "docs/data.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    for share in shares:
        assert f"{disk.told(share.gib)} GiB" in rows[share.stage], share


def test_the_command_says_each_in_a_line(root):
    result = CliRunner().invoke(main.app, ["doctor", "--params", str(root / "params.yaml")])
    assert len(result.stdout.splitlines()) == len(list(doctor.examine(load(root / "params.yaml"))))
    assert result.exit_code == (2 if "missing" in result.stdout else 0)
