"""A tiny project whose pipeline has the shape of this one, and experiments whose numbers can be written down."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recipevis.evaluation import rows as set_rows
from recipevis.evaluation import scores, summary
from recipevis.table1 import rows
from recipevis.table1.experiments import Experiment
from tests.table1.fabricated import found as found

SETS = list(dict.fromkeys(name for names in set_rows.image_sets().values() for name in names))
VIDEOS, STEPS = 6, 3
METRICS = ("psnr", "clip_l2", "encoder_cosine", "image_encoder_cosine")

PIPELINE = """\
stages:
  annotations:
    cmd: python stages/annotations.py
    deps: [stages/annotations.py]
    params:
      - params.yaml:
    outs: [data/annotations.json]
  manifest:
    cmd: python stages/manifest.py
    deps: [data/annotations.json, stages/manifest.py]
    outs: [data/triplets.csv]
  train:
    cmd: python stages/train.py
    deps: [data/triplets.csv, stages/train.py, "recipevis/fusers/${fuser}.py"]
    params: [fuser, seed, cycle, train.steps]
    outs: [models/trained]
  evaluate:
    cmd: python stages/evaluate.py
    deps: [data/triplets.csv, models/trained, stages/evaluate.py]
    params: [fuser, seed, cycle.weight]
    outs: [reports/evaluation.json, reports/images.csv]
"""
PARAMETERS = """\
fuser: concat
seed: 0
device: auto
dataset: {limit: 1}
cycle: {weight: 0}
previous_latent: false
first_latent: false
condition: replace
train: {steps: 2, processes: 1}
sample: {scheduler: ddpm}
"""
# Videos come and go in RECIPEVIS_HOME. A training counts its steps there, one file a step, as the real one resumes from
# its checkpoint. Where GATE is set, it stops before its second step: it says so in one pipe and waits for another.
STAGES = {
    "annotations": "open('data/annotations.json', 'w').write(str(values['dataset']))",
    "manifest": """
open(home / 'manifests', 'a').write('one\\n')
videos = (home / 'videos').read_text() if (home / 'videos').exists() else ''
open('data/triplets.csv', 'w').write(open('data/annotations.json').read() + videos)
""",
    "train": """
assert values['fuser'] != 'image_only', 'image_only never trains'
own = home / f"{values['fuser']}-{values['seed']}-{values['cycle']['weight']}"
own.mkdir(parents=True, exist_ok=True)
open(own / 'trainings', 'a').write('one\\n')
for step in range(values['train']['steps']):
    if 'GATE' in os.environ and step == 1:
        gate = os.environ['GATE'] + os.environ.get('CUDA_VISIBLE_DEVICES', '')
        open(gate + 'here', 'w').close()
        open(gate + 'go').close()
    if not (own / str(step)).exists():
        (own / str(step)).write_text(str(os.getpid()))
(own / 'root').write_text(os.environ['RECIPEVIS_WORKSPACE'])
Path('models/trained').mkdir(parents=True, exist_ok=True)
Path('models/trained/steps').write_text(str(values['train']['steps']))
""",
    "evaluate": """
about = {'fuser': values['fuser'], 'seed': values['seed'], 'cycle_weight': values['cycle']['weight'], 'steps': 2,
         'data_hash': open('data/triplets.csv').read(), 'backbone': {'source': 'kitchen'}, 'sampler': {'steps': 3}}
Path('reports/evaluation.json').write_text(json.dumps({'experiment': about, 'rows': {}, 'margins': {}}))
Path('reports/images.csv').write_text('picture,sample_id,video_id,step,psnr\\nautoregressive,00,0,0,1.5\\n')
""",
}
HEAD = """import json, os
from pathlib import Path
from ruamel.yaml import YAML
values = YAML(typ='safe', pure=True).load(Path('params.yaml'))
for folder in ('data', 'reports'):
    Path(folder).mkdir(exist_ok=True)
home = Path(os.environ['RECIPEVIS_HOME'])
home.mkdir(parents=True, exist_ok=True)
"""


def git(*arguments: str) -> str:
    """The output of a git command in this folder, which must succeed."""
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """The tiny project, committed; the current folder."""
    folder = tmp_path / "project"
    for name, code in STAGES.items():
        (folder / "stages").mkdir(parents=True, exist_ok=True)
        (folder / f"stages/{name}.py").write_text(HEAD + code)
    (folder / "recipevis/fusers").mkdir(parents=True)
    for fuser in {row.fuser for row in rows.trained()}:
        (folder / f"recipevis/fusers/{fuser}.py").write_text("")
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "params.yaml").write_text(PARAMETERS)
    (folder / ".gitignore").write_text("/data/\n/models/\n/reports/\n/logs/\n")
    monkeypatch.chdir(folder)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "test")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "test@test")
    git("init", "-q")
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], check=True)
    git("add", "--all")
    git("commit", "-q", "-m", "start")
    return folder


def level(image_set: str, key: str, seed: int, metric: str, video: int, step: int) -> float:
    """The score of an image: it grows with the row's place in the table, the seed, the video and the step.

    With the cycle loss, every other video is better and every other one worse. The mean image has no seed.
    """
    of_row = image_set in (*set_rows.MODES, "wrong_previous")
    place = [row.key for row in rows.ROWS].index(key) if of_row else 0
    video_part = ((video * 7) % 5) * 0.3 + 0.01 * place * video
    if of_row and key.endswith("-cycle"):
        video_part += 3 * (-1) ** video
    seed = 0 if image_set == "mean_image" else seed
    return 10 + place + 0.1 * seed + 20 * SETS.index(image_set) + video_part + 0.05 * step + METRICS.index(metric)


def images_of(key: str, seed: int, pictures: list[str] = SETS) -> pd.DataFrame:
    """`images.csv` of an experiment: six videos of three steps."""
    return pd.DataFrame(
        {"picture": name, "sample_id": f"{video}_{step:02d}", "video_id": str(video), "step": step}
        | {metric: level(name, key, seed, metric, video, step) for metric in METRICS}
        for name in pictures
        for video, step in np.ndindex(VIDEOS, STEPS)
    )


@pytest.fixture
def made() -> Callable[..., Experiment]:
    """A function that makes an experiment of a row."""

    def make(key: str, seed: int = 0, **about: object) -> Experiment:
        [row] = rows.select([key])
        said = {"data_hash": "abc", "backbone": {"source": "kitchen"}, "steps": 500, "sampler": {"steps": 3}} | about
        images = images_of(key, seed)
        result = {"experiment": said, "rows": summary.summarise(scores.Scores(images), 20, 0)}
        return Experiment(row, seed, row.experiment(seed), f"commit of {key} {seed}", said, result, images)

    return make
