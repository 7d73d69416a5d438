"""Outputs appear whole or not at all, whatever an earlier process left."""

import resource
import subprocess
import sys

import pytest

from mothertongue.errors import UserError
from mothertongue.files import is_full, scratch_folder, whole_file, whole_folder


def test_nothing_appears_where_writing_fails(tmp_path):
    with pytest.raises(RuntimeError), whole_file(tmp_path / "a" / "file") as partial:
        partial.write_text("half")
        raise RuntimeError
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "folder") as partial:
        (partial / "file").write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["a"]


def test_a_place_that_cannot_be_written_to_is_said_in_a_line(tmp_path):
    (tmp_path / "file").write_text("")
    for where, writing in (("file/a", whole_file), ("file/a", whole_folder), (".", whole_file), ("file", whole_folder)):
        with pytest.raises(UserError, match=str(tmp_path)), writing(tmp_path / where):
            pass


def write_parquet(path):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"text": [str(number) for number in range(9999)]}), path)


def write_weights(path):
    import torch
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(9999)}, path)


@pytest.fixture
def little_space():
    """No file can be longer than 4 KB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("write", [lambda path: path.write_bytes(bytes(9999)), write_parquet, write_weights])
def test_a_full_disk_is_said_in_a_line_and_nothing_is_left(tmp_path, little_space, write):
    for kind in (whole_file, whole_folder, scratch_folder):
        expected = f"{tmp_path / 'output'}: no space left for it .* make room"
        with pytest.raises(UserError, match=expected), kind(tmp_path / "output") as partial:
            write(partial if kind is whole_file else partial / "file")
        assert not list(tmp_path.iterdir())


def test_an_error_is_not_taken_for_a_full_disk(tmp_path):
    assert not any(is_full(error, tmp_path) for error in (RuntimeError("a bug"), OSError("odd"), FileNotFoundError(2)))
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "output"):
        (tmp_path / "none").read_bytes()


def test_what_a_killed_process_left_is_cleared(tmp_path):
    (tmp_path / ".folder.partial").mkdir()
    (tmp_path / ".folder.partial" / "old").write_text("old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "older").write_text("older")
    with whole_folder(tmp_path / "folder") as partial:
        (partial / "new").write_text("new")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["new"]
    (tmp_path / ".file.partial").write_text("old")
    with whole_file(tmp_path / "file") as partial:
        partial.write_text("new")
    assert (tmp_path / "file").read_text() == "new"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("kind", ["whole_file", "whole_folder"])
def test_two_living_processes_never_write_the_same_output(tmp_path, kind):
    program = (
        f"from pathlib import Path; from mothertongue.files import {kind}\n"
        f"with {kind}(Path({str(tmp_path / 'output')!r})): print('ready', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="scripts"
    ) as other:
        assert other.stdout.readline() == b"ready\n"
        context = {"whole_file": whole_file, "whole_folder": whole_folder}[kind]
        with pytest.raises(UserError, match="another process is writing it"), context(tmp_path / "output"):
            pass
        other.communicate(b"\n")
    assert (tmp_path / "output").exists()
