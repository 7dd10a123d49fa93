"""The tutorials, as printed: each block is saved or run in order, in a copy of the project.

Commands and files are as printed, with one exception: the fuser's tutorial asks for three seeds, and only `make soak`
takes more than the first. What is smaller is `params.yaml`, the user's own file, from which they start.
"""

import base64
import io
import os
import re
import subprocess
from dataclasses import dataclass

import pandas as pd
import pytest
from PIL import Image
from ruamel.yaml import YAML

from tests.conftest import ROOT, set_parameters
from tests.test_pipeline import MINI, Project, commit
from tests.test_readme import TOOLS, blocks

TUTORIALS = ROOT / "docs/tutorials"
_BLOCK = re.compile(r"(.*?)^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"`([\w./-]+\.(?:py|json|txt))`")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the file that the text before it names last."""

    language: str
    text: str
    file: str


def read(page: str) -> list[Block]:
    """The blocks of a tutorial, in order."""
    found = _BLOCK.findall((TUTORIALS / page).read_text(encoding="utf-8"))
    return [Block(language, text, (_NAME.findall(before) or [""])[-1]) for before, language, text in found]


def shell(project: Project, script: str) -> str:
    """Run a block of commands, which must all succeed; what they print."""
    names = {f"GIT_{who}_{what}": "test@test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    known = {
        "PATH": os.pathsep.join([str(TOOLS), os.environ["PATH"]]),
        "PYTHONPATH": str(project.folder),  # the copy, where `recipevis` would take the installed project
        "RECIPEVIS_HOME": str(project.home),
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=project.folder,
        env=os.environ | names | known,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}"
    return done.stdout


def follow(project: Project, page: str) -> None:
    """Do what a tutorial says: save, set and run its blocks; `text` is among what the commands before it print."""
    printed = ""
    for block in read(page):
        if block.language == "sh":
            printed = shell(project, block.text)
        elif block.language == "yaml":  # keys of `dataset`
            keys = YAML(typ="safe", pure=True).load(block.text)
            set_parameters(project.folder / "params.yaml", {f"dataset.{key}": value for key, value in keys.items()})
        elif block.language == "text":
            lines = [line.split() for line in printed.splitlines()]
            assert [line for line in block.text.splitlines() if line.split() not in lines] == [], printed
        else:
            (project.folder / block.file).write_text(block.text)


@pytest.mark.slow
def test_own_videos_become_triplets(tmp_path, copy_project):
    """With the committed parameters: nothing is trained."""
    project = Project(copy_project(tmp_path / "project", {}), tmp_path / "home")
    commit(project)
    follow(project, "videos.md")
    triplets = project.table("data/triplets.csv")
    assert list(triplets.sample_id) == ["soup-01_00", "soup-01_01", "soup-01_02", "salad-01_00"]
    exported = sorted(path.name for path in (project.folder / "triplets").iterdir())
    assert exported == ["pairs", "recipes", "shards"]
    assert len(list((project.folder / "triplets/pairs/train").glob("soup-01_*.png"))) == 3


@pytest.mark.slow
def test_an_app_draws_with_the_model(tmp_path, copy_project, tiny_backbone):
    """With a model of tiny networks that sees the previous image."""
    from recipevis.model.networks import Backbone
    from recipevis.sampling.pipeline import assemble
    from recipevis.training.trainer import new_conditioner

    project = Project(copy_project(tmp_path / "project", {}), tmp_path / "home")
    backbone = Backbone(tiny_backbone)
    conditioner = new_conditioner(backbone, "attend_to_image", {"hidden": 4}, 3, seed=0)
    model = assemble(backbone, conditioner, backbone.unet, pixels=32, blank="white", num_inference_steps=2)
    model.save_pretrained(project.folder / "models/recipevis")
    follow(project, "app.md")

    def drawn(name: str) -> bytes:
        with Image.open(project.folder / name) as image:
            assert image.size == (32, 32)
            return image.tobytes()

    assert len({drawn(f"step-{number}.png") for number in (1, 2, 3)}) == 3
    drawn("photo-1.png")
    assert not (project.folder / "redrawn-1.png").exists(), "the first step was kept"
    assert drawn("redrawn-2.png") != drawn("step-2.png"), "its sentence was edited"
    assert drawn("redrawn-3.png") != drawn("step-3.png"), "the picture before it is another"
    page = (project.folder / "salad.html").read_text()
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    again = [Image.open(io.BytesIO(base64.b64decode(text))).tobytes() for text in found]
    assert again == [drawn("step-1.png"), drawn("step-2.png")], "the same sentences and seed"

    (project.folder / "empty.txt").write_text("")
    said = shell(project, "python cook.py empty.txt empty.html && exit 1 || true")
    assert [line for line in said.splitlines() if line.startswith("cook: ")], said
    assert "Traceback" not in said


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "seeds", [pytest.param("0", marks=pytest.mark.slow), pytest.param("0,1,2", marks=pytest.mark.soak)]
)
def test_a_fuser_is_compared(tmp_path, copy_project, seeds):
    """Three trainings of two steps, of untrained networks; the tutorial's nine take a quarter of an hour."""
    values = {"dataset.kitchen.validation_videos": 3, "train.steps": 2, "cycle.weight": 0, "fuser": "baseline"}
    project = Project(copy_project(tmp_path / "project", MINI | values), tmp_path / "home")
    commit(project)
    fuser, _ = (text for text in blocks(ROOT / "README.md", "python") if "mean" in text)
    (project.folder / "recipevis/fusers/mean.py").write_text(fuser)
    for block in read("fuser.md"):
        print(shell(project, block.text.replace("--seeds 0,1,2", f"--seeds {seeds}")))
    compared = pd.read_csv(project.folder / "table1/comparisons.csv")
    assert set(zip(compared.row, compared.against, strict=True)) >= {
        ("mean", "Baseline, fine-tuned"),
        ("mean", "Text only (control)"),
    }, list(compared)
    table = pd.read_csv(project.folder / "table1/table.csv")
    assert {"mean:wrong_previous", "mean:no_previous"} <= set(table.row)
    assert set(table[table.row == "mean"].seeds) == {len(seeds.split(","))}
    assert "table1-mean-seed0" in (project.folder / "compare.html").read_text()
