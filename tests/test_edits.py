"""What DVC reruns after an edit: exactly the stages whose outputs the edited file can change."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.repo import Repo

# A comment added to the file: the stages that DVC then finds changed. (Later stages rerun if the outputs differ.)
EDITS = {
    "recipevis/data/annotations.py": {"annotations"},  # the JSON parser
    "recipevis/data/sentences.py": {"annotations"},  # how text is cleaned
    "recipevis/kitchen/recipes.py": {"annotations", "download", "scenes"},  # the kitchen's recipes
    "recipevis/kitchen/drawing/food.py": {"download", "scenes"},
    "recipevis/kitchen/truth.py": {"scenes"},
    "recipevis/evaluation/scene.py": {"reference", "evaluate", "report"},
    "recipevis/data/sources/kitchen.py": {
        "annotations",
        "download",
        "package",
    },  # it also has annotations and a licence
    "recipevis/data/ytdlp/pace.py": set(),  # how, not what
    "recipevis/data/sources/youtube.py": set(),  # the demo's source is the kitchen
    "recipevis/data/frames.py": {"frames"},
    "recipevis/data/video.py": {"download", "frames"},  # decoding; a video is checked when it arrives
    "recipevis/data/packets.py": {"download", "frames"},
    "recipevis/data/playback.py": {"download", "frames"},
    "recipevis/data/orientation.py": {"download", "frames"},
    "recipevis/data/triplets.py": {"manifest"},
    "recipevis/data/survivors.py": {"annotations", "manifest"},
    "recipevis/data/vocabulary.py": {"manifest"},  # it counts the sentences that are cut
    "recipevis/embeddings/writer.py": {"embed"},
    "recipevis/embeddings/reader.py": {"train", "reference"},
    "recipevis/fusers/baseline.py": {"train", "package", "baselines", "native", "sample"},  # the demo's fuser
    "recipevis/fusers/attend_to_image.py": set(),
    "recipevis/fusers/concat.py": set(),
    "recipevis/training/losses.py": {"train"},
    "recipevis/training/trainer.py": {"train"},
    "recipevis/training/own_images.py": {"train"},
    "recipevis/model/adapters.py": {"train", "package", "baselines", "native", "sample"},  # a part of the model
    "recipevis/backbone/hub.py": {"backbone", "package"},  # it also has licences
    "recipevis/backbone/checks.py": {"backbone", "package"},
    "recipevis/backbone/fit.py": {"backbone", "package"},
    "recipevis/model/latents.py": {"backbone", "train", "package", "baselines", "native", "sample"},  # their scaling
    "recipevis/model/shapes.py": {"train", "baselines", "native"},
    "recipevis/model/denoiser.py": {"train", "package", "baselines", "native", "sample"},  # how the UNet is called
    "recipevis/sampling/pipeline.py": {"package", "baselines", "native", "sample"},  # the sampling loop
    "recipevis/sampling/guidance.py": {"baselines", "native", "sample"},
    "recipevis/sampling/rollout.py": {"baselines", "native", "sample"},
    "recipevis/sampling/sampler.py": {"baselines", "native", "sample"},
    "recipevis/sampling/baselines.py": {"baselines", "native"},
    "recipevis/sampling/plan.py": {"plan"},
    "recipevis/evaluation/baselines.py": {"reference"},  # a baseline made of frames: nothing is generated again
    "recipevis/evaluation/scores.py": {"reference", "evaluate"},
    "recipevis/evaluation/metrics.py": {"reference", "evaluate", "report"},
    "recipevis/evaluation/summary.py": {"evaluate"},
    "recipevis/evaluation/intervals.py": {"reference", "evaluate"},
    "recipevis/report/page.html": {"report"},
    "recipevis/report/style.css": {"report"},
    "recipevis/report/history.py": {"report"},
    "recipevis/report/model_card.py": {"package", "report"},
    "recipevis/cli/storyboard.py": set(),
    "recipevis/cli/recipe/text.py": set(),
    "recipevis/cli/doctor.py": set(),
    "recipevis/compare/page.html": set(),
    "recipevis/core/progress.py": set(),
    "recipevis/core/checkpoints.py": set(),
    "recipevis/core/training_log.py": set(),
    "recipevis/sampling/strip.py": set(),  # drawn for a tracker
    "recipevis/config.py": set(),
    "README.md": set(),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, copy_project, root) -> Iterator[Path]:
    """A project whose stages are up to date for DVC: each out is there, and the lock file has the hash of each dep."""
    folder = copy_project(tmp_path_factory.mktemp("edits") / "project", {})
    shutil.copy(root / "README.md", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DVC_SITE_CACHE_DIR", str(folder.parent / "cache"))
        patch.setenv("DVC_NO_ANALYTICS", "1")
        with repository(folder) as repo:
            paths = [Path(item.fs_path) for stage in repo.index.stages for item in (*stage.deps, *stage.outs)]
            for path in sorted(paths, key=lambda path: -len(path.parts)):  # a folder after what lies in it
                if not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text("made")
            repo.commit(force=True)
        assert stale(folder) == set()
        yield folder


def repository(folder: Path) -> Repo:
    """DVC's view of a folder; git plays no part in it."""
    return Repo(os.fspath(folder), config={"core": {"no_scm": True}})


def stale(folder: Path) -> set[str]:
    """The stages that DVC finds changed."""
    with repository(folder) as repo:
        return set(repo.status())


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_makes_exactly_these_stages_stale(finished, name):
    path = finished / name
    before = path.read_bytes()
    try:
        path.write_bytes(before + b"\n# a comment\n")
        assert stale(finished) == EDITS[name]
    finally:
        path.write_bytes(before)


def test_another_fuser_makes_its_stages_stale(finished):
    path = finished / "params.yaml"
    before = path.read_text()
    try:
        path.write_text(before.replace("fuser: baseline", "fuser: concat"))
        assert stale(finished) == {"annotations", "train", "package", "sample", "evaluate"}
    finally:
        path.write_text(before)
