"""Sources: whole or absent, linked not copied, every failure with its kind."""

import subprocess

import numpy as np
import pytest

from recipevis.config import load
from recipevis.data import ffmpeg, video
from recipevis.data.sources import base, local
from recipevis.data.sources.youtube import YouTube
from recipevis.errors import InputError


def clip(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    ffmpeg.write(path, np.full((4, 32, 32, 3), 90, np.uint8), rate=2)
    return path


def test_kitchen_renders_once_and_to_the_same_bytes(monkeypatch, tmp_path):
    source = local.Kitchen(0)
    path = source.get("training-0000")
    assert path == source.folder / "training-0000.mp4"
    first = path.read_bytes()
    monkeypatch.setattr(source, "_fetch", lambda *arguments: pytest.fail("asked again"))
    assert source.get("training-0000") == path
    assert local.Kitchen(0).stored("training-0000") == path
    assert local.Kitchen(1).stored("training-0000") is None
    monkeypatch.setenv("RECIPEVIS_HOME", str(tmp_path / "elsewhere"))
    assert local.Kitchen(0).get("training-0000").read_bytes() == first


def test_local_links_what_it_finds_also_in_nested_folders(tmp_path):
    videos = tmp_path / "videos"
    files = [clip(videos / "training/113/GLd3aX16zBg.mp4"), clip(videos / "a.b.mkv")]
    (videos / "a.b.json").write_text("{}")
    (videos / "a.b.M4A").write_bytes(b"sound")
    (videos / ".hidden.mp4").write_text("x")
    source = local.Local(videos)
    for video_id, file in zip(("GLd3aX16zBg", "a.b"), files, strict=True):
        path = source.get(video_id)
        assert path.parent == source.folder
        assert path.name == f"{video_id}{file.suffix}"
        assert path.is_symlink()
        assert path.resolve() == file.resolve()
    with pytest.raises(base.FetchError) as error:
        source.get("absent")
    assert error.value.kind == "not_found"
    files[0].unlink()  # a link that leads nowhere is not a stored video
    assert source.stored("GLd3aX16zBg") is None


def test_two_folders_do_not_share_a_store(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert local.Local(tmp_path / "a").folder != local.Local(tmp_path / "b").folder
    with pytest.raises(InputError, match="no such folder"):
        local.Local(tmp_path / "c")


@pytest.mark.parametrize("make", ["text", "sound"])
def test_what_is_damaged_is_not_stored_and_named_as_the_user_knows_it(tmp_path, make):
    if make == "text":
        (tmp_path / "a.mp4").write_bytes(b"<html>")
    else:
        sound = ["-f", "lavfi", "-i", "sine=duration=1", str(tmp_path / "a.mp4")]
        subprocess.run([ffmpeg.FFMPEG, "-v", "error", *sound], check=True)
    source = local.Local(tmp_path)
    with pytest.raises(base.FetchError) as error:
        source.get("a")
    assert error.value.kind == "damaged"
    told = {"text": "it can't be read: Invalid data found when processing input", "sound": "it holds no video stream"}
    assert str(error.value) == f"{tmp_path / 'a.mp4'}: {told[make]}"
    assert source.stored("a") is None
    assert [path.name for path in source.folder.iterdir()] == [".partial"]
    assert not [path for path in (source.folder / ".partial").iterdir() if path.is_dir()]


def test_the_first_by_path_is_taken_and_a_link_that_leads_nowhere_is_not(tmp_path):
    videos = tmp_path / "videos"
    clip(videos / "c/a.mkv")
    clip(videos / "b/a.mp4")
    clip(videos / "b/a.mkv")
    (videos / "b/a.avi").symlink_to(tmp_path / "nowhere")
    (videos / "z.mp4").symlink_to(tmp_path / "nowhere")
    source = local.Local(videos)
    assert source.get("a").resolve() == videos / "b/a.mkv"
    with pytest.raises(base.FetchError, match=r"z\.mp4: a link that leads nowhere") as error:
        source.get("z")
    assert error.value.kind == "not_found"


def test_what_a_killed_process_left_is_in_nobodys_way():
    source = local.Kitchen(0)
    left = source.folder / ".partial/training-0000.new"
    left.mkdir(parents=True)
    (left / "video.mp4").write_bytes(b"half")
    assert local.Kitchen(0).stored("training-0000") is None
    assert video.probe(source.get("training-0000")) > 0
    assert not left.exists()


def test_make_source(tmp_path, root):
    parameters = load(root / "params.yaml")
    dataset = parameters.dataset.model_copy(update={"videos_dir": str(tmp_path)})
    made = [
        local.make_source(dataset.model_copy(update={"source": name}), parameters.download)
        for name in ("kitchen", "local", "youtube")
    ]
    assert [type(source) for source in made] == [local.Kitchen, local.Local, YouTube]
    of_another_format = local.make_source(
        dataset.model_copy(update={"source": "youtube"}), parameters.download.model_copy(update={"format": "w"})
    )
    assert len({source.folder for source in (*made, of_another_format)}) == 4
