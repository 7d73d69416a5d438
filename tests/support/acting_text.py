"""What of a text a terminal obeys."""

import unicodedata

BIDIRECTIONAL = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def acts(text):
    """The characters of a text that a terminal does not print but obey."""
    return [
        letter
        for letter in text
        if (unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") and letter not in "\n\t")
        or unicodedata.bidirectional(letter) in BIDIRECTIONAL
    ]
