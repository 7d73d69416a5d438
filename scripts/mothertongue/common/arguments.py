"""Types of command-line arguments for argparse, which reject invalid values."""

import argparse


def positive(text: str) -> int:
    """Parse a whole number above zero."""
    return _at_least(1, text)


def natural(text: str) -> int:
    """Parse a whole number from zero."""
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None
    if number < least:
        raise argparse.ArgumentTypeError(f"{number} is below {least}")
    return number
