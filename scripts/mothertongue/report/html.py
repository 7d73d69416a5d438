"""Pages for a browser, from the templates in report/: one file each, that asks nothing of a network."""

import base64
from pathlib import Path
from typing import Any

from mothertongue.common.languages import direction
from mothertongue.common.progress import duration
from mothertongue.evaluation.estimate import NOT_MEASURED


def render(template: Path, **values: Any) -> str:
    """A page from its template, with the style beside it. What is put in is text: markup in it is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": count,
        "share": lambda measured: measured.share() if measured else NOT_MEASURED,
        "number": lambda measured, digits: measured.number(digits) if measured else NOT_MEASURED,
        "percent": lambda value: NOT_MEASURED if value is None else f"{100 * value:.1f}%",
        "decimal": lambda value, digits=2: NOT_MEASURED if value is None else f"{value:.{digits}f}",
        "duration": lambda seconds: NOT_MEASURED if seconds is None else duration(seconds),
        "gigabytes": lambda megabytes: NOT_MEASURED if megabytes is None else f"{megabytes / 1000:.1f} GB",
        "picture": picture,
        "direction": direction,
    }
    style = (template.parent / "style.css").read_text(encoding="utf-8")
    return environment.get_template(template.name).render(style=style, not_measured=NOT_MEASURED, **values)


def count(number: int | None) -> str:
    """A number with its thousands apart."""
    return NOT_MEASURED if number is None else f"{number:,}"


def picture(svg: str) -> str:
    """An SVG picture as an address that holds it whole: its styles and names stay its own."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
