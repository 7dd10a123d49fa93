"""The pages' templates: one style and layout, whichever package a page is in."""

from pathlib import Path
from typing import Any

import jinja2

_SHARED = Path(__file__).parent  # base.html, style.css, strips.html, strips.js


def render(template: Path, **values: Any) -> str:
    """A page. It escapes whatever it is given: sentences, ids, reasons.

    Args:
        template: a file that extends `base.html`.
        values: what it shows.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, _SHARED]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(**values)
