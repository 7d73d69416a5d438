"""Tests of the atomic writing of files and folders: outputs are complete or absent, also after a killed run."""

import errno
import fcntl
import os
import random
import resource
import signal
import subprocess
import sys

import pytest

from mothertongue.common.atomic_files import alone, atomic_file, atomic_folder, is_full, lock, scratch_folder
from mothertongue.common.errors import UserError


def test_no_output_appears_if_writing_fails(tmp_path):
    with pytest.raises(RuntimeError), atomic_file(tmp_path / "a" / "file") as partial:
        partial.write_text("half")
        raise RuntimeError
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "folder") as partial:
        (partial / "file").write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["a"]


def test_an_unwritable_path_is_reported_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for where, writing in (
        ("file/a", atomic_file),
        ("file/a", atomic_folder),
        (".", atomic_file),
        ("file", atomic_folder),
    ):
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
    """Limit the size of files to 4 KB during the test."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("write", [lambda path: path.write_bytes(bytes(9999)), write_parquet, write_weights])
def test_a_full_disk_is_reported_in_one_line_and_leaves_no_files(tmp_path, little_space, write):
    for kind in (atomic_file, atomic_folder, scratch_folder):
        expected = f"{tmp_path / 'output'}: no space left for it .* make room"
        with pytest.raises(UserError, match=expected), kind(tmp_path / "output") as partial:
            write(partial if kind is atomic_file else partial / "file")
        assert not list(tmp_path.iterdir())


def test_other_errors_are_not_mistaken_for_a_full_disk(tmp_path):
    assert not any(is_full(error, tmp_path) for error in (RuntimeError("a bug"), OSError("odd"), FileNotFoundError(2)))
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "output"):
        (tmp_path / "none").read_bytes()


def test_partial_output_of_a_killed_process_is_removed(tmp_path):
    (tmp_path / ".folder.partial").mkdir()
    (tmp_path / ".folder.partial" / "old").write_text("old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "older").write_text("older")
    with atomic_folder(tmp_path / "folder") as partial:
        (partial / "new").write_text("new")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["new"]
    (tmp_path / ".file.partial").write_text("old")
    with atomic_file(tmp_path / "file") as partial:
        partial.write_text("new")
    assert (tmp_path / "file").read_text() == "new"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("kind", ["atomic_file", "atomic_folder"])
def test_two_running_processes_never_write_the_same_output(tmp_path, kind):
    program = (
        f"from pathlib import Path; from mothertongue.common.atomic_files import {kind}\n"
        f"with {kind}(Path({str(tmp_path / 'output')!r})): print('ready', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="scripts"
    ) as other:
        assert other.stdout.readline() == b"ready\n"
        context = {"atomic_file": atomic_file, "atomic_folder": atomic_folder}[kind]
        with pytest.raises(UserError, match="another process is writing it"), context(tmp_path / "output"):
            pass
        other.communicate(b"\n")
    assert (tmp_path / "output").exists()


@pytest.mark.parametrize(
    ("writing", "link"),
    [(atomic_file, ".output.partial"), (atomic_folder, ".output.partial"), (scratch_folder, "output"),
     (atomic_file, ".output.lock"), (atomic_folder, ".output.lock")],
)  # fmt: skip
def test_a_link_in_place_of_a_written_path_is_refused_and_not_followed(tmp_path, writing, link):
    (tmp_path / "others").mkdir()
    (tmp_path / "others/file").write_text("theirs")
    for target in ("others", "others/file", "others/none"):
        (tmp_path / link).symlink_to(tmp_path / target)
        with pytest.raises(UserError, match=f"{link}: a link is there"), writing(tmp_path / "output") as place:
            (place if writing is atomic_file else place / "file").write_text("ours")
        (tmp_path / link).unlink()
    assert [path.name for path in tmp_path.rglob("*")] == ["others", "file"]
    assert (tmp_path / "others/file").read_text() == "theirs"


def test_the_results_folder_may_be_a_link_to_another_disk(tmp_path):
    for name in ("disk/nl", "disk/old"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "disk/old/file").write_text("old")
    (tmp_path / "results").symlink_to("disk")
    (tmp_path / "disk/nl/output").symlink_to(tmp_path / "disk/old")
    with atomic_folder(tmp_path / "results/nl/output") as partial:
        (partial / "file").write_text("new")
    # The link is replaced; its target is not changed.
    assert (tmp_path / "disk/nl/output/file").read_text() == "new"
    assert (tmp_path / "disk/old/file").read_text() == "old"


def test_a_hard_link_to_another_file_is_not_written_to(tmp_path):
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / ".output.partial").hardlink_to(tmp_path / "theirs")
    with atomic_file(tmp_path / "output") as partial:
        partial.write_text("ours")
    assert (tmp_path / "theirs").read_text() == "theirs" and (tmp_path / "output").read_text() == "ours"


@pytest.mark.parametrize("odd", [os.mkfifo, os.mkdir])
def test_an_invalid_lock_file_is_reported_without_blocking(tmp_path, odd):
    odd(tmp_path / ".output.lock")
    with (
        pytest.raises(UserError, match=r"output: \.output\.lock is not|output: Is a"),
        atomic_file(tmp_path / "output"),
    ):
        pass
    with pytest.raises(OSError):
        lock(tmp_path / ".output.lock")


def test_a_lock_is_released_and_leaves_no_file(tmp_path):
    output, refused = tmp_path / "output", pytest.raises(UserError, match="another process is writing it")
    with alone(output), refused, alone(output):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("answer", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF])
def test_a_file_system_without_locks_can_be_written_to(tmp_path, monkeypatch, answer):
    def refuse(*_):
        raise OSError(answer, os.strerror(answer))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with atomic_file(tmp_path / "file") as partial, atomic_folder(tmp_path / "folder"):
        partial.write_text("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


# Writes outputs of a single letter again and again; a refusal because another process writes the output is expected.
WRITER = """
import sys
from pathlib import Path
from mothertongue.common.errors import UserError
from mothertongue.common.atomic_files import atomic_file, atomic_folder

folder, letter, times = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for _ in range(times):
    try:
        with atomic_file(folder / "file") as partial, partial.open("w") as file:
            for _ in range(20):
                file.write(letter * 5000)
                file.flush()
        with atomic_folder(folder / "folder") as partial:
            for number in range(20):
                (partial / str(number)).write_text(letter)
        print(flush=True)
    except UserError as error:
        assert "another process is writing it" in str(error), error
"""


def test_concurrent_and_killed_writers_never_mix_or_damage_an_output(tmp_path):
    def start(letter, times):
        command = [sys.executable, "-c", WRITER, str(tmp_path), letter, str(times)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="scripts")

    chance = random.Random(1)
    victims = [start(letter, 10**9) for letter in "abc"]
    others = [start(letter, 60) for letter in "def"]
    for victim in victims:
        for _ in range(chance.randrange(1, 9)):
            victim.stdout.readline()
        victim.send_signal(signal.SIGKILL)
    for process in victims + others:
        _, error = process.communicate()
        assert process.returncode == (-signal.SIGKILL if process in victims else 0) and not error, error
    text = (tmp_path / "file").read_text()
    assert len(text) == 100_000 and len(set(text)) == 1
    # The remains of the killed processes block no later writer.
    with atomic_file(tmp_path / "file") as partial, atomic_folder(tmp_path / "folder") as folder:
        partial.write_text("last")
        (folder / "only").write_text("last")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder", "only"]
