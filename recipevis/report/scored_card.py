"""The card of an evaluated model: its card with the scores, for readers and for the hub."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard

from recipevis.evaluation import metrics
from recipevis.evaluation.rows import MODES
from recipevis.report.model_card import number, save

_BEFORE = "## Limits"  # the section that the scores precede


def write(path: Path, card: Path, model: str, scores: Mapping[str, Any]) -> None:
    """Write a card with scores.

    Args:
        path: where it goes.
        card: the model's card without scores.
        model: its name, `config.model_name`.
        scores: `metrics.json`: the headline metrics, and the same under `teacher_forced`.
    """
    scored = ModelCard.load(card)
    shown = [metric for name, metric in metrics.named().items() if name in scores]
    scored.data.model_name = f"recipevis-{model.replace(', ', '-').replace(' ', '-')}"
    scored.data.eval_results = [
        EvalResult(
            task_type="text-to-image",
            dataset_type="recipes",
            dataset_name="validation recipes, generated autoregressively",
            metric_type=metric.name,
            metric_name=f"{metric.heading} ({metric.direction})",
            metric_value=float(number(scores[metric.name])),
        )
        for metric in shown
        if scores[metric.name] is not None
    ]
    scored.text = scored.text.replace(_BEFORE, f"{_section(scores, shown)}\n{_BEFORE}")
    save(scored, path)


def _section(scores: Mapping[str, Any], shown: list[metrics.Metric]) -> str:
    second = scores[MODES[1]]
    lines = [
        "## Scores",
        "",
        "Generated images against the ground truth, over all steps of the validation recipes. Autoregressive: each",
        "step uses the image generated for the step before. Teacher-forced: it uses the ground truth. The report adds",
        "baselines, an upper bound and intervals.",
        "",
        "| | | autoregressive | teacher-forced | |",
        "|---|---|---:|---:|---|",
        *(
            f"| {metric.heading} | {metric.direction} | {number(scores[metric.name])} | {number(second[metric.name])} "
            f"| {metric.description} |"
            for metric in shown
        ),
    ]
    return "\n".join(lines) + "\n"
