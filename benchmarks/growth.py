"""How time and memory of each stage grow with the number of videos: once, and ten times as many.

    python benchmarks/growth.py

Runs the stages one by one, without DVC's cache, in clones of the last commit with a home of their own. A stage's
memory is the largest resident set (MiB) that it or one of its processes had. Needs Linux.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent


def main(
    videos: Annotated[
        int, typer.Option(help="training videos of the smaller run; a quarter as many for validation")
    ] = 20,
    times: Annotated[int, typer.Option(help="how many times as many in the larger run")] = 10,
) -> None:
    """Print a table: seconds and MiB of each stage in both runs, and their ratios."""
    small, large = _run(videos), _run(videos * times)
    print(
        f"| stage | {videos} videos | {videos * times} videos | ratio | MiB | MiB | ratio |",
        "|---|" + "---:|" * 6,
        sep="\n",
    )
    for stage, (seconds, memory) in small.items():
        more, larger = large[stage]
        print(
            f"| {stage} | {seconds:.1f} s | {more:.1f} s | {more / seconds:.2f} "
            f"| {memory:.0f} | {larger:.0f} | {larger / memory:.2f} |"
        )


def _run(videos: int) -> dict[str, tuple[float, float]]:
    """Seconds and MiB of every stage."""
    measured = {}
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "project"
        subprocess.run(["git", "clone", "--quiet", ROOT, project], check=True)
        reader = YAML()
        parameters = reader.load(project / "params.yaml")
        parameters["dataset"]["kitchen"] = {"training_videos": videos, "validation_videos": max(2, videos // 4)}
        parameters["train"]["steps"] = 20  # training takes as long as it is told to
        reader.dump(parameters, project / "params.yaml")
        environment = {**os.environ, "RECIPEVIS_HOME": f"{scratch}/home", "DVC_ROOT": str(project)}
        for stage in reader.load(project / "dvc.yaml")["stages"]:
            start = time.monotonic()
            process = subprocess.Popen([sys.executable, "-m", f"stages.{stage}"], cwd=project, env=environment)
            _, status, usage = os.wait4(process.pid, 0)
            if status:
                raise SystemExit(f"{stage} failed")
            measured[stage] = (time.monotonic() - start, usage.ru_maxrss / 1024)
    return measured


if __name__ == "__main__":
    typer.run(main)
