"""What the documentation says, against what is there. CI also runs the README's commands, in a fresh clone."""

import ast
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from ruamel.yaml import YAML

from recipevis.cli.main import app
from recipevis.config import FUSERS, describe
from recipevis.data.sources import base
from recipevis.data.tables import frames, triplets, videos
from recipevis.data.tables.recipes import SUBSETS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TOOLS = Path(sys.executable).parent


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of one language on a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(path: Path) -> list[list[str]]:
    """The words of every shell command on a page."""
    lines = "\n".join(blocks(path, "sh")).splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


README = commands(ROOT / "README.md")


def test_the_readme_has_the_commands_that_ci_runs():
    """`.ci/run` runs what is printed from the activation to the last command of the experiment."""
    first = README.index(["source", ".venv/bin/activate"])
    programs = [words[:2] for words in README[first : README.index(["dvc", "metrics", "show"])]]
    assert ["recipevis", "generate"] in programs
    assert ["dvc", "exp"] in programs


def test_every_command_of_recipevis_is_understood():
    """Its own parser takes the words."""
    group = typer.main.get_command(app)
    for page in PAGES:
        for words in (words for words in commands(page) if words[0] == "recipevis"):
            group.commands[words[1]].make_context(words[1], words[2:])


def test_every_option_of_the_command_line_is_in_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    group = typer.main.get_command(app)
    known = {option for command in (group, *group.commands.values()) for p in command.params for option in p.opts}
    missing = {option for option in known if option.startswith("--")} - {"--help"}
    assert not [option for option in missing if f"`{option}`" not in text and f" {option}`" not in text]
    assert not [name for name in group.commands if f"`recipevis {name}" not in text]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_exists(page):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for words in commands(page):
        program, rest = words[0], words[1:]
        if program == "make":
            assert rest[0] in targets, words
        elif program == "source":
            assert rest == [".venv/bin/activate"]
        elif program == "bash":
            assert (ROOT / rest[0]).is_file(), words
        else:
            assert shutil.which(program, path=f"{TOOLS}:/usr/bin:/bin"), words


def test_every_dvc_command_is_understood():
    """DVC's own parser takes the words, and each key that is set is one, with a value that it may have."""
    from dvc.cli import parse_args

    reader = YAML(typ="safe", pure=True)
    for words in [*README, *(command for page in PAGES for command in commands(page))]:
        if words[0] != "dvc":
            continue
        parsed = parse_args(words[1:])
        for setting in getattr(parsed, "set_param", None) or []:
            key, _, value = setting.partition("=")
            assert key in describe()
            assert key != "fuser" or value in FUSERS or value == "mean", "mean is the README's own example"
            reader.load(value)


def test_every_stage_is_described():
    stages = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"]
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `(\w+)` \|(.*)$", text.partition("## Stages")[2].partition("###")[0], re.MULTILINE)
    assert [name for name, _ in table] == list(stages)
    for name, row in table:
        shown = [item for kind in ("metrics", "plots") for entry in stages[name].get(kind, []) for item in entry]
        for out in (*stages[name]["outs"], *shown):
            assert f"`{out}`" in row or f"`{out}/`" in row, f"docs/architecture.md: {name} writes {out}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_parameter_that_is_named_exists(page):
    groups = {key.partition(".")[0] for key in describe() if "." in key}
    for name in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)(?:: [^`]*)?`", page.read_text(encoding="utf-8")):
        if name.partition(".")[0] in groups and not name.endswith((".yaml", ".json", ".csv", ".md", ".py", ".txt")):
            assert [key for key in describe() if key == name or key.startswith(f"{name}.")], f"{page.name}: {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_linked_exists(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_heading_that_is_linked_exists(page):
    for target, heading in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text(encoding="utf-8")):
        text = (page.parent / target if target else page).read_text(encoding="utf-8")
        headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        assert heading in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings]


def test_python_on_the_pages_is_python():
    for page in PAGES:
        for block in blocks(page, "python"):
            ast.parse(block)


def test_the_readmes_fuser_works_as_printed(copy_project, tmp_path):
    """The fuser and its test, each in its file: in the project's style, its own test and those of all fusers pass."""
    folder = copy_project(tmp_path / "project", {})
    for name in ("pyproject.toml", "tests/conftest.py", "tests/fusers"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (folder / name).parent.mkdir(exist_ok=True)
        copy(ROOT / name, folder / name)
    files = dict.fromkeys(("recipevis/fusers/mean.py", "tests/fusers/test_mean.py"))
    printed = (block for block in blocks(ROOT / "README.md", "python") if "mean" in block)
    for name, block in zip(files, printed, strict=True):
        (folder / name).write_text(block)
    checks = (["ruff", "check", *files], ["ruff", "format", "--check", *files], ["pytest", "tests/fusers"])
    for program, *rest in checks:
        done = subprocess.run([TOOLS / program, *rest], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_readmes_pipeline_works_as_printed(tiny_backbone, monkeypatch, tmp_path):
    """With a model of tiny networks."""
    from recipevis.model.networks import Backbone
    from recipevis.sampling.pipeline import RecipePipeline, assemble
    from recipevis.training.trainer import new_conditioner

    def tiny(folder):
        assert folder == "models/recipevis"
        backbone = Backbone(tiny_backbone)
        conditioner = new_conditioner(backbone, "attend_to_image", {"hidden": 4}, 3, seed=0)
        return assemble(backbone, conditioner, backbone.unet, pixels=32, blank="white", num_inference_steps=2)

    monkeypatch.setattr(RecipePipeline, "from_pretrained", tiny)
    monkeypatch.chdir(tmp_path)
    exec(next(block for block in blocks(ROOT / "README.md", "python") if "RecipePipeline" in block), {})
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["step-1.png", "step-2.png"]


def table_keys(heading: str, first: str) -> list[str]:
    """First column of the table headed `first` in a section of `docs/data.md`; names in one cell are parted."""
    section = re.split(r"^### ", (ROOT / "docs/data.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    text = next(part for part in section if part.startswith(f"`{heading}`"))
    rows = re.search(rf"^\| {first} \|.*\n\|---.*\n((?:\|.*\n)+)", text, re.MULTILINE).group(1)
    return [name for row in rows.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])]


@pytest.mark.parametrize(
    ("heading", "first", "known"),
    [
        ("data/videos.csv", "column", videos.COLUMNS),
        ("data/videos.csv", "error", videos.ERRORS),
        ("data/videos.csv", "flag", videos.FLAGS),
        ("data/frames.csv", "column", frames.COLUMNS),
        ("data/frames.csv", "error", frames.ERRORS),
        ("data/frames.csv", "flag", frames.FLAGS),
        ("data/triplets.csv", "column", triplets.COLUMNS),
    ],
)
def test_tables_of_columns_errors_and_flags_are_whole(heading, first, known):
    assert table_keys(heading, first) == list(known)


def test_the_table_of_errors_says_which_can_become_final():
    text = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|.*\| (asks again|until confirmed) \|$", text, re.MULTILINE)
    assert {name for name, retried in rows if retried != "asks again"} == base.PERMANENT
    assert {name for name, _ in rows} == videos.ERRORS.keys()


def test_the_words_of_the_kitchen_are_listed():
    from recipevis.kitchen import recipes

    text = (ROOT / "docs/demo.md").read_text(encoding="utf-8")
    listed = [
        [cell.strip() for cell in row.strip("|").split("|")] for row in re.findall(r"^\|.*\|$", text, re.MULTILINE)
    ]
    for name, made in recipes.TYPES.items():
        words = [made.vessel, "; ".join(map(", ".join, made.bases)), ", ".join(made.toppings), made.act]
        assert [name, *words, ", ".join(made.finish)] in listed
    assert all(re.search(rf"\b{colour}\b", text) for colour in recipes.COLOURS)


def test_the_example_of_annotations_is_accepted():
    from recipevis.data import annotations
    from recipevis.data.sources.base import PLAIN_ID

    block = blocks(ROOT / "docs/data.md", "json")[0]
    (recipe,) = annotations.parse(block.encode(), "example", PLAIN_ID, None)
    assert recipe.subset in SUBSETS
    assert recipe.steps[0].sentence == "chop the onions"


def test_the_rules_for_ids_are_those_that_are_checked():
    from recipevis.data.sources.base import PLAIN_ID
    from recipevis.data.sources.youtube import YOUTUBE_ID

    text = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    for rule in (PLAIN_ID, YOUTUBE_ID):
        assert f"`{rule.pattern}`" in text


def test_versions_agree():
    import tomllib

    from recipevis import __version__

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = YAML(typ="safe", pure=True).load((ROOT / "CITATION.cff").read_text())
    assert project["version"] == __version__ == str(citation["version"])
    assert project["license"] == citation["license"]
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_make_lists_its_targets():
    shown = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE).group(1).split()
    assert [line.split()[1] for line in shown.splitlines()] == phony


@pytest.mark.parametrize("asks_all", ["", "1"])
def test_retry_asks_again_and_trains_nothing(asks_all):
    shown = subprocess.run(["make", "-n", "retry", f"ALL={asks_all}"], cwd=ROOT, capture_output=True, text=True)
    lines = [line.strip() for line in shown.stdout.splitlines() if "dvc repro " in line and "echo" not in line]
    again = [f"dvc repro --force --single-item {stage}" for stage in ("download", "frames")]
    asked = [f"RECIPEVIS_ASK_ALL=1 {line}" if asks_all else line for line in again]
    assert lines == ["dvc repro annotations", *asked, "dvc repro manifest"]
    text = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    assert all(f"`{line}`" in text for line in ("dvc repro annotations", *again, "dvc repro manifest"))
