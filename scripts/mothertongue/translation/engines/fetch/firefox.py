"""Fetch Firefox Translations models: released ones from Mozilla's service, or any other reference."""

import shutil
from pathlib import Path

from mothertongue.common.errors import UserError
from mothertongue.models import fetching
from mothertongue.models.references import Reference
from mothertongue.translation.engines.firefox import Firefox
from mothertongue.translation.settings import EngineSettings


def fetch(engine: type[Firefox], reference: Reference, folder: Path) -> None:
    """Fetch a model and test it with one word.

    Raise UserError where the service cannot be reached, or the download has no Firefox model or a damaged one.
    """
    if reference.kind == "firefox":
        fetching.write_record(folder, reference, _download(reference, folder))
    else:
        fetching.fetch(reference, folder, weights=("*.bin",))
    try:
        running = engine(folder, EngineSettings())
        running.check()
        running.close()
    except UserError as error:
        raise UserError(str(error).replace(str(folder), reference.text)) from None


def _download(reference: Reference, folder: Path) -> fetching.Resolved:
    """Copy the newest released model of a pair into `folder`, through fxtranslate's own cache.

    Where the service cannot be reached, use the files that `fxtranslate models add` stored there before.
    """
    from fxtranslate import Cache, discovery

    source, target = reference.firefox_pair
    cache, name = Cache(), f"{source}-{target}"
    try:
        route = discovery.add_models(source, target, progress=False)
        if route["kind"] != "direct":
            raise UserError(f"'{reference.text}': Mozilla has no model for this pair")
    except ValueError as error:
        if not cache.pair_files(name):
            raise UserError(
                f"cannot fetch '{reference.text}' from Mozilla's service: {error}; without a network, fetch it where "
                f"there is one (fxtranslate models add {source} {target}) and name its local folder"
            ) from None
    for _, _, path in cache.pair_files(name):
        shutil.copy(path, folder)
    return fetching.Resolved(None, fetching.licence(reference))
