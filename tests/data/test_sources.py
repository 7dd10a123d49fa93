"""Sources and the store: whole or absent, linked not copied, every failure with its kind."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from recipevis.config import load
from recipevis.core import files
from recipevis.data import ffmpeg, video
from recipevis.data.sources.base import SOURCES, FetchError, Source, source_class
from recipevis.data.sources.kitchen import Kitchen
from recipevis.data.sources.local import Local
from recipevis.data.store import Store, open_store
from recipevis.errors import InputError


def clip(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    ffmpeg.write(path, np.full((4, 32, 32, 3), 90, np.uint8), rate=2)
    return path


def test_each_source_says_everything_that_others_ask(root):
    """What a new source must have, beside how it fetches."""
    dataset = load(root / "params.yaml").dataset
    assert {"kitchen", "local", "youtube"} <= set(SOURCES)
    for name in SOURCES:
        kind = source_class(name)
        assert issubclass(kind, Source)
        assert kind.licence
        assert kind.video_bytes >= 0
        assert kind.needs.keys() <= type(dataset).model_fields.keys()
        assert ("annotations" in kind.needs) == (kind.annotations(dataset) is None)
        assert kind.id_pattern(dataset).fullmatch("GLd3aX16zBg")


def test_sources_import_nothing_heavy():
    heavy = ("torch", "pandas", "numpy", "av", "yt_dlp", "PIL")
    code = (
        "import sys, recipevis.config; from recipevis.data.sources.base import SOURCES, source_class;"
        f"[source_class(name) for name in SOURCES]; print(sys.modules.keys() & {set(heavy)})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_kitchen_renders_once_and_to_the_same_bytes(monkeypatch, tmp_path):
    store = Store(Kitchen(0))
    path = store.get("training-0000")
    assert path == store.folder / "training-0000.mp4"
    first = path.read_bytes()
    monkeypatch.setattr(store.source, "fetch", lambda *arguments: pytest.fail("fetched again"))
    assert store.get("training-0000") == path
    assert Store(Kitchen(0)).stored("training-0000") == path
    assert Store(Kitchen(1)).stored("training-0000") is None
    monkeypatch.setenv("RECIPEVIS_HOME", str(tmp_path / "elsewhere"))
    assert Store(Kitchen(0)).get("training-0000").read_bytes() == first


def test_local_links_what_it_finds_also_in_nested_folders(tmp_path):
    videos = tmp_path / "videos"
    paths = [clip(videos / "training/113/GLd3aX16zBg.mp4"), clip(videos / "a.b.mkv")]
    (videos / "a.b.json").write_text("{}")
    (videos / "a.b.M4A").write_bytes(b"sound")
    (videos / ".hidden.mp4").write_text("x")
    store = Store(Local(videos))
    for video_id, file in zip(("GLd3aX16zBg", "a.b"), paths, strict=True):
        path = store.get(video_id)
        assert path.parent == store.folder
        assert path.name == f"{video_id}{file.suffix}"
        assert path.is_symlink()
        assert path.resolve() == file.resolve()
    assert store.stored("a") is None, "a.b is another video"
    with pytest.raises(FetchError) as error:
        store.get("absent")
    assert error.value.kind == "not_found"
    paths[0].unlink()  # a link that leads nowhere is not a stored video
    assert store.stored("GLd3aX16zBg") is None


def test_two_folders_do_not_share_a_store(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert Store(Local(tmp_path / "a")).folder != Store(Local(tmp_path / "b")).folder
    with pytest.raises(InputError):
        Local(tmp_path / "c")


@pytest.mark.parametrize("make", ["text", "sound"])
def test_a_damaged_video_is_not_stored_and_the_error_names_the_users_file(tmp_path, make):
    if make == "text":
        (tmp_path / "a.mp4").write_bytes(b"<html>")
    else:
        sound = ["-f", "lavfi", "-i", "sine=duration=1", str(tmp_path / "a.mp4")]
        subprocess.run([ffmpeg.FFMPEG, "-v", "error", *sound], check=True)
    store = Store(Local(tmp_path))
    with pytest.raises(FetchError) as error:
        store.get("a")
    assert error.value.kind == "damaged"
    assert str(error.value).startswith(f"{tmp_path / 'a.mp4'}: ")
    assert store.stored("a") is None
    assert [path.name for path in store.folder.iterdir()] == [".partial"]
    assert not [path for path in (store.folder / ".partial").iterdir() if path.is_dir()]


def test_the_first_by_path_is_taken_and_a_link_that_leads_nowhere_is_not(tmp_path):
    videos = tmp_path / "videos"
    clip(videos / "c/a.mkv")
    clip(videos / "b/a.mp4")
    clip(videos / "b/a.mkv")
    (videos / "b/a.avi").symlink_to(tmp_path / "nowhere")
    (videos / "z.mp4").symlink_to(tmp_path / "nowhere")
    store = Store(Local(videos))
    assert store.get("a").resolve() == videos / "b/a.mkv"
    with pytest.raises(FetchError) as error:
        store.get("z")
    assert error.value.kind == "not_found"


def test_what_a_killed_process_left_is_removed():
    store = Store(Kitchen(0))
    left = store.folder / ".partial/training-0000.new"
    left.mkdir(parents=True)
    (left / "video.mp4").write_bytes(b"half")
    assert Store(Kitchen(0)).stored("training-0000") is None
    assert video.probe(store.get("training-0000")) > 0
    assert not left.exists()


def test_the_store_of_the_parameters(tmp_path, root):
    config = load(root / "params.yaml")
    dataset = config.dataset.model_copy(update={"videos_dir": str(tmp_path)})
    stores = [
        open_store(dataset.model_copy(update={"source": name}), config.download)
        for name in ("kitchen", "local", "youtube")
    ]
    another_format = config.download.model_copy(update={"format": "w"})
    stores.append(open_store(dataset.model_copy(update={"source": "youtube"}), another_format))
    assert len({store.folder for store in stores}) == 4


def test_a_local_store_in_another_process_keeps_its_folder_and_lists_the_videos_once(tmp_path, monkeypatch):
    clip(tmp_path / "videos/a.mkv")
    store = Store(Local(tmp_path / "videos"))
    sent = pickle.dumps(store)
    assert len(sent) < 1000
    monkeypatch.setenv("RECIPEVIS_HOME", str(tmp_path / "the other machine's"))
    monkeypatch.setattr(files, "home", lambda: pytest.fail("asked the other machine"))
    copies = [pickle.loads(sent) for _ in range(2)]
    assert {copy.folder for copy in copies} == {store.folder}
    monkeypatch.setattr("recipevis.data.sources.local.group_by_id", lambda *arguments: pytest.fail("listed again"))
    assert copies[1].get("a").resolve() == tmp_path / "videos/a.mkv"
