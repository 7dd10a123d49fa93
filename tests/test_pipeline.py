"""The whole pipeline on tiny networks: what it writes, what it reruns, and that a kill changes nothing."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from huggingface_hub import ModelCard
from PIL import Image
from ruamel.yaml import YAML

from recipevis.core.inputs import dvc_hash
from recipevis.data import triplets as triplets_module
from recipevis.data.tables.samples import COLUMNS, OF_MODEL
from recipevis.evaluation.rows import image_sets
from tests.conftest import ROOT, TINY, set_parameters

MINI = {
    "device": "cpu",
    "dataset.kitchen.training_videos": 3,
    "dataset.kitchen.validation_videos": 2,
    "frames.pixels": 64,
    "backbone.source": "random",
    "backbone.random": str(TINY),
    "fuser": "attend_to_image",
    "fuser_hidden": 16,
    "cycle.weight": 0.1,
    "cycle.images": 1,
    "train.steps": 4,
    "train.batch_size": 2,
    "train.validate_every": 2,
    "train.validation_images": 4,
    "train.checkpoint_every": 1,
    "sample.steps": 2,
    "evaluate.encoder": None,  # one judge, and one that is absent
    "evaluate.image_encoder": "kitchen",
    "evaluate.resamples": 100,
}
pytestmark = pytest.mark.slow  # each stage is a process of its own, and DVC another
HEADLINE = ["clip_l2", "clip_cosine", "image_encoder_cosine", "psnr", "ssim"]

# sitecustomize.py, to be put on PYTHONPATH. It counts a stage's file operations below its project and its home, and
# kills the process group at one of them. A file that was about to be written is then there, empty.
INTERRUPT = """
import atexit, os, signal, sys

STAGE = next((word[7:] for word in sys.orig_argv if word.startswith("stages.")), None)
BELOW = tuple(os.path.realpath(path) + os.sep for path in (os.getcwd(), os.environ["RECIPEVIS_HOME"]))
LOGS = BELOW[0] + "logs" + os.sep
STOP_STAGE, _, STOP_AT = os.environ.get("INTERRUPT_AT", "").partition(":")
done = 0

def hook(event, arguments):
    global done
    if event == "open":
        path, _, flags = arguments
        if isinstance(path, int) or not flags & (os.O_WRONLY | os.O_RDWR):
            return
    elif event == "os.rename":
        path = arguments[1]
    elif event in ("os.remove", "os.rmdir"):  # rmtree gives a name and the folder's descriptor
        path = arguments[0]
        if not os.path.isabs(os.fsdecode(path)) and arguments[1] != -1:
            path = os.path.join(os.readlink(f"/proc/self/fd/{arguments[1]}"), os.fsdecode(path))
    else:
        return
    path = os.path.abspath(os.fsdecode(path))
    # A folder .gone may be another stage's, so a stage run alone has fewer operations there. Bytecode is Python's.
    if not path.startswith(BELOW) or path.startswith(LOGS) or ".gone" in path or "__pycache__" in path:
        return
    done += 1
    if STAGE == STOP_STAGE and done == int(STOP_AT):
        if event == "open":
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
        os.killpg(0, signal.SIGKILL)

def tell():
    global done
    counted = os.path.join(os.environ["INTERRUPT_COUNTS"], STAGE)
    with open(counted, "w") as file:
        file.write(str(done))

if STAGE:
    sys.addaudithook(hook)
    if "INTERRUPT_COUNTS" in os.environ:
        atexit.register(tell)
"""


@dataclass(frozen=True)
class Project:
    """A scratch copy of the project with a home of its own."""

    folder: Path
    home: Path

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess:
        """Run a command of the virtual environment in the project, in a process group of its own."""
        tools = Path(sys.executable).parent
        known = {
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "HOME": os.environ.get("HOME", str(self.home)),
            "RECIPEVIS_HOME": str(self.home),
            "HF_HUB_OFFLINE": "1",
            "DVC_NO_ANALYTICS": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{f"GIT_{who}_{what}": "test@test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }
        return subprocess.run(
            [str(tools / command[0]) if command[0] != "git" else "git", *command[1:]],
            cwd=self.folder,
            env=known | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def dvc(self, *arguments: str, **environment: str) -> str:
        """Run dvc, which must succeed, and return what it printed."""
        done = self.run("dvc", *arguments, **environment)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def lock(self) -> dict:
        """The stages of `dvc.lock`: the hash of every dep and out."""
        return YAML(typ="safe", pure=True).load((self.folder / "dvc.lock").read_text())["stages"]

    def stages(self) -> dict:
        """The stages of `dvc.yaml`."""
        return YAML(typ="safe", pure=True).load((self.folder / "dvc.yaml").read_text())["stages"]

    def json(self, path: str) -> dict:
        """A JSON file of the project."""
        return json.loads((self.folder / path).read_text(encoding="utf-8"))

    def table(self, path: str) -> pd.DataFrame:
        """A CSV file of the project, every value as text."""
        return pd.read_csv(self.folder / path, dtype=str, keep_default_na=False)

    def copy(self, target: Path) -> "Project":
        """A copy to try things on."""
        for name, source in (("project", self.folder), ("home", self.home)):
            shutil.copytree(source, target / name, symlinks=True)
        return Project(target / "project", target / "home")


# Stages that go on with what a kill left.
RESUMED = {"download", "frames", "embed", "train", "baselines", "sample", "reference", "evaluate"}
STAGES = list(YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"])


def ran(output: str) -> list[str]:
    """The stages that dvc ran, in order."""
    return re.findall(r"^Running stage '(\w+)'", output, re.MULTILINE)


@pytest.fixture(scope="module")
def counts(tmp_path_factory) -> Path:
    """Where an undisturbed run leaves how many file operations each stage took."""
    return tmp_path_factory.mktemp("counts")


@pytest.fixture(scope="module")
def hook(tmp_path_factory) -> str:
    """PYTHONPATH with the hook that kills."""
    folder = tmp_path_factory.mktemp("hook")
    (folder / "sitecustomize.py").write_text(INTERRUPT)
    return str(folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, copy_project, counts, hook) -> Project:
    """The mini pipeline, run undisturbed. To look at, not to touch."""
    folder = tmp_path_factory.mktemp("finished")
    project = Project(copy_project(folder / "project", MINI), folder / "home")
    commit(project)
    output = project.dvc("repro", PYTHONPATH=hook, INTERRUPT_COUNTS=str(counts))
    assert set(ran(output)) == project.stages().keys()
    commit(project)
    return project


def commit(project: Project) -> None:
    for command in (["init", "-q"], ["add", "--all"], ["commit", "-q", "-m", "state"]):
        done = project.run("git", *command)
        assert done.returncode == 0, done.stdout


def test_every_out_is_there(finished):
    for stage in finished.stages().values():
        for out in stage["outs"]:
            assert (finished.folder / out).exists()
    assert not (finished.folder / ".dvc/tmp/exps/run").exists()
    assert finished.run("git", "status", "--porcelain").stdout == "", "outs are ignored, the rest is committed"


def half_done(project: Project) -> list[Path]:
    """Files of unfinished work. Finished work that `train` keeps until the next stage is in a `.done` folder."""
    folders = [folder for folder in (project.home / "work").glob("*/*") if folder.suffix != ".done"]
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def test_nothing_is_left_of_half_done_work(finished):
    assert not half_done(finished)


def test_dataset_counts_what_the_kitchen_rendered(finished):
    recipes = finished.json("data/annotations.json")
    dataset = finished.json("data/dataset.json")
    assert list(dataset) == ["training", "validation"]
    for subset, videos in (("training", 3), ("validation", 2)):
        assert list(dataset[subset]) == ["recipe_types", "videos", "videos_per_type", "steps"]
        assert dataset[subset]["videos"] == videos
    assert recipes


def test_videos(finished):
    videos = finished.table("data/videos.csv")
    assert list(videos) == [
        "video_id",
        "subset",
        "recipe_type",
        "status",
        "error",
        "flags",
        "file",
        "bytes",
        "sha256",
        "duration_s",
    ]
    assert len(videos) == 5
    assert set(videos["status"]) == {"ok"}
    assert set(videos["error"]) == {""}
    for row in videos.itertuples():
        assert not Path(row.file).is_absolute()
        assert (finished.home / "videos").is_dir()
        found = list((finished.home / "videos").rglob(Path(row.file).name))
        assert [path.stat().st_size for path in found] == [int(row.bytes)]
        assert len(row.sha256) == 64
    assert (finished.folder / "logs/download.csv").exists()


def test_frames(finished):
    frames = finished.table("data/frames.csv")
    assert list(frames) == ["video_id", "step", "start_s", "end_s", "time_s", "status", "error", "flags", "file"]
    assert len(frames) == sum(subset["steps"] for subset in finished.json("data/dataset.json").values())
    assert set(frames["status"]) == {"ok"}
    for row in frames.itertuples():
        assert row.file == f"data/frames/{row.video_id}_{int(row.step):02d}.png"
        with Image.open(finished.folder / row.file) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (64, 64))
    assert len(list((finished.folder / "data/frames").iterdir())) == len(frames)


def test_triplets(finished):
    triplets, frames = finished.table("data/triplets.csv"), finished.table("data/frames.csv")
    assert list(triplets) == [
        "sample_id",
        "subset",
        "recipe_type",
        "video_id",
        "step",
        "sentence",
        "image",
        "previous_image",
    ]
    assert len(triplets) == len(frames)
    for row in triplets.itertuples():
        assert row.sample_id == f"{row.video_id}_{int(row.step):02d}"
        assert row.image == f"data/frames/{row.sample_id}.png"
        previous = f"data/frames/{row.video_id}_{int(row.step) - 1:02d}.png" if row.step != "0" else ""
        assert row.previous_image == previous
    survivors = finished.json("data/survivors.json")
    assert list(survivors) == ["training", "validation", "hash"]
    for subset in ("training", "validation"):
        assert list(survivors[subset]) == [*triplets_module.COUNTED, "dropped", "recipe_types", "samples", "cut"]
        assert survivors[subset]["triplets"] == sum(triplets["subset"] == subset)


def test_backbone_is_in_hub_layout_without_pickles(finished):
    backbone = finished.folder / "models/backbone"
    parts = {"tokenizer", "text_encoder", "vae", "unet", "scheduler", "clip"}
    assert parts <= {path.name for path in backbone.iterdir() if path.is_dir()}
    assert {"source", "stable_diffusion", "clip"} <= finished.json("models/backbone/backbone.json").keys()
    files = {path.suffix for path in (finished.folder / "models").rglob("*") if path.is_file()}
    assert ".safetensors" in files
    assert files.isdisjoint({".bin", ".pt", ".pth", ".pkl", ".ckpt"})


def test_training(finished):
    training = finished.json("models/recipevis/training.json")
    assert list(training) == ["steps", "loss", "validation_loss", "fuser_parameters", "unet_parameters"]
    assert training["steps"] == 4
    assert training["fuser_parameters"] > 0
    curve = finished.table("plots/train.csv")
    assert list(curve) == ["step", "loss", "denoising", "cycle", "learning_rate", "validation_loss"]
    assert len(curve) == 4
    assert [text != "" for text in curve["validation_loss"]] == [False, True, False, True]
    with Image.open(finished.folder / "plots/train.png") as image:
        assert image.format == "PNG"


def test_samples(finished):
    samples, triplets = finished.table("samples/samples.csv"), finished.table("data/triplets.csv")
    assert list(samples) == COLUMNS
    assert list(samples["sample_id"]) == list(triplets[triplets["subset"] == "validation"]["sample_id"])
    assert not list((finished.folder / "samples/untouched_native").iterdir())  # the frames have the backbone's size
    for kind in (*OF_MODEL, "untouched_backbone", "vae_round_trip"):
        generated = sorted(path.stem for path in (finished.folder / "samples" / kind).iterdir())
        assert generated == sorted(samples["sample_id"])
        with Image.open(finished.folder / "samples" / kind / f"{generated[0]}.png") as image:
            assert (image.mode, image.size) == ("RGB", (64, 64))


def test_metrics(finished):
    names = HEADLINE
    metrics = finished.json("metrics.json")
    assert list(metrics) == [*names, "teacher_forced"]
    assert list(metrics["teacher_forced"]) == names
    evaluation = finished.json("reports/evaluation.json")
    for kind, values in (("autoregressive", metrics), ("teacher_forced", metrics["teacher_forced"])):
        for name in names:
            assert values[name] == float(f"{values[name]:.5g}"), "five significant digits"
            mean = evaluation["rows"]["model"][kind]["all"][name]["mean"]
            assert values[name] == pytest.approx(mean, rel=1e-4)


def test_evaluation(finished):
    evaluation = finished.json("reports/evaluation.json")
    experiment = evaluation["experiment"]
    assert experiment["model"] == "attend_to_image, previous latent, first latent"
    assert {"fuser", "seed", "cycle_weight", "data_hash", "backbone", "steps"} <= experiment.keys()
    assert (experiment["fuser"], experiment["steps"], experiment["cycle_weight"]) == ("attend_to_image", 4, 0.1)
    assert experiment["data_hash"] == finished.json("data/survivors.json")["hash"]
    assert experiment["sampler"] == {"steps": 2, "guidance": 1, "image_guidance": None, "precision": "fp32"}
    assert evaluation["rows"].keys() == image_sets().keys()
    assert evaluation["margins"].keys() == evaluation["rows"].keys() - {"model"}
    images = finished.table("reports/images.csv")
    for row, picture in (("model", "autoregressive"), ("copy_previous", "copy_previous")):
        mean = images[images["picture"] == picture]["psnr"].astype(float).mean()
        assert evaluation["rows"][row]["autoregressive"]["all"]["psnr"]["mean"] == pytest.approx(mean, rel=1e-4)
    samples = finished.table("samples/samples.csv")
    assert evaluation["rows"].pop("untouched_native")["autoregressive"]["all"]["images"] == 0
    for row in evaluation["rows"].values():
        for kind in row.values():
            for which, scored in (("all", samples), ("after_first", samples[samples["step"] != "0"])):
                assert {"clip_l2", "clip_cosine", "psnr", "ssim", "ssim_uniform"} <= kind[which].keys()
                assert kind[which]["images"] == len(scored)
                assert kind[which]["videos"] == 2
                assert kind[which]["psnr"]["low"] <= kind[which]["psnr"]["mean"] <= kind[which]["psnr"]["high"]
    assert evaluation["rows"]["model"].keys() == {"autoregressive", "teacher_forced"}


def test_the_page_stands_alone(finished):
    page = (finished.folder / "reports/index.html").read_text(encoding="utf-8")
    sources = re.findall(r"""(?:src|href)\s*=\s*["']([^"']+)""", page)
    assert not [source for source in sources if not source.startswith(("data:", "#"))]
    for sentence in finished.table("samples/samples.csv")["sentence"]:
        assert sentence in page


def test_timing_is_logged_and_not_an_out(finished):
    assert finished.json("logs/timing.json").keys() == finished.stages().keys()


def test_metrics_are_shown_in_a_narrow_table(finished):
    lines = finished.dvc("metrics", "diff", "--all").splitlines()
    assert any("metrics.json" in line for line in lines)
    assert max(map(len, lines)) <= 100


def test_a_second_run_runs_nothing(finished, tmp_path):
    output = finished.copy(tmp_path).dvc("repro")
    assert ran(output) == []
    assert "up to date" in output


def test_another_fuser_and_back(finished, tmp_path):
    project = finished.copy(tmp_path)
    output = project.dvc("exp", "run", "-S", "fuser=concat")
    assert ran(output) == ["annotations", "train", "package", "sample", "evaluate", "report"]
    assert project.json("reports/evaluation.json")["experiment"]["fuser"] == "concat"
    counted = [item.json("models/recipevis/training.json")["fuser_parameters"] for item in (finished, project)]
    assert counted[0] != counted[1]
    assert "psnr" in project.dvc("metrics", "diff")
    assert "psnr" in project.dvc("metrics", "show")

    output = project.dvc("exp", "run", "-S", "fuser=attend_to_image")
    assert set(ran(output)) <= {"annotations"}, "the first result comes from the run cache"
    assert (project.folder / "metrics.json").read_bytes() == (finished.folder / "metrics.json").read_bytes()


def test_a_bad_value_stops_before_anything_is_lost(finished, tmp_path):
    project = finished.copy(tmp_path)
    done = project.run("dvc", "exp", "run", "-S", "fuser=concatt")
    assert done.returncode != 0
    [line] = [line for line in done.stdout.splitlines() if line.startswith("annotations: ")]
    assert "concatt" in line
    assert "Traceback" not in done.stdout
    for stage in project.stages().values():
        for out in stage["outs"]:
            assert (project.folder / out).exists() or out.startswith(("data/annotations", "data/dataset"))
    assert (project.folder / "metrics.json").exists()


def test_a_colleague_without_videos_pulls_the_results_and_has_nothing_to_run(finished, tmp_path):
    sender = finished.copy(tmp_path / "sender")
    remote = tmp_path / "remote"
    sender.dvc("remote", "add", "--default", "shelf", str(remote))
    sender.dvc("push")
    commit(sender)
    clone = subprocess.run(["git", "clone", "-q", sender.folder, tmp_path / "clone"], check=False)
    assert clone.returncode == 0
    colleague = Project(tmp_path / "clone", tmp_path / "empty-home")
    colleague.dvc("pull")
    output = colleague.dvc("repro", "--pull", http_proxy="http://127.0.0.1:9", https_proxy="http://127.0.0.1:9")
    assert ran(output) == []
    assert not list(tmp_path.glob("empty-home/videos/*"))
    frames = sorted((colleague.folder / "data/frames").iterdir())
    assert [path.read_bytes() for path in frames] == [
        path.read_bytes() for path in sorted((finished.folder / "data/frames").iterdir())
    ]


def forget(project: Project, stage: str) -> None:
    """Make DVC run a stage as if it never had: no outs, nothing in the lock file, nothing in the run cache."""
    for out in project.stages()[stage]["outs"]:
        path = project.folder / out
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    lock = YAML(typ="safe", pure=True)
    whole = lock.load((project.folder / "dvc.lock").read_text())
    del whole["stages"][stage]
    with (project.folder / "dvc.lock").open("w") as file:
        lock.dump(whole, file)
    for run in (project.folder / ".dvc/cache/runs").glob("*/*/*"):
        if lock.load(run.read_text())["cmd"] == f"python -m stages.{stage}":
            shutil.rmtree(run.parent)


def check_a_kill(finished: Project, folder: Path, hook: str, stage: str, operation: int) -> list[Path]:
    """Kill everything at one of a stage's file operations, run again, compare every out with the undisturbed run's."""
    project = finished.copy(folder)
    forget(project, stage)
    if stage == "download":
        shutil.rmtree(project.home / "videos")
    done = project.run("dvc", "repro", PYTHONPATH=hook, INTERRUPT_AT=f"{stage}:{operation}")
    assert done.returncode == -signal.SIGKILL, done.stdout
    assert ran(done.stdout) == [stage]
    left = half_done(project)

    output = project.dvc("repro")
    assert ran(output) == [stage], "with the same outs, what follows comes from the run cache"
    assert project.lock() == finished.lock()
    assert (project.folder / "metrics.json").read_bytes() == (finished.folder / "metrics.json").read_bytes()
    assert not half_done(project)
    return left


def weights(folder: Path) -> dict[str, bytes]:
    """The files of a saved model."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_three_kills_of_a_training_change_no_bit(finished, tmp_path, hook, counts):
    """And one comment, added between two of them: the training waits until the user says that it may resume."""
    project, operations = finished.copy(tmp_path), int((counts / "train").read_text())
    model = project.folder / "models/trained"
    expected = weights(model)
    shutil.rmtree(model)
    for share in (0.25, 0.3, 0.15):  # of an undisturbed run's operations; each resumes from a checkpoint of the last
        at = f"train:{round(share * operations)}"
        done = project.run("python", "-m", "stages.train", PYTHONPATH=hook, INTERRUPT_AT=at)
        assert done.returncode == -signal.SIGKILL, done.stdout
        assert half_done(project)
    assert list((project.home / "work/train").glob("*/checkpoint-*"))
    with (project.folder / "recipevis/training/trainer.py").open("a") as code:
        code.write("# a comment\n")
    done = project.run("python", "-m", "stages.train")
    assert done.returncode == 2
    assert "recipevis/training/trainer.py" in done.stdout
    assert half_done(project)
    done = project.run("python", "-m", "stages.train", RECIPEVIS_RESUME="1")
    assert done.returncode == 0, done.stdout
    assert weights(model) == expected


def test_outputs_are_hashed_as_dvc_hashes_them(finished):
    for stage in finished.lock().values():
        for out in stage["outs"]:
            assert dvc_hash(finished.folder / out["path"]) == out["md5"], out["path"]


@pytest.mark.parametrize("stage", ["frames", "train", "sample"])
def test_force_does_the_work_of_a_finished_stage_anew(finished, tmp_path, hook, counts, stage):
    """And resumes the work of one that DVC has not committed, because it was killed."""
    project, whole = finished.copy(tmp_path), int((counts / stage).read_text())
    counted = {"PYTHONPATH": hook, "INTERRUPT_COUNTS": str(tmp_path)}

    def operations() -> int:
        project.dvc("repro", "--force", "--single-item", stage, **counted)
        return int((tmp_path / stage).read_text())

    assert [operations() >= whole for _ in range(2)] == [True, True]
    assert project.lock() == finished.lock()
    if stage == "train":
        assert project.run("python", "-m", "stages.train").returncode == 0
        assert operations() < whole / 2
        assert operations() >= whole


def test_a_folder_with_letters_of_other_languages(finished, tmp_path):
    """The workspace works; `--temp` works with the remedy that `recipevis doctor` and the troubleshooting page give."""
    project, cache = finished.copy(tmp_path / "mes recettes é 料理"), tmp_path / "cache"
    assert "report" in ran(project.dvc("exp", "run", "-S", "evaluate.strips=3"))
    shutil.move(project.folder / ".dvc/cache", cache)
    project.dvc("cache", "dir", "--local", str(cache))
    assert ran(project.dvc("exp", "run", "--temp", "-S", "evaluate.strips=4")) == ["annotations", "report"]


def test_two_processes_train_as_one_does(finished, tmp_path):
    """Losses within 1e-5, L_cyc included."""
    project = finished.copy(tmp_path)
    set_parameters(project.folder / "params.yaml", {"train.processes": 2, "train.accumulation": 1})
    done = project.run("python", "-m", "stages.train")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("train: 4/4") == 1
    alone, shared = (pd.read_csv(p.folder / "models/trained/history.csv") for p in (finished, project))
    assert (alone["cycle"] > 0).any()
    assert (shared - alone)[["denoising", "cycle", "loss", "validation_loss"]].abs().max().max() < 1e-5
    assert not half_done(project)


def test_two_processes_embed_as_one_does(finished, tmp_path):
    """To the byte. And an input that no process can read is one line."""
    embedded = []
    for processes in (1, 2):
        project = finished.copy(tmp_path / str(processes))
        values = {"embed.processes": processes, "embed.batch_size": 3}
        set_parameters(project.folder / "params.yaml", values)
        shutil.rmtree(project.folder / "data/embeddings")
        done = project.run("python", "-m", "stages.embed")
        assert done.returncode == 0, done.stdout
        embedded.append(weights(project.folder / "data/embeddings"))
    assert embedded[0] == embedded[1] != {}
    assert not [name for name in embedded[1] if name.endswith(".done")]
    set_parameters(project.folder / "params.yaml", {"train.processes": 2, "train.accumulation": 1})
    (project.folder / "models/backbone/unet/config.json").write_text("{")
    done = project.run("python", "-m", "stages.train")
    assert done.returncode == 2
    assert "Traceback" not in done.stdout
    assert "train: models/backbone/unet/config.json: " in done.stdout


def test_the_model_has_a_card(finished):
    model = finished.folder / "models/recipevis"
    card = ModelCard.load(model / "README.md")
    assert card.data.license == "apache-2.0"
    assert "attend_to_image" in card.text
    assert "| `train.steps` | 4 |" in card.text
    assert "`train.processes`" not in card.text  # the card is the same whichever way the model was trained
    assert f"| {finished.json('models/recipevis/training.json')['validation_loss']:#.4g} |" in card.text
    scored = ModelCard.load(finished.folder / "reports/model_card.md")
    scores = {result.metric_type: result.metric_value for result in scored.data.eval_results}
    metrics = finished.json("metrics.json")
    assert scores == {name: float(f"{metrics[name]:.4g}") for name in HEADLINE}
    assert f"| {metrics['psnr']:#.4g} | {metrics['teacher_forced']['psnr']:#.4g} |" in scored.text


@pytest.mark.parametrize(
    ("stage", "share"),
    [*((stage, 0.5) for stage in STAGES), ("frames", 1.0), ("train", 1.0), ("sample", 1.0)],
)
def test_a_kill_anywhere_changes_nothing(finished, tmp_path, hook, counts, stage, share):
    operations = int((counts / stage).read_text())
    left = check_a_kill(finished, tmp_path, hook, stage, 1 + round(share * (operations - 1)))
    if stage in RESUMED and share == 0.5:
        assert left, "there was half-done work when it was killed"


def test_real_frames_from_annotations_to_page(tmp_path, copy_project, shared):
    """YouCook2's own annotations and the 32 videos beside the project: Table 2 to the digit, and every step's frame."""
    annotations = shared / "youcook2/youcookii_annotations_trainval.json"
    there = {path.stem for path in (shared / "youcook2/videos").iterdir()}
    values = MINI | {
        "dataset.source": "local",
        "dataset.annotations": str(annotations),
        "dataset.videos_dir": str(shared / "youcook2/videos"),
        "frames.pixels": 256,
    }
    project = Project(copy_project(tmp_path / "project", values), tmp_path / "home")
    commit(project)
    project.dvc("repro")

    dataset = project.json("data/dataset.json")
    assert dataset["training"] == {"recipe_types": 89, "videos": 1333, "videos_per_type": 14.98, "steps": 10337}
    assert dataset["validation"] == {"recipe_types": 89, "videos": 457, "videos_per_type": 5.13, "steps": 3492}

    videos = project.table("data/videos.csv")
    assert videos["status"].value_counts().to_dict() == {"failed": 1758, "ok": 32}
    assert set(videos[videos["status"] == "ok"]["video_id"]) == there

    database = json.loads(annotations.read_text(encoding="utf-8"))["database"]
    expected = {
        (video_id, str(step)): item["sentence"].strip()
        for video_id in there
        for step, item in enumerate(database[video_id]["annotations"])
    }
    frames = project.table("data/frames.csv")
    assert len(frames) == 10337 + 3492
    good = frames[frames["status"] == "ok"]
    assert {(row.video_id, row.step) for row in good.itertuples()} == expected.keys()
    triplets = project.table("data/triplets.csv")
    assert {(row.video_id, row.step): row.sentence for row in triplets.itertuples()} == expected

    generated = [item for item in expected if database[item[0]]["subset"] == "validation"]
    rows = project.json("reports/evaluation.json")["rows"]
    assert rows["model"]["autoregressive"]["all"]["images"] == len(generated)
    assert rows["model"]["autoregressive"]["all"]["videos"] == 8
    assert set(project.json("metrics.json")) == {*HEADLINE, "teacher_forced"}
    assert (project.folder / "reports/index.html").stat().st_size > 100_000
