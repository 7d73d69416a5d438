"""Licences of models: those that forbid commercial use must be asked for."""

import re

from mothertongue.errors import UserError

_NONCOMMERCIAL = re.compile(r"(^|[^a-z])nc([^a-z]|$)|non-?commercial", re.IGNORECASE)


def is_noncommercial(licence: str | None) -> bool:
    """Whether a licence's name says that commercial use is forbidden, as cc-by-nc-4.0 does."""
    return bool(licence and _NONCOMMERCIAL.search(licence))


def check(licence: str | None, model: str) -> None:
    """Raise UserError where a model's licence forbids commercial use; what is made with the model inherits that."""
    if is_noncommercial(licence):
        raise UserError(
            f"the licence of {model} ({licence}) forbids commercial use; "
            "set translation.allow_noncommercial to true (by hand: --allow-noncommercial) to use it all the same"
        )
