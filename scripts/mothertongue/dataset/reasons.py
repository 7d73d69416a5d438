"""The reasons of a message: which are objections, which tell of a cure, and which only note what was done."""

# Marks what a second attempt cured; it follows `pivot: ` where the check failed on the pivot's English.
CURED = "cured: "
# What people did: a correction, a verdict of wrong without one, an objection that a person overruled.
CORRECTED, WRONG, APPROVED = "corrected", "judged wrong", "approved: "
# What came off is no objection, nor what was read in a third language.
_REMOVED = ("emphasis removed", "capitals removed")
_READ = "translated from: "
# What a teacher did not read is no objection to what it wrote.
_SHORTENED = "earlier turns left out"


def kind_of(reason: str, status: str) -> tuple[str, str]:
    """Return the kind of a message's reason, an objection (`reasons`), `cured` or `notes`, and its name."""
    if reason.startswith(CORRECTED):
        # Who corrected it, and when, is told of each message.
        return "notes", CORRECTED
    if not reason.startswith(APPROVED) and CURED in reason:
        return "cured", reason.replace(CURED, "")
    return ("reasons" if status in ("flagged", "failed") and may_object(reason) else "notes"), reason


def may_object(reason: str) -> bool:
    """Return whether a reason is one for which a message is flagged; a third language is one where it is most of it."""
    noted = CURED in reason or _READ in reason or reason == _SHORTENED
    return not noted and not reason.startswith((CORRECTED, APPROVED)) and not reason.endswith(_REMOVED)
