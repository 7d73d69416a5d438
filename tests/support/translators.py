"""Translators for tests: engines that are plain functions from texts to texts."""

from mothertongue.translation.attempts import Way
from mothertongue.translation.checks import Judge, Limits
from mothertongue.translation.engines.base import Output
from mothertongue.translation.messages import Translator, translate_messages
from mothertongue.translation.segments import byte_length


def way(model, name="model", fits=lambda text: True):
    """A way to translate by `model`, which returns texts or Outputs."""

    def translate(texts, hear=None):
        return [text if isinstance(text, Output) else Output(text) for text in model(texts)]

    return Way(translate, fits, name)


def translator(*models, source="en", target="pt", limits=None, limit=480):
    """A translator that tries the models in turn."""
    ways = [model if isinstance(model, Way) else way(model) for model in models]
    return Translator(ways, Judge(source, target, limits or Limits()), limit, byte_length)


def translated(texts, *models, **options):
    """What becomes of messages."""
    return translate_messages(texts, translator(*models, **options))
