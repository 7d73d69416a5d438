"""Where files are looked for: the workflow's own in its folder, users' in the working directory first."""

import sys
from pathlib import Path


def workflow_folder():
    """Return the workflow's folder; where Snakemake reads it from a repository (github, git+file), a copy of it."""
    rules_folder = workflow.current_basedir
    if not hasattr(rules_folder, "ref"):
        return Path(str(rules_folder)).resolve().parent
    return checked_out(rules_folder)


def checked_out(rules_folder):
    """Return a copy of the workflow's files at a commit of a repository, below Snakemake's folder for its records.

    Jobs of a cluster read what the Snakemake that submitted them has copied.
    """
    import shutil
    import subprocess
    import tarfile
    import tempfile

    copy = Path.cwd() / ".snakemake" / "mothertongue" / "workflow"
    if not workflow.is_main_process:
        return copy
    repository = rules_folder.hosted_repo.repo_clone if hasattr(rules_folder, "hosted_repo") else rules_folder.repo_path
    git = ["git", "-C", str(repository)]
    commit = subprocess.check_output([*git, "rev-parse", f"{rules_folder.ref}^{{commit}}"], text=True).strip()
    record = copy.parent / "commit"
    if not copy.is_dir() or not record.is_file() or record.read_text() != commit:
        copy.parent.mkdir(parents=True, exist_ok=True)
        record.unlink(missing_ok=True)
        inside = Path(rules_folder.path).parent.as_posix().removeprefix(".")
        with tempfile.TemporaryFile() as packed:
            subprocess.run([*git, "archive", f"{commit}:{inside}"], stdout=packed, check=True)
            packed.seek(0)
            shutil.rmtree(copy, ignore_errors=True)
            with tarfile.open(fileobj=packed) as files:
                files.extractall(copy, filter="data")
        # As old as this copy, and not as the commit, which may be older than what another commit has built.
        for path in copy.rglob("*"):
            path.touch()
        record.write_text(commit)
    return copy


WORKFLOW_FOLDER = workflow_folder()
# At the end of the path: a script's name must not hide a package from Snakemake.
sys.path.append(str(WORKFLOW_FOLDER / "scripts"))

from mothertongue.workflow.places import Places, home_of

places = Places(home_of(WORKFLOW_FOLDER, Path.cwd()), local)
own, found, library = places.own, places.found, places.library
