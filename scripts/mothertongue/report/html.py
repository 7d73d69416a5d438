"""Self-contained HTML pages from the templates in report/: one file each, without network access."""

import base64
from pathlib import Path
from typing import Any

from mothertongue.common.languages import direction
from mothertongue.common.progress import duration
from mothertongue.common.version import version
from mothertongue.evaluation.estimate import NOT_MEASURED


def render(template: Path, **values: Any) -> str:
    """Return a page from its template and the style.css beside it; markup in the values is escaped."""
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
        "points": lambda found: found.points() if found else NOT_MEASURED,
        "change": lambda found, digits: found.change(digits) if found else NOT_MEASURED,
        "percent": lambda value: NOT_MEASURED if value is None else f"{100 * value:.1f}%",
        "decimal": lambda value, digits=2: NOT_MEASURED if value is None else f"{value:.{digits}f}",
        "duration": lambda seconds: NOT_MEASURED if seconds is None else duration(seconds),
        "gigabytes": lambda megabytes: NOT_MEASURED if megabytes is None else f"{megabytes / 1000:.1f} GB",
        "picture": picture,
        "direction": direction,
    }
    style = (template.parent / "style.css").read_text(encoding="utf-8")
    return environment.get_template(template.name).render(
        style=style, not_measured=NOT_MEASURED, version=version(), **values
    )


def count(number: int | None) -> str:
    """Return a number with thousands separators; "not measured" for None."""
    return NOT_MEASURED if number is None else f"{number:,}"


def picture(svg: str) -> str:
    """Return an SVG picture as a data URL, which keeps its styles and names apart from the page's."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
