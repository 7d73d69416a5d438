"""Tests of the manual: the site builds without a warning, and links of the repository's pages lead somewhere."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mothertongue.workflow import dry_run

PAGES = [
    Path("README.md"),
    Path("CONTRIBUTING.md"),
    Path("CHANGELOG.md"),
    Path("SECURITY.md"),
    Path("config/README.md"),
]


def test_the_site_builds_without_a_warning(tmp_path):
    shutil.copytree("docs", tmp_path / "docs")
    shutil.copy("zensical.toml", tmp_path)
    program = Path(sys.executable).with_name("zensical")
    done = subprocess.run([program, "build", "--strict", "--clean"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "No issues found" in done.stdout + done.stderr, done.stdout + done.stderr
    site = tmp_path / "results/docs"
    pages = {path.relative_to("docs").with_suffix(".html") for path in Path("docs").rglob("*.md")}
    assert pages < {path.relative_to(site) for path in site.rglob("*.html")}
    assert "source.shards" in (site / "search.json").read_text(encoding="utf-8")
    loaded = re.findall(
        r"<(?:script|link|img)[^>]+(?:src|href)=\"?(https?:[^\" >]+)", (site / "index.html").read_text()
    )
    assert not [url for url in loaded if "canonical" not in url], "the site loads something from elsewhere"


def test_the_manual_names_what_every_rule_makes():
    page = Path("docs/reference/files.md").read_text(encoding="utf-8")
    rules = [
        name for name in dry_run.read_rules(sorted(Path("rules").glob("*.smk"))) if not name.startswith("unknown_")
    ]
    assert len(rules) > 30 and not [name for name in rules if f"`{name}`" not in page]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_of_the_repositorys_pages_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)]+))?\)", page.read_text(encoding="utf-8")):
        path = page.parent / target if target else page
        assert path.exists(), f"{page}: {target}"
        if anchor:
            titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}, (
                target,
                anchor,
            )
