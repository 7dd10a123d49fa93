"""One file a stage of `dvc.yaml`: it passes parameters and paths to the library and publishes what comes back.

Logic belongs in `recipevis/`.
"""

import importlib.util
import os
import sys
from functools import partial

if sys.version_info < (3, 11) or not all(
    map(importlib.util.find_spec, ("av", "diffusers", "filelock", "pandas", "pydantic", "ruamel", "torch", "tqdm"))
):
    print("stages: this Python lacks RecipeVis's packages; run: source .venv/bin/activate", file=sys.stderr)
    sys.exit(2)

from recipevis import arithmetic, config
from recipevis.core import stage
from recipevis.core.stage import leads, publish, work_folder

arithmetic.fix()  # nothing above imports torch
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns that torchvision is missing; nothing needs it
run = partial(stage.run, config.load)

__all__ = ["leads", "publish", "run", "work_folder"]
