"""`recipevis doctor`: each lack is found, and is gone with its remedy."""

import json
import os
import shutil
import subprocess
import threading
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from typer.testing import CliRunner

from recipevis.cli import doctor
from recipevis.cli.main import app
from recipevis.core.findings import Finding
from recipevis.data.sources.base import source_class


def found(parameters) -> dict[str, Finding]:
    return {finding.what: finding for finding in doctor.examine(parameters)}


def test_the_demo_lacks_nothing_but_perhaps_a_name_for_git(parameters_of):
    states = {what: finding.state for what, finding in found(parameters_of("params.yaml")).items()}
    assert {state for what, state in states.items() if what != "git"} == {"ok"}


def written(path, training, validation):
    """Annotations of so many videos, each of two steps."""
    steps = [{"segment": [second, second + 1], "id": second, "sentence": "stir"} for second in (0, 1)]
    about = {"duration": 2, "recipe_type": "1", "annotations": steps}
    database = {f"t{number}": about | {"subset": "training"} for number in range(training)}
    database |= {f"v{number}": about | {"subset": "validation"} for number in range(validation)}
    path.write_text(json.dumps({"database": database}))


def test_a_folder_is_searched_for_the_annotated_videos(parameters_of, tmp_path):
    local = {"dataset.source": "local", "dataset.annotations": str(tmp_path / "a.json")}
    local["dataset.videos_dir"] = str(tmp_path / "videos")

    def look():
        findings = found(parameters_of("params.yaml", local))
        return findings["annotations"], findings["videos"]

    assert [finding.state for finding in look()] == ["missing", "missing"]
    (tmp_path / "a.json").write_text('{"database": {')
    (tmp_path / "videos/nested").mkdir(parents=True)
    annotations, _ = look()
    assert annotations.state == "missing"
    assert "a.json" in annotations.text
    written(tmp_path / "a.json", 3, 1)
    annotations, videos = look()
    assert (annotations.state, videos.state) == ("ok", "missing")
    assert "4 videos, 8 steps" in annotations.text
    for name in ("t0.mp4", "nested/t2.mkv", "other.mp4", "v0.json"):
        (tmp_path / "videos" / name).write_bytes(b"x")
    (tmp_path / "videos/t1.mp4").touch()
    (tmp_path / "videos/v0.mp4").symlink_to(tmp_path / "nowhere")
    _, videos = look()
    assert videos.state == "missing"
    assert "2 of 4" in videos.text
    (tmp_path / "nowhere").write_bytes(b"x")
    _, videos = look()
    assert videos.state == "note"
    assert "3 of 4" in videos.text
    (tmp_path / "videos/t1.webm").write_bytes(b"x")
    assert look()[1].state == "ok"


def test_the_papers_run_needs_the_hub_javascript_and_git(parameters_of, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.delenv("RECIPEVIS_COOKIES", raising=False)
    states = {what: finding.state for what, finding in found(parameters_of()).items()}
    assert states["backbone"] == states["JavaScript for yt-dlp"] == states["git"] == "missing"
    assert states["cookies"] == "note"
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "deno" if name == "deno" else None)
    monkeypatch.setenv("RECIPEVIS_COOKIES", str(tmp_path / "cookies.txt"))
    assert found(parameters_of())["cookies"].state == "missing"
    (tmp_path / "cookies.txt").touch()
    findings = found(parameters_of())
    assert findings["cookies"].state == findings["JavaScript for yt-dlp"].state == "ok"


@pytest.mark.parametrize(
    ("program", "options", "state"),
    [("deno", "", "ok"), ("node", "", "missing"), ("node", "--js-runtimes node", "ok"), ("", "", "missing")],
)
def test_a_runtime_that_yt_dlp_would_not_use_is_missing(parameters_of, monkeypatch, program, options, state):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: name if name == program else None)
    monkeypatch.setenv("RECIPEVIS_YTDLP_ARGS", options)
    findings = source_class("youtube").findings(parameters_of().dataset, None)
    assert {finding.what: finding.state for finding in findings}["JavaScript for yt-dlp"] == state


@pytest.mark.parametrize(("options", "state"), [("--user-agent me", "ok"), ("--foo", "missing")])
def test_options_of_yt_dlp_are_checked(parameters_of, monkeypatch, options, state):
    monkeypatch.setenv("RECIPEVIS_YTDLP_ARGS", options)
    findings = source_class("youtube").findings(parameters_of().dataset, None)
    finding = {finding.what: finding for finding in findings}["yt-dlp's options"]
    assert finding.state == state
    assert ("--foo" in finding.text) == (state == "missing")


class Mirror(BaseHTTPRequestHandler):
    """Gives annotations, and the first bytes of what yt-dlp takes for a video."""

    def do_GET(self):
        self.server.asked.append(self.path)
        content = self.server.content.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Type", "video/mp4" if self.path.endswith(".mp4") else "application/json")
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content or b"")

    do_HEAD = do_GET

    def log_message(self, *arguments):
        pass


@pytest.fixture
def mirror():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.asked, server.content, server.url = [], {}, f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_source_is_asked_when_told_to(parameters_of, tmp_path, mirror, recipevis_home):
    written(tmp_path / "a.json", 3, 1)
    mirror.content["/a.json"] = (tmp_path / "a.json").read_bytes()
    youtube = {"dataset.source": "youtube", "dataset.annotations": f"{mirror.url}/a.json", "download.retries": 0}
    parameters = parameters_of("params.yaml", youtube | {"dataset.url": mirror.url + "/{video_id}.mp4"})
    assert not [finding for finding in doctor.examine(parameters) if finding.what == "one video"]
    assert mirror.asked == []
    videos = [finding for finding in doctor.examine(parameters, ask=True) if finding.what == "one video"]
    assert [(finding.state, finding.text[:2]) for finding in videos] == [
        ("missing", name) for name in ("t0", "t1", "t2")
    ]
    assert "not_found" in videos[0].text
    assert "dataset.url" in videos[0].remedy
    mirror.content["/t1.mp4"] = b"\0\0\0 ftypisom" * 1000
    videos = [finding for finding in doctor.examine(parameters, ask=True) if finding.what == "one video"]
    assert [finding.state for finding in videos] == ["note", "ok"]
    assert "t1" in videos[1].text
    assert "mp4" in videos[1].text
    assert not recipevis_home.exists()


def test_a_source_without_a_server_has_nothing_to_ask(parameters_of):
    findings = list(doctor.examine(parameters_of("params.yaml"), ask=True))
    assert [finding.state for finding in findings if finding.what == "one video"] == ["ok"]


def test_a_folder_without_networks_is_missing(parameters_of, tmp_path, tiny_backbone):
    for folder, state in ((tmp_path, "missing"), (tiny_backbone, "ok")):
        changes = {"backbone.source": "folder", "backbone.folder": str(folder)}
        assert found(parameters_of("params.yaml", changes))["backbone"].state == state


def test_a_file_that_a_folder_lacks_is_named(parameters_of, tmp_path, tiny_backbone):
    folder = shutil.copytree(tiny_backbone, tmp_path / "model")
    (folder / "vae/diffusion_pytorch_model.safetensors").unlink()
    changes = {"backbone.source": "folder", "backbone.folder": str(folder), "evaluate.encoder": str(tmp_path)}
    findings = found(parameters_of("params.yaml", changes))
    assert "diffusion_pytorch_model.safetensors" in findings["backbone"].text
    assert findings["image-text encoder"].state == "missing"


def test_a_home_folder_of_no_user_is_a_finding_like_others(parameters_of):
    folder = "~no-such-user/files"
    local = {"dataset.source": "local", "dataset.annotations": folder, "dataset.videos_dir": folder}
    networks = {"backbone.source": "folder", "backbone.folder": folder, "evaluate.encoder": folder}
    findings = found(parameters_of("params.yaml", local | networks))
    for what in ("annotations", "videos", "backbone", "image-text encoder"):
        assert findings[what].state == "missing"
        assert folder in findings[what].text


Card = namedtuple("Card", "name total_memory")


@pytest.mark.parametrize(
    ("changes", "state", "named"),
    [
        ({"device": "cuda:1"}, "ok", "card 1, 24 GiB"),
        ({"device": "cuda:7"}, "missing", "'cuda:7'"),
        ({"train.processes": 2}, "ok", "one of 2"),
        ({"embed.processes": 4}, "missing", "4 processes"),
        ({"train.precision": "bf16"}, "missing", "'bf16'"),
    ],
    ids=str,
)
def test_gpus_are_those_that_the_run_uses(parameters_of, monkeypatch, changes, state, named):
    cuda = torch.cuda
    monkeypatch.setattr(cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "device_count", lambda: 2)
    monkeypatch.setattr(cuda, "set_device", lambda index: None)
    monkeypatch.setattr(cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(cuda, "get_device_properties", lambda where: Card(f"card {where.index or 0}", 24 * 2**30))
    finding = doctor._device(parameters_of("params.yaml", changes))
    assert finding.state == state
    assert named in finding.text


usage = namedtuple("usage", "total used free")


def test_the_disk_must_hold_the_videos_and_the_frames(parameters_of, monkeypatch):
    """YouCook2's 1,790 videos of 13.4 MB are 22.3 GiB; its frames are far less."""
    for gib, states in ((22, ["missing", "ok"]), (23, ["ok", "ok"]), (1, ["missing", "missing"])):
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path, free=gib * 2**30: usage(0, 0, free))
        assert [finding.state for finding in doctor._disk(parameters_of(), None)] == states


def test_settings_that_dvc_cannot_copy_for_the_queue_are_found(tmp_path, monkeypatch):
    folder = tmp_path / "mes recettes é 料理"
    (folder / ".dvc").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    subprocess.run(["git", "init", "--quiet"], check=True)
    (folder / ".dvc/config").touch()
    (finding,) = doctor._queue()
    assert finding.state == "note"
    assert str(folder / ".dvc/cache") in finding.text
    (folder / ".dvc/config.local").write_text("[cache]\n    dir = /cache\n")
    assert list(doctor._queue()) == [], "the cache is elsewhere"
    subprocess.run(["git", "config", "user.name", "José"], check=True)
    with (folder / ".dvc/config.local").open("a", encoding="utf-8") as file:
        file.write("['remote \"shelf\"']\n    url = /données\n")
    findings = list(doctor._queue())
    assert [finding.text.split()[-1].rpartition("/")[-1] for finding in findings] == ["config", "config.local"]
    monkeypatch.chdir(tmp_path)
    assert list(doctor._queue()) == [], "no project of DVC"


def test_the_command_prints_a_line_for_each_finding(parameters_of):
    parameters = parameters_of("params.yaml")
    result = CliRunner().invoke(app, ["doctor"])
    assert len(result.stdout.splitlines()) == len(list(doctor.examine(parameters)))
    assert result.exit_code == (2 if "missing" in result.stdout else 0)
