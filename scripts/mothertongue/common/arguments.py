"""Types of command-line arguments for argparse, which reject invalid values."""

import argparse


def positive(text: str) -> int:
    """Parse a whole number above zero."""
    return _at_least(1, text)


def natural(text: str) -> int:
    """Parse a whole number from zero."""
    return _at_least(0, text)


def share(text: str) -> float:
    """Parse a number from 0 to below 1."""
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to below 1")
    return number


def _at_least(least: int, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None
    if number < least:
        raise argparse.ArgumentTypeError(f"{number} is below {least}")
    return number
