"""Sources: whole or absent, linked not copied, every failure with its kind."""

import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from recipevis import encoding, sources, video, video_source, youtube
from recipevis.errors import InputError, SourceError
from recipevis.parameters import load
from recipevis.youtube import YouTube


def clip(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    encoding.write(path, np.full((4, 32, 32, 3), 90, np.uint8), rate=2)
    return path


def test_kitchen_renders_once_and_to_the_same_bytes(monkeypatch, tmp_path):
    source = sources.Kitchen(0)
    path = source.get("training-0000")
    assert path == source.folder / "training-0000.mp4"
    first = path.read_bytes()
    monkeypatch.setattr(source, "_fetch", lambda *arguments: pytest.fail("asked again"))
    assert source.get("training-0000") == path
    assert sources.Kitchen(0).stored("training-0000") == path
    assert sources.Kitchen(1).stored("training-0000") is None
    monkeypatch.setenv("RECIPEVIS_HOME", str(tmp_path / "elsewhere"))
    assert sources.Kitchen(0).get("training-0000").read_bytes() == first


def test_local_links_what_it_finds_also_in_nested_folders(tmp_path):
    videos = tmp_path / "videos"
    files = [clip(videos / "training/113/GLd3aX16zBg.mp4"), clip(videos / "a.b.mkv")]
    (videos / "a.b.json").write_text("{}")
    (videos / ".hidden.mp4").write_text("x")
    source = sources.Local(videos)
    for video_id, file in zip(("GLd3aX16zBg", "a.b"), files, strict=True):
        path = source.get(video_id)
        assert path.parent == source.folder
        assert path.name == f"{video_id}{file.suffix}"
        assert path.is_symlink()
        assert path.resolve() == file.resolve()
    with pytest.raises(video_source.FetchError) as error:
        source.get("absent")
    assert error.value.kind == "not_found"
    files[0].unlink()  # a link that leads nowhere is not a stored video
    assert source.stored("GLd3aX16zBg") is None


def test_two_folders_do_not_share_a_store(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert sources.Local(tmp_path / "a").folder != sources.Local(tmp_path / "b").folder
    with pytest.raises(InputError, match="no such folder"):
        sources.Local(tmp_path / "c")


def test_what_is_damaged_is_not_stored(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"<html>")
    source = sources.Local(tmp_path)
    with pytest.raises(video_source.FetchError) as error:
        source.get("a")
    assert error.value.kind == "damaged"
    assert source.stored("a") is None
    assert [path.name for path in source.folder.iterdir()] == [".partial"]


def test_what_a_killed_process_left_is_in_nobodys_way():
    source = sources.Kitchen(0)
    left = source.folder / ".partial/training-0000"
    left.mkdir(parents=True)
    (left / "video.mp4").write_bytes(b"half")
    assert sources.Kitchen(0).stored("training-0000") is None
    assert video.probe(source.get("training-0000")) > 0
    assert not left.exists()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def mirror(tmp_path):
    """A folder served on loopback, and the address of its videos."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *arguments: _Quiet(*arguments, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}/{{video_id}}.mp4"
    server.shutdown()
    server.server_close()


def mirrored(url):
    return YouTube(url, format="b", retries=0, timeout_s=5, pause_s=(0, 0), backoff_s=0)


def test_a_mirror_through_yt_dlp(mirror):
    folder, url = mirror
    whole = clip(folder / "abcdefghijk.mp4").read_bytes()
    (folder / "htmlhtmlhtm.mp4").write_text("<html><body>no video here</body></html>")
    source = mirrored(url)
    assert source.get("abcdefghijk").read_bytes() == whole
    for video_id, kinds in (("absentabsen", {"not_found"}), ("htmlhtmlhtm", {"damaged", "other"})):
        with pytest.raises(video_source.FetchError) as error:
            source.get(video_id)
        assert error.value.kind in kinds, str(error.value)
    assert sorted(path.name for path in source.folder.iterdir()) == [".failed", ".partial", "abcdefghijk.mp4"]


def test_no_server(mirror):
    with pytest.raises(video_source.FetchError) as error:
        mirrored("http://127.0.0.1:9/{video_id}.mp4").get("abcdefghijk")
    assert error.value.kind == "network", str(error.value)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("[youtube] x: Private video. Sign in if you've been granted access to this video", "private"),
        ("[youtube] x: Video unavailable. This video has been removed by the uploader", "removed"),
        ("[youtube] x: This video is no longer available because the account has been terminated", "removed"),
        ("[youtube] x: Sign in to confirm your age. This video may be inappropriate", "age_or_country_locked"),
        ("[youtube] x: The uploader has not made this video available in your country", "age_or_country_locked"),
        ("[youtube] x: Sign in to confirm you’re not a bot. Use --cookies-from-browser", "login_or_bot_check"),
        ("unable to download video data: HTTP Error 429: Too Many Requests", "rate_limited"),
        ("[youtube] x: Video unavailable", "not_found"),
        ("[generic] x: Unable to download webpage: HTTP Error 404: Not Found", "not_found"),
        ("[youtube] x: Requested format is not available", "no_suitable_format"),
        ("unable to download video data: The read operation timed out", "network"),
        ("unable to download webpage: HTTP Error 503: Service Unavailable", "network"),
        ("something new", "other"),
    ],
)
def test_messages_have_their_kind(message, kind):
    assert youtube._kind(Exception(f"ERROR: {message}")) == kind
    assert kind in video_source.ERRORS


@pytest.mark.parametrize(
    "message",
    [
        "unable to write data: [Errno 28] No space left on device",
        "unable to open for writing: [Errno 122] Disk quota exceeded",
        "Postprocessing: av_interleaved_write_frame(): No space left on device",
    ],
)
def test_a_full_disk_stops_and_is_no_failed_video(monkeypatch, message):
    import yt_dlp

    def full(self, *_):
        raise yt_dlp.utils.DownloadError(f"ERROR: {message}")

    monkeypatch.setattr(yt_dlp.YoutubeDL, "extract_info", full)
    source = YouTube("http://127.0.0.1:9/{video_id}", "b", 0, 1, (0, 0), 0)
    with pytest.raises(SourceError, match="the disk is full: make room") as error:
        source.get("GLd3aX16zBg")
    assert error.value.exit_status == 3


def test_make_source(tmp_path, root):
    parameters = load(root / "params.yaml", ["attend_to_image"])
    dataset = parameters.dataset.model_copy(update={"videos_dir": str(tmp_path)})
    made = [
        sources.make_source(dataset.model_copy(update={"source": name}), parameters.download)
        for name in ("kitchen", "local", "youtube")
    ]
    assert [type(source) for source in made] == [sources.Kitchen, sources.Local, YouTube]
    of_another_format = sources.make_source(
        dataset.model_copy(update={"source": "youtube"}), parameters.download.model_copy(update={"format": "w"})
    )
    assert len({source.folder for source in (*made, of_another_format)}) == 4
