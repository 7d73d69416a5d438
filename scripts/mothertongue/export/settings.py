"""The settings of exports: arguments of scripts/merge.py and scripts/calibrate.py, and keys of `export`."""

from dataclasses import dataclass
from typing import Literal

from mothertongue.common.settings import setting


@dataclass(frozen=True)
class MergeSettings:
    """The weights that an adapter is merged into."""

    merge_base: Literal["full", "dequantized"] = setting(
        "full", "of an adapter that is trained in nf4: the base model's own weights, or those 4-bit ones",
        manual="what an adapter that was tuned on `nf4` is merged into: `full`, the base model's weights as they were "
        "fetched, or `dequantized`, the 4-bit ones ([more](../stages/exporting.md))",
    )  # fmt: skip


@dataclass(frozen=True)
class CalibrationSettings:
    """The calibration of the rounding of GPTQ and AWQ."""

    sequences: int = setting(
        128, "pieces of threads to read", key="calibration.sequences", at_least=1,
        manual="pieces of threads that the rounding of `gptq` and `awq` is fitted to",
    )  # fmt: skip
    length: int = setting(
        2048, "tokens of a piece", key="calibration.length", at_least=32, expected="a whole number of tokens from 32",
        manual="tokens of a piece, at most the model's window",
    )  # fmt: skip
    steps: int = setting(
        200, "how often the rounding of a layer is improved; 0 rounds to the nearest", key="calibration.steps",
        at_least=0, expected="a whole number; 0 rounds to the nearest",
        manual="steps for a block of layers; 0 rounds to the nearest",
    )  # fmt: skip
