"""The project against its own plan: layers, the deps and params of `dvc.yaml`, parameter files, tracked files."""

import ast
import re
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from recipevis.config import SampleConfig, describe

ROOT = Path(__file__).resolve().parent.parent
PIPELINE = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())
STAGES = PIPELINE["stages"]
PARAMETER_FILES = sorted([ROOT / "params.yaml", *(ROOT / "params").glob("*.yaml")])

# Code that can't change a stage's result, so that no stage lists it; with the reason.
EXEMPT = {
    "recipevis.cli": "only people call it",
    "recipevis.table1": "only people call it",
    "recipevis.compare": "only people call it",
    "recipevis.config": "checks values; a stage lists those that it uses under `params`",
    "recipevis.data.ytdlp": "how yt-dlp is asked, and how often; not what comes",
    "recipevis.core": "files, progress, processes: how a stage runs, not what comes out",
    "recipevis.errors": "messages",
}
# The same for single stages.
STAGE_EXEMPT = {
    "train": ["recipevis.sampling"],  # draws a recipe for a tracker
    # Sources import these to fetch videos.
    "annotations": ["recipevis.data.ffmpeg", "recipevis.kitchen.drawing"],
    "embed": ["recipevis.data.vocabulary"],  # a message: how many sentences are cut
    # These only find a video, or fetch it again; data/videos.csv says which video it is.
    "frames": ["recipevis.data.store", "recipevis.data.sources"],
    # Only the sources' licences are read, and the pipeline is saved, not called.
    "package": [
        "recipevis.data.ffmpeg",
        "recipevis.data.tables.recipes",
        "recipevis.images",
        "recipevis.kitchen",
        "recipevis.sampling.guidance",
        "recipevis.randomness",
    ],
    # Only whether the backbone is untrained, and the metrics' labels, are read.
    "report": [
        "recipevis.backbone",
        "recipevis.data.tables.scenes",
        "recipevis.evaluation.distances",
        "recipevis.evaluation.sequences",
        "recipevis.evaluation.similarity",
    ],
}
STAGE_EXEMPT_KEYS = {
    "train": {f"sample.{key}" for key in SampleConfig.model_fields} | {"frames.blank"},  # of a tracker's recipe
    "download": {"dataset.only", "dataset.seed"},  # what comes of them is data/annotations.json
    "frames": {
        "dataset.only",
        "dataset.seed",
        "dataset.source",
        "dataset.videos_dir",
        "dataset.url",
        "download.format",
    },
}
REPORTING = {"report", "package"}  # for all other stages `recipevis.report` is exempt: it shows results
COMPUTING = {
    "embed",
    "train",
    "baselines",
    "native",
    "sample",
    "reference",
    "evaluate",
}  # `recipevis.arithmetic` sets their CPU threads

# Keys that no stage but `annotations` lists, each with its reason.
EXEMPT_KEYS = {
    "device": "says how, not what",
    "dataset.annotations": "annotations reads it; what comes of it is data/annotations.json",
    "dataset.limit": "annotations reads it; what comes of it is data/annotations.json",
    "dataset.kitchen.training_videos": "annotations reads it; what comes of it is data/annotations.json",
    "dataset.kitchen.validation_videos": "annotations reads it; what comes of it is data/annotations.json",
    "download.retries": "says how, not what",
    "download.timeout_s": "says how, not what",
    "download.pause_s": "says how, not what",
    "download.backoff_s": "says how, not what",
    "download.workers": "says how, not what",
    "execution.dask": "says how, not what",
    "frames.workers": "says how, not what",
    "embed.processes": "says how, not what",
    "train.processes": "says how, not what: equal up to rounding",
    "train.accumulation": "says how, not what: equal up to rounding",
    "train.gradient_checkpointing": "says how, not what: equal up to rounding",
    "train.fused": "says how, not what: equal up to rounding",
    "train.compile": "says how, not what: equal up to rounding",
    "train.checkpoint_every": "says how, not what: a resumed run ends with the same bytes",
    "train.log_with": "shows the run: the result has the same bytes",
}


def module_name(path: Path) -> str:
    """`recipevis.kitchen.recipes` for `recipevis/kitchen/recipes.py`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for folder in ("recipevis", "stages") for path in (ROOT / folder).rglob("*.py")}
TREES = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in MODULES.items()}


def below(module: str, prefixes: Iterable[str]) -> bool:
    """Whether a module is one of these, or in one of these packages."""
    return any(module == prefix or module.startswith(f"{prefix}.") for prefix in prefixes)


@cache
def imports(module: str) -> frozenset[str]:
    """The project's modules that a module imports, at its top or inside a function; also packages with code."""
    names = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively: write the whole name"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    names |= {parent for name in names for parent in packages(name)}
    return frozenset(name for name in names & MODULES.keys() if has_code(name)) - {module, "recipevis"}


def packages(module: str) -> list[str]:
    """`recipevis.data` for `recipevis.data.video`: Python runs a package's `__init__` first."""
    parts = module.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def has_code(module: str) -> bool:
    """Whether a module is more than a docstring."""
    return len(TREES[module].body) > 1


@cache
def choices(module: str) -> frozenset[str]:
    """The modules that a module loads by name, as `class_in(f"recipevis.fusers.{name}", Fuser)` does; not `base`."""
    found = set()
    for node in ast.walk(TREES[module]):
        loads = isinstance(node, ast.Call) and dotted(node.func) in ("import_module", "class_in")
        if loads and isinstance(text := node.args[0], ast.JoinedStr):
            package = re.escape(text.values[0].value)
            found |= {name for name in MODULES if re.fullmatch(rf"{package}(?!base\b)[a-z]\w*", name)}
    return frozenset(found)


def needed(stage: str) -> set[str]:
    """Every module that can change a stage's outputs."""
    exempt = [*EXEMPT, *STAGE_EXEMPT.get(stage, ()), *([] if stage in REPORTING else ["recipevis.report"]), "stages"]
    found = {"recipevis.arithmetic"} if stage in COMPUTING else set()
    waiting = [f"stages.{stage}"]
    while waiting:
        module = waiting.pop()
        found.add(module)
        reached = imports(module) | choices(module)
        waiting += [name for name in reached - found if not below(name, exempt)]
    return found


def covered(dep: str) -> set[str]:
    """The modules that a dep stands for: a file, all of a folder, or `folder/${key}.py`: whichever the key names."""
    folder, template, _ = dep.partition("${")
    if template:
        pattern = re.escape(folder) + r"(?!base\b)[a-z]\w*\.py"
    else:
        pattern = re.escape(dep) + ("" if dep.endswith(".py") else "/.*")
    found = {module for module, path in MODULES.items() if re.fullmatch(pattern, path.relative_to(ROOT).as_posix())}
    return {module for module in found if has_code(module)}


def is_code(dep: str) -> bool:
    """Whether a dep is code of the project, not data."""
    return dep.startswith(("recipevis/", "stages/")) and dep != NETWORKS


NETWORKS = "recipevis/kitchen/networks"


def layers() -> list[list[str]]:
    """The layers in `docs/architecture.md`, lowest first: modules, and folders with a slash."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    block = re.search(r"```layers\n(.*?)```", text, re.DOTALL).group(1)
    return [[f"recipevis.{name.strip('/').replace('/', '.')}" for name in line.split()] for line in block.splitlines()]


@cache
def layer(module: str) -> int:
    """The number of a module's layer; `recipevis/data/tables/` goes before `recipevis/data/`."""
    ranks = {name: rank for rank, names in enumerate(layers()) for name in names}
    return ranks[max((name for name in ranks if below(module, [name])), key=len)]


def leaves(key: str) -> set[str]:
    """The keys of the parameter file at or below a dotted key."""
    return {known for known in describe() if known == key or known.startswith(f"{key}.")}


def listed_parameters(stage: str) -> set[str]:
    """The keys under a stage's `params`, groups opened."""
    return set().union(*(leaves(key) for key in STAGES[stage].get("params", []) if isinstance(key, str)))


def shown(stage: str) -> list[str]:
    """A stage's metrics and plots."""
    return [name for kind in ("metrics", "plots") for item in STAGES[stage].get(kind, []) for name in item]


LIBRARY = [module for module in MODULES if module.startswith("recipevis.")]


@pytest.mark.parametrize("module", LIBRARY)
def test_imports_point_downwards(module):
    assert not [name for name in imports(module) | choices(module) if layer(name) > layer(module)]


def test_layers_exist():
    for name in (name for names in layers() for name in names):
        assert name in MODULES, f"docs/architecture.md names {name}, which does not exist"


@pytest.mark.parametrize("stage", STAGES)
def test_code_deps_cover_what_a_stage_imports(stage):
    deps = [dep for dep in STAGES[stage]["deps"] if is_code(dep)]
    listed, wanted = set().union(*map(covered, deps)), needed(stage)
    for group in map(choices, needed(stage)):
        if group & listed:  # the one that the key names, or one that the stage always takes
            wanted -= group - listed
    assert not sorted(wanted - listed), "the stage imports these and dvc.yaml does not list them"
    assert not sorted(listed - wanted), "dvc.yaml lists these and the stage does not import them"
    for dep in deps:
        assert "$" in dep or (ROOT / dep).exists(), f"{dep} does not exist"


@pytest.mark.parametrize("stage", STAGES)
def test_data_deps_are_made_by_other_stages(stage):
    made = {out for other in STAGES if other != stage for out in (*STAGES[other].get("outs", []), *shown(other))}
    for dep in STAGES[stage]["deps"]:
        below_an_out = any(dep == out or dep.startswith(f"{out}/") for out in made)
        assert is_code(dep) or dep == NETWORKS or "$" in dep or below_an_out, dep


def test_files_that_code_reads_are_deps():
    """Page templates, networks, configurations; not those of what only people call."""
    deps = {dep for stage in STAGES.values() for dep in stage["deps"]}
    for path in (ROOT / "recipevis").rglob("*"):
        name = path.relative_to(ROOT).as_posix()
        called_by_people = {"table1", "compare", "cli"} & set(path.parts)
        if path.is_file() and path.suffix not in (".py", ".pyc") and not called_by_people:
            assert any(name == dep or name.startswith(f"{dep}/") for dep in deps), f"no stage depends on {name}"


def test_exempt_modules_exist():
    assert EXEMPT.keys() <= MODULES.keys()


@pytest.mark.parametrize("stage", STAGES)
def test_params_are_the_keys_that_a_stage_reads(stage):
    """The attribute chains on `parameters` in the stage's file, against the keys that `dvc.yaml` lists for it."""
    if stage == "annotations":
        assert STAGES[stage]["params"] == [{"params.yaml": None}], "annotations tracks the whole file"
        return
    tree = TREES[f"stages.{stage}"]
    main = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main")
    groups, renamed = {main.args.args[0].arg: ""}, set()
    for node in ast.walk(main):  # `train = parameters.train` gives a group a short name
        if isinstance(node, ast.Assign):
            for target, value in pairs(node.targets[0], node.value):
                first, _, rest = dotted(value).partition(".")
                if isinstance(target, ast.Name) and first in groups and rest:
                    groups[target.id] = f"{groups[first]}{rest}."
                    renamed.add(value)
    inner = {node.value for node in ast.walk(main) if isinstance(node, ast.Attribute)}
    inner |= {node for node in ast.walk(main) if isinstance(getattr(node, "ctx", None), ast.Store)}
    chains = {dotted(node).partition(".")[::2] for node in ast.walk(main) if node not in inner | renamed}
    chains = {(groups[first] + rest).rstrip(".") for first, rest in chains if first in groups and groups[first] + rest}
    read = set().union(*(leaves(chain) for chain in chains))
    exempt = EXEMPT_KEYS.keys() | STAGE_EXEMPT_KEYS.get(stage, set())
    assert not (unlisted := read - listed_parameters(stage) - exempt), f"read, not listed: {unlisted}"
    assert not (unread := listed_parameters(stage) - read), f"listed, not read: {unread}"


def pairs(target: ast.AST, value: ast.AST) -> list[tuple[ast.AST, ast.AST]]:
    """Names and values of an assignment, that of one tuple to another too."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return list(zip(target.elts, value.elts, strict=True))
    return [(target, value)]


def dotted(node: ast.AST) -> str:
    """`parameters.train.steps` for that expression, nothing for another."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


def test_every_key_is_tracked_by_a_stage_or_exempt():
    tracked = set().union(*(listed_parameters(stage) for stage in STAGES))
    assert describe().keys() - tracked == EXEMPT_KEYS.keys()


@pytest.mark.parametrize("path", PARAMETER_FILES, ids=lambda path: path.name)
def test_every_key_has_its_comment(path):
    lines = path.read_text().splitlines()
    read = YAML().load(path.read_text())
    for key in describe():
        *groups, name = key.split(".")
        section = read
        for group in groups:
            section = section[group]
        assert "# " in lines[section.lc.key(name)[0]], f"{path.name}: {key} has no comment on its line"


def keys_of(value: object, prefix: str = "") -> set[str]:
    """Every key of a parameter file, dotted, groups too."""
    if not isinstance(value, dict):
        return set()
    return {prefix + key for key in value} | {
        below for key, inner in value.items() for below in keys_of(inner, f"{prefix}{key}.")
    }


@pytest.mark.parametrize("path", PARAMETER_FILES, ids=lambda path: path.name)
def test_parameter_files_have_the_same_keys(path):
    keys = keys_of(YAML(typ="safe", pure=True).load(path.read_text()))
    groups = {key.rpartition(".")[0] for key in keys} - {""}
    assert keys - groups == describe().keys()


@pytest.mark.parametrize("path", PARAMETER_FILES, ids=lambda path: path.name)
def test_dvc_changes_no_other_line(path, tmp_path):
    """`dvc exp run -S` writes the file anew: lists in block form, long values folded. So they stand like that here."""
    from dvc.utils.hydra import apply_overrides

    before, written = path.read_text(encoding="utf-8"), tmp_path / "params.yaml"
    written.write_text(before, encoding="utf-8")
    apply_overrides(written, [f"seed={YAML().load(before)['seed']}"])
    assert written.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("path", PARAMETER_FILES, ids=lambda path: path.name)
def test_no_key_that_dvc_drops_from_its_hash(path):
    keys = keys_of(YAML(typ="safe", pure=True).load(path.read_text()))
    assert not [key for key in keys if key.rpartition(".")[2] in ("size", "nfiles")]


@pytest.mark.parametrize("stage", STAGES)
def test_outs_are_cached_and_only_metrics_and_plots_are_not(stage):
    entry = STAGES[stage]
    assert all(isinstance(out, str) for out in entry["outs"]), "a plain out takes no option: cached, not persistent"
    for item in (*entry.get("metrics", []), *entry.get("plots", [])):
        assert all(options["cache"] is False for options in item.values())
    assert entry["cmd"] == f"python -m stages.{stage}"


def test_git_ignores_outs_and_keeps_metrics_and_plots():
    outs = [f"{out}/a" for stage in STAGES.values() for out in stage["outs"]]
    ignored = git("check-ignore", "--no-index", *outs, *(name for stage in STAGES for name in shown(stage)), "logs/a")
    assert set(ignored) == {*outs, "logs/a"}


def test_plots_draw_columns_that_exist():
    """Those that compare, and those of single stages."""
    outs = {out for stage in STAGES for out in (*STAGES[stage]["outs"], *shown(stage))}
    for item in PIPELINE["plots"]:
        name, plot = next(iter(item.items())) if isinstance(item, dict) else (item, {"y": {item: []}})
        for path, columns in plot["y"].items():
            assert path in outs, f"plot {name}: no stage makes {path}"
            assert not columns or {plot["x"], *columns} <= header(path), name
        if "template" in plot:
            assert (ROOT / ".dvc/plots" / f"{plot['template']}.json").exists()
    for stage in STAGES.values():
        for item in stage.get("plots", []):
            for path, plot in item.items():
                assert not path.endswith(".csv") or {plot["x"], plot["y"]} <= header(path), path
    assert {artifact["path"] for artifact in PIPELINE["artifacts"].values()} <= outs


def header(path: str) -> set[str]:
    """The columns of a committed CSV file."""
    return set((ROOT / path).read_text(encoding="utf-8").splitlines()[0].split(","))


def test_stage_files_are_thin():
    for path in (ROOT / "stages").glob("[a-z]*.py"):
        assert len(path.read_text().splitlines()) < 60, f"{path.name} holds more than wiring"
    assert {path.stem for path in (ROOT / "stages").glob("[a-z]*.py")} == STAGES.keys()


def test_no_fuser_is_asked_for_by_name():
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                names = {dotted(side).rpartition(".")[2] for side in sides}
                texts = [side for side in sides if isinstance(side, ast.Constant) and isinstance(side.value, str)]
                assert not ("fuser" in names and texts), f"{module}, line {node.lineno}: use the dictionary of fusers"


def git(*arguments: str) -> list[str]:
    """Lines of a git command's output; skips where the tree is no git checkout."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()


def test_no_path_of_a_machine_is_tracked():
    pattern = re.compile(r"(?<![\w}.:/~-])/(?:work|root|home/\w+|Users/\w+|tmp/\w+)/")
    for name in git("ls-files"):
        content = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b""
        if b"\0" not in content:
            found = pattern.search(content.decode())
            assert not found, f"{name} names a path of one machine: {found}"


def test_no_pickle_is_tracked():
    for name in git("ls-files"):
        assert not name.endswith((".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib")), name
        if (ROOT / name).is_file():
            head = (ROOT / name).read_bytes()[:2]
            assert not (head[:1] == b"\x80" and head[1:] in (b"\x02", b"\x03", b"\x04", b"\x05")), name
