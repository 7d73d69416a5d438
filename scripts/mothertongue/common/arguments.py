"""Types of command-line arguments: what does not fit is refused in its one line."""

import argparse


def positive(text: str) -> int:
    """A whole number above zero."""
    return _at_least(1, text)


def natural(text: str) -> int:
    """A whole number, zero or above."""
    return _at_least(0, text)


def batch(text: str) -> int:
    """A number of tokens that a batch can have."""
    return _at_least(64, text)


def _at_least(least: int, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None
    if number < least:
        raise argparse.ArgumentTypeError(f"{number} is below {least}")
    return number
