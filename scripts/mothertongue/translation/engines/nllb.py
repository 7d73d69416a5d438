"""NLLB-200: one model for 200 languages (Meta, non-commercial), run by CTranslate2.

NLLB Team, "No Language Left Behind: Scaling Human-Centered Machine Translation", 2022 (arXiv:2207.04672).
"""

from mothertongue.translation.engines.multilingual import Multilingual


class NLLB(Multilingual):
    """NLLB-200 on M2M100's architecture, with language tokens such as nld_Latn."""

    NAME = "nllb"
    MODEL = "facebook/nllb-200-distilled-600M"
    FAMILY = "facebook/nllb-"
    LICENCE = UNMARKED_LICENCE = "cc-by-nc-4.0"
    MODEL_MB = 2500
    MODEL_TYPE = "m2m_100"


ENGINE = NLLB
