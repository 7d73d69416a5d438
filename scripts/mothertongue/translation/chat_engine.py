"""What engines add to their interface that read whole messages: chat models, which use what is around a segment."""

from abc import ABC, abstractmethod

from mothertongue.translation.documents import Documents
from mothertongue.translation.glossary import Glossary

# As RETRIES: whatever check a translation fails, another attempt may pass it.
ANY = frozenset({"any"})


class ReadsMessages(ABC):
    """An engine that translates the lines of a message together, as they are."""

    @abstractmethod
    def read(self, documents: Documents, glossary: Glossary | None) -> None:
        """Take the messages around the segments that follow, and the terms that are to be told."""

    @abstractmethod
    def faults(self, segment: str) -> tuple[str, ...]:
        """Return what was wrong with the last answer about a segment, as reasons of its message."""
