"""`make soak`: SIGKILLs at random moments of `download`, `frames` and `train` change no byte of their outputs."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from recipevis.data import ffmpeg
from tests.data.test_youtube import Server
from tests.test_pipeline import MINI, weights

KILLS = 25  # of each of the data's stages
TRAINING_KILLS = 20
IDS = [*(f"whole-{number:05d}" for number in range(16)), "status-404a", "cutonce-abc", "html-abcdef", "empty-abcde"]
STEPS = [{"segment": [start, start + 2], "id": start, "sentence": f"step {start}"} for start in range(0, 16, 2)]


@pytest.fixture
def server(tmp_path):
    """A server with videos of noise, whose frames take long to decode."""
    pictures = np.random.default_rng(0).integers(0, 255, (80, 240, 320, 3), dtype=np.uint8)
    for name, count in (("whole", 80), ("short", 8)):
        ffmpeg.write(tmp_path / f"{name}.mp4", pictures[:count], rate=5)
    server = Server((tmp_path / "whole.mp4").read_bytes(), (tmp_path / "short.mp4").read_bytes())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.hang.set()
    server.shutdown()
    server.server_close()


class Run:
    """A copy of the project with a home of its own, whose stages can be killed."""

    def __init__(self, folder: Path, home: Path):
        self.folder, self.home = folder, home

    def stage(self, name: str, kill_after_s: float | None = None) -> bool:
        """Run a stage and return whether it was killed before it ended."""
        environment = {**os.environ, "RECIPEVIS_HOME": str(self.home), "DVC_ROOT": str(self.folder)}
        process = subprocess.Popen(
            [sys.executable, "-m", f"stages.{name}"],
            cwd=self.folder,
            env=environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
        )
        try:
            status = process.wait(kill_after_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True
        assert status == 0
        return False

    def contents(self) -> dict[str, bytes]:
        paths = [self.folder / "data/videos.csv", *sorted((self.folder / "data").glob("frames*"))]
        files = [path for given in paths for path in ([given] if given.is_file() else sorted(given.iterdir()))]
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in files}

    def forget(self, stage: str) -> None:
        """Remove a stage's outputs, and its videos from the home."""
        for path in {"download": ["data/videos.csv"], "frames": ["data/frames", "data/frames.csv"]}[stage]:
            target = self.folder / path
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        if stage == "download":
            shutil.rmtree(self.home / "videos", ignore_errors=True)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_kills_at_random_moments_change_nothing(server, tmp_path, copy_project):
    database = {
        name: {"subset": "training" if number % 4 else "validation", "duration": 16.0, "recipe_type": "1"}
        | {"annotations": STEPS}
        for number, name in enumerate(IDS)
    }
    annotations = tmp_path / "annotations.json"
    annotations.write_text(json.dumps({"database": database}))
    values = {
        "dataset.source": "youtube",
        "dataset.url": server.url,
        "dataset.annotations": str(annotations),
        "download.format": "b",
        "download.retries": 2,
        "download.timeout_s": 2,
        "download.pause_s": [0, 0],
        "frames.pixels": 128,
    }
    calm, killed = (
        Run(copy_project(tmp_path / name / "project", values), tmp_path / name / "home") for name in ("calm", "killed")
    )
    for stage in ("annotations", "download", "frames"):
        calm.stage(stage)
    expected = calm.contents()
    assert len(expected) > 100
    dice = random.Random(0)
    killed.stage("annotations")
    for stage in ("download", "frames"):
        kills, longest_s = 0, 12.0
        while kills < KILLS:
            server.asked.clear()
            if killed.stage(stage, kill_after_s=dice.uniform(1.5, longest_s)):
                kills += 1
            else:  # it finished: kill it earlier from now on
                longest_s = max(3.0, longest_s * 0.8)
                killed.forget(stage)
        killed.stage(stage)
    assert killed.contents() == expected


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_kills_of_a_training_change_no_bit(tmp_path, copy_project):
    steps = {"train.steps": 400, "train.checkpoint_every": 7, "train.validate_every": 50, "train.ema": 0.99}
    project = copy_project(tmp_path / "calm" / "project", MINI | steps)
    calm = Run(project, tmp_path / "calm" / "home")
    for stage in ("annotations", "download", "frames", "manifest", "backbone", "embed"):
        calm.stage(stage)
    shutil.copytree(tmp_path / "calm", tmp_path / "killed")
    killed = Run(tmp_path / "killed" / "project", tmp_path / "killed" / "home")
    calm.stage("train")

    dice, kills, resumed = random.Random(1), 0, 0
    model = killed.folder / "models/trained"
    while kills < TRAINING_KILLS:
        begun = {path.name for path in killed.home.glob("work/train/*/checkpoint-*")}
        if killed.stage("train", kill_after_s=dice.uniform(4, 14)):
            kills += 1
            resumed += bool(begun)
        else:
            assert weights(model) == weights(calm.folder / "models/trained")
            shutil.rmtree(model)
            shutil.rmtree(killed.home / "work")
    killed.stage("train")
    assert resumed > TRAINING_KILLS / 4
    assert weights(model) == weights(calm.folder / "models/trained")
