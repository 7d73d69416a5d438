"""mBART-50, many to many: one model for 50 languages (Meta, MIT), run by CTranslate2.

Tang et al., "Multilingual Translation with Extensible Multilingual Pretraining and Finetuning", 2020
(arXiv:2008.00401).
"""

from mothertongue.translation.engines.multilingual import Multilingual


class MBart50(Multilingual):
    """mBART-50, with language tokens such as nl_XX."""

    NAME = "mbart50"
    MODEL = "facebook/mbart-large-50-many-to-many-mmt"
    FAMILY = "facebook/mbart-large-50"
    LICENCE = "mit"
    MODEL_MB = 2500
    MODEL_TYPE = "mbart"


ENGINE = MBart50
