"""Every test runs in the project's root."""

import os
import signal

import pytest
from hypothesis import settings
from made_once import made_once, run_folder
from paths import ROOT

# Read when the hub's client is imported, which may be while tests are collected.
os.environ["HF_HUB_OFFLINE"] = "1"
# A shell in whose background the tests run has them ignore Ctrl-C, and with them the programs that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Threads that wait must not spin: tests run side by side, on as many cores as each of them would take.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# How long an example takes says nothing where others compute beside it.
settings.register_profile("calm", deadline=None)
settings.load_profile("calm")

# By the folder of a test file: `quick` ones are of single modules, `slow` ones wait for minutes.
MARKERS = {"unit": "quick", "cluster": "slow", "environments": "slow"}
# The folders whose files take longest: they begin first, so that no process is left with a long one at the end.
LONGEST = ("workflow", "export", "engines")


def folder_of(path):
    return path.relative_to(ROOT / "tests").parts[0]


def marker_of(path):
    return MARKERS.get(folder_of(path))


def pytest_ignore_collect(collection_path, config):
    """Where one of the markers is asked for, leave files without it unread: their imports take seconds."""
    asked = config.option.markexpr
    if asked in MARKERS.values() and collection_path.name.startswith("test_") and marker_of(collection_path) != asked:
        return True
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        marker = marker_of(item.path)
        if marker and not item.get_closest_marker("costly"):
            item.add_marker(marker)
    items.sort(key=lambda item: [*LONGEST, folder_of(item.path)].index(folder_of(item.path)))


@pytest.fixture(autouse=True)
def in_the_projects_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory):
    from tiny import save_tiny_model

    return made_once(run_folder(tmp_path_factory) / "tiny", save_tiny_model)
