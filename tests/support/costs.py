"""What rendering costs."""

import gc
import os

from mothertongue.prompts import rendering


def cost(*calls):
    """Seconds of computing, of what renders templates too."""
    spent = []
    for call in calls:
        rendering.renderer.cache_clear()
        gc.collect()
        before = os.times()
        call()
        rendering.renderer.cache_clear()
        gc.collect()
        spent.append(sum(os.times()[:4]) - sum(before[:4]))
    return min(spent)
