"""M2M100: one model for 100 languages (Meta, MIT), run by CTranslate2.

Fan et al., "Beyond English-Centric Multilingual Machine Translation", 2020 (arXiv:2010.11125).
"""

from mothertongue.translation.engines.multilingual import Multilingual


class M2M100(Multilingual):
    """M2M100, with language tokens such as __nl__."""

    NAME = "m2m100"
    MODEL = "facebook/m2m100_418M"
    FAMILY = "facebook/m2m100"
    LICENCE = "mit"
    MODEL_MB = 2000
    MODEL_TYPE = "m2m_100"
    TOKEN = "__{}__"


ENGINE = M2M100
