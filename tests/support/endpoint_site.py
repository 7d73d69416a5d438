"""A project whose models are on a server: what test_endpoint.py and test_teacher.py run the real Snakemake in."""

import re
import sys
from pathlib import Path

import pytest
import yaml
from endpoint import Reply
from running import Project, copy_project, sample
from witness import KEY, WITNESS


class Site(Project):
    """A project with the default configuration and a server of its own."""

    def command(self, *arguments: str) -> list[str]:
        options = ["--profile", "profiles/local", "--configfile=mine.yaml", "--printshellcmds"]
        return [sys.executable, "-m", "snakemake", *options, *arguments]


def make_site(root: Path, config: dict, patch: pytest.MonkeyPatch) -> Site:
    """Return a project with an eighth of the sample's English and Portuguese trees, whose programs are watched."""
    copy_project(root)
    site = Site(root)
    rows = [row for row in sample() if row["lang"] in ("en", "pt-BR")]
    trees = list(dict.fromkeys(row["message_tree_id"] for row in rows))[::8]
    site.write_messages([row for row in rows if row["message_tree_id"] in trees])
    (root / "mine.yaml").write_text(yaml.safe_dump(config))
    (root / "witness").mkdir()
    (root / "witness/sitecustomize.py").write_text(WITNESS)
    patch.setenv("ENDPOINT_API_KEY", KEY)
    patch.setenv("PYTHONPATH", str(root / "witness"))
    patch.setenv("WITNESSED", str(root / "witnessed.jsonl"))
    return site


def poorly(body, number):
    """Return the words of each line in Portuguese that says something else; numbers and codes are as they were."""
    asked = body["messages"][-1]["content"].rpartition("Translate:\n")[2]
    found = [re.fullmatch(r"\[\d+\] (.*)", line)[1] for line in asked.splitlines()]
    kept = [" ".join(re.findall(r"XQ\d+|\d[\d.,:]*|[\"“”()\[\]]", line)) for line in found]
    return Reply("\n".join(f"[{at}] Não sei o que dizer agora {text}" for at, text in enumerate(kept, 1)))
