"""Tests of the models' lock file: references without a commit are pinned by the checksums of their files."""

import json

import pytest

from mothertongue.common.errors import UserError
from mothertongue.models import lockfile
from mothertongue.models.references import Reference, parse


def released(folder, content):
    (folder / "fetched.json").write_text(
        json.dumps(
            {"reference": "x", "kind": "firefox", "revision": "1", "licence": None, "files": {"model.bin": content}}
        )
    )


def test_a_changed_release_is_refused_until_its_entry_is_deleted(tmp_path):
    lock, firefox = tmp_path / "lock.json", parse("firefox:en/nl")
    assert lockfile.pin(lock, firefox) is firefox and not lock.exists()
    for content in ("first", "first"):
        released(tmp_path, content)
        lockfile.check_fetched(lock, firefox, tmp_path)
    released(tmp_path, "second")
    with pytest.raises(UserError, match=r"'firefox:en/nl': model.bin is not what .*lock.json has of revision newest"):
        lockfile.check_fetched(lock, firefox, tmp_path)
    lock.unlink()
    lockfile.check_fetched(lock, firefox, tmp_path)


def test_a_package_is_pinned_by_its_version(tmp_path, capsys):
    lock, package = tmp_path / "lock.json", parse("package:yaml/loader.py")
    assert lockfile.pin(lock, package) == package == lockfile.pin(lock, package)
    entries = json.loads(lock.read_text())
    version, files = entries["package:yaml/loader.py"]["revision"], entries["package:yaml/loader.py"]["files"]
    assert list(files) == ["loader.py"]
    lock.write_text(json.dumps({package.text: {"revision": version, "files": {"loader.py": "0" * 64}}}))
    with pytest.raises(UserError, match=f"loader.py is not what .* has of revision {version}"):
        lockfile.pin(lock, package)
    # Another version of the package is another model; the environments pin the version.
    lock.write_text(json.dumps({package.text: {"revision": "0.1", "files": {"loader.py": "0" * 64}}}))
    lockfile.pin(lock, package)
    assert json.loads(lock.read_text()) == entries and "had 0.1" in capsys.readouterr().err


def test_local_folders_and_fetches_by_hand_are_not_locked(tmp_path):
    folder = Reference(str(tmp_path), "folder")
    assert lockfile.pin(tmp_path / "lock.json", folder) is folder and not (tmp_path / "lock.json").exists()
    assert lockfile.pin(None, parse("owner/name")) == parse("owner/name")
