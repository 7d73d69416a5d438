"""Translators for tests: engines that are plain functions from texts to texts."""

from mothertongue.translation.attempts import Strategy
from mothertongue.translation.checks import Checks
from mothertongue.translation.engines.base import Output
from mothertongue.translation.messages import Translator, translate_messages
from mothertongue.translation.segments import byte_length
from mothertongue.translation.settings import QualityLimits


def way(model, name="model", fits=lambda text: True):
    """Return a strategy that translates by `model`, a function that returns texts or Outputs."""

    def translate(texts):
        return enumerate(text if isinstance(text, Output) else Output(text) for text in model(texts))

    return Strategy(translate, fits, name)


def translator(*models, source="en", target="pt", limits=None, limit=480):
    """Return a translator that tries the models in turn."""
    strategies = [model if isinstance(model, Strategy) else way(model) for model in models]
    return Translator(strategies, Checks(source, target, limits or QualityLimits()), limit, byte_length)


def translated(texts, *models, **options):
    """Translate messages by the models, and return the results."""
    return translate_messages(texts, translator(*models, **options))
