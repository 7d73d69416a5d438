"""Memory that ran out, as each library says it."""

import re

# torch and CTranslate2, for memory of the machine and of a GPU; cuBLAS; C++.
_WORDS = re.compile(
    r"out of memory|not enough memory|(can't|cannot|failed to|unable to) allocate|_alloc_failed|bad_alloc",
    re.IGNORECASE,
)


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on the machine or on a GPU: less at once may fit.

    An illegal access of a GPU's memory is none of these: nothing works after it.
    """
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return bool(kinds & {"MemoryError", "OutOfMemoryError"} or _WORDS.search(str(error)))
