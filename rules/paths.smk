"""Where files are looked for: the workflow's own in its folder, users' in the working directory first."""

import sys
from pathlib import Path


def workflow_folder():
    """Return the workflow's folder; where Snakemake reads it from a repository (github, gitlab), a copy of it."""
    rules_folder = workflow.current_basedir
    if hasattr(rules_folder, "hosted_repo"):
        return checked_out(rules_folder)
    return Path(str(rules_folder)).resolve().parent


def checked_out(rules_folder):
    """Return a copy of the workflow's files at a commit of a repository, below Snakemake's folder for its records.

    It has one place for all commits, for a changed path would make every result stale. So it is copied while no other
    run works here; jobs of a cluster read what the Snakemake that submitted them has copied.
    """
    import shutil
    import subprocess
    import tarfile
    import tempfile

    copy = Path.cwd() / ".snakemake" / "mothertongue" / "workflow"
    if not workflow.is_main_process:
        return copy
    git = ["git", "-C", str(rules_folder.hosted_repo.repo_clone)]
    commit = subprocess.check_output([*git, "rev-parse", f"{rules_folder.ref}^{{commit}}"], text=True).strip()
    record = copy.parent / "commit"
    if copy.is_dir() and record.is_file() and record.read_text() == commit:
        return copy
    if any(Path(".snakemake", "locks").glob("*")):
        sys.exit(f"error: another run in this folder uses another version of the workflow than {commit}; wait for it")
    if "mothertongue" in sys.modules:
        sys.exit("error: two modules are of different versions of the workflow; one Snakefile can use one version")
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
if not Path(WORKFLOW_FOLDER, "scripts", "mothertongue").is_dir():
    sys.exit(
        f"error: {WORKFLOW_FOLDER}: the workflow's files are not here; name the Snakefile of a clone, or github(...)"
    )
# At the end of the path: a script's name must not hide a package from Snakemake.
sys.path.append(str(WORKFLOW_FOLDER / "scripts"))

import mothertongue
from mothertongue.workflow import snakemake_internals
from mothertongue.workflow.places import Places, home_of

if not Path(mothertongue.__file__).is_relative_to(WORKFLOW_FOLDER / "scripts"):
    sys.exit(
        f"error: {Path(mothertongue.__file__).parent} is in use beside {WORKFLOW_FOLDER}; one Snakefile can use one clone"
    )

places = Places(home_of(WORKFLOW_FOLDER, Path.cwd()), local)
own, found, library = places.own, places.found, places.library
# Whether another workflow uses this one.
IS_MODULE = snakemake_internals.is_module(workflow)
