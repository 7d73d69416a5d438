"""Tests of what the rules use of evaluations: the files of the harness's tasks."""

from pathlib import Path
from types import SimpleNamespace

from mothertongue.workflow import settings
from mothertongue.workflow.adapters import Adapters
from mothertongue.workflow.configuration import lay_over
from mothertongue.workflow.evaluations import Evaluations
from mothertongue.workflow.places import Places


def test_the_files_that_a_task_names_are_inputs_too(tmp_path):
    """The harness reads them: an edit of one makes what it measured stale."""
    texts = {
        "task.yaml": "task: mine\ninclude: [base_yaml, ../shared/more.yaml]\nprocess_docs: !function utils.only_short\n",
        "base_yaml": "include: task.yaml\nmetric_list:\n  - {metric: acc, aggregation: !function metrics.mean}\n",
        "../shared/more.yaml": "include: nowhere.yaml\n",
        "utils.py": "include = 'unused.yaml'\n",
        "metrics.py": "",
        "unused.yaml": "task: other\n",
        "broken.yaml": "task: [\n",
    }
    for name, text in texts.items():
        path = tmp_path / "tasks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "shared").mkdir(exist_ok=True)
        path.write_text(text)
    own = [str(tmp_path / "tasks" / name) for name in ("task.yaml", "broken.yaml")]
    config = lay_over(settings.defaults(), {"evaluation": {"harness": ["belebele_nld_Latn", *own]}})
    found = Evaluations(config, Places(), Adapters(config, Places())).task_files(SimpleNamespace(lang="nl"))
    assert found[0] == own[0]
    names = [str(Path(path).resolve().relative_to(tmp_path)) for path in found]
    used = ["base_yaml", "broken.yaml", "metrics.py", "task.yaml", "utils.py"]
    assert sorted(names) == sorted([*(f"tasks/{name}" for name in used), "shared/more.yaml"])
