"""Tests of finding, with squeue, the Slurm jobs of an earlier run."""

from pathlib import Path

import pytest

from mothertongue.common.errors import UserError
from mothertongue.workflow import slurm

HERE = Path("/data/project")
QUEUE = """\
11|/data/project|rule_translate_wildcards_results_nl_en_0
12|/data/project|group_shards
13|/data/other|rule_translate_wildcards_results_nl_en_1
14|/data/project|(null)
"""
# Comments of other programs: with several fields or lines, with invalid encoding, or missing.
OTHERS = """\
777|/home/me|night run | second try|/data/project
778|/data/project|first
rule_of_thumb|/data/project|rule_
779|/data/project
780|/data/project/below|rule_translate
\udcff|rule_translate
781

"""


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """Return a function that installs a squeue that prints each text in turn, then nothing, or that fails."""

    def answer(*texts, code=0):
        for number, text in enumerate(texts):
            (tmp_path / f"answer{number}").write_text(text, errors="surrogateescape")
        tool = tmp_path / "squeue"
        tool.write_text(
            f"#!/bin/sh\ncd {tmp_path}\nn=$(ls asked* 2>/dev/null | wc -l)\n: > asked$n\n"
            f'[ -f answer$n ] && cat answer$n\n[ {code} = 0 ] || echo "cannot reach the controller" >&2\nexit {code}\n'
        )
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        monkeypatch.setattr(slurm, "_PAUSE", 0)

    return answer


def test_only_snakemake_jobs_of_this_folder_are_found(squeue):
    squeue(QUEUE)
    assert slurm.earlier(HERE) == ["11", "12"]


def test_comments_of_other_programs_are_not_mistaken_for_jobs(squeue):
    odd = "/data/a (b) [c|d]+"
    squeue(OTHERS + QUEUE, (OTHERS + QUEUE).replace(str(HERE), odd))
    assert slurm.earlier(HERE) == slurm.earlier(Path(odd)) == ["11", "12"]


def test_a_run_waits_for_the_jobs_of_an_earlier_run(squeue, capsys):
    squeue(QUEUE, QUEUE, QUEUE.splitlines()[1])
    slurm.wait_for_earlier(HERE, same_fingerprint=True)
    assert capsys.readouterr().err.splitlines() == [
        "waiting for 2 Slurm jobs of an earlier run; to cancel them instead: scancel 11 12",
        "waiting for 1 Slurm jobs of an earlier run; to cancel them instead: scancel 12",
    ]


def test_jobs_of_another_configuration_are_refused(squeue):
    squeue(QUEUE)
    with pytest.raises(UserError, match=r"another configuration or other code; .* cancel them: scancel 11 12"):
        slurm.wait_for_earlier(HERE, same_fingerprint=False)


def test_without_slurm_there_are_no_jobs_and_a_failing_squeue_is_an_error(squeue, monkeypatch):
    squeue(code=1)
    with pytest.raises(UserError, match="Slurm does not answer: cannot reach the controller"):
        slurm.earlier(HERE)
    monkeypatch.setenv("PATH", "/nowhere")
    assert slurm.earlier(HERE) == []
