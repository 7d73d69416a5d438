"""Configuration of all tests: they run in the project's root, with markers and an order by folder."""

import os
import signal

import pytest
from hypothesis import settings
from made_once import made_once, run_folder
from paths import ROOT

# The hub's client reads this when it is imported, perhaps already while tests are collected.
os.environ["HF_HUB_OFFLINE"] = "1"
# If a shell runs the tests in the background, they and the programs that they start would ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Waiting threads must not spin: tests run in parallel, and each would use all cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# No deadline: the time of an example varies with the load by other processes.
settings.register_profile("calm", deadline=None)
settings.load_profile("calm")

# Markers by the folder of the test file: `quick` tests are of single modules, `slow` tests wait for minutes.
MARKERS = {"unit": "quick", "cluster": "slow", "environments": "slow"}
# The folders whose files take longest come first, so that no process has to start a long one at the end.
LONGEST = ("cluster", "environments", "workflow", "export", "engines")


def folder_of(path):
    return path.relative_to(ROOT / "tests").parts[0]


def marker_of(path):
    return MARKERS.get(folder_of(path))


def pytest_ignore_collect(collection_path, config):
    """If one of the markers is selected, do not collect files without it: their imports take seconds."""
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


def pytest_assertrepr_compare(op, left, right):
    """Name the files whose contents differ: pytest would print all of their bytes."""
    if op != "==" or not all(isinstance(side, dict) for side in (left, right)):
        return None
    contents = [*left.values(), *right.values()]
    if not contents or not all(isinstance(content, bytes) for content in contents):
        return None
    differing = sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))
    return [f"{len(differing)} files differ", *(f"  {name}" for name in differing)]


@pytest.fixture(autouse=True)
def in_the_projects_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory):
    from tiny import save_tiny_model

    return made_once(run_folder(tmp_path_factory) / "tiny", save_tiny_model)
