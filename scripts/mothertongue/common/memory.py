"""Detection of out-of-memory errors of several libraries."""

import re

# Messages of torch and CTranslate2, for the machine's and a GPU's memory, of cuBLAS, cuDNN, oneDNN, and of C++.
_WORDS = re.compile(
    r"out of memory|not enough memory|(can't|cannot|failed to|unable to) allocate|alloc(ation)?_failed|bad_alloc"
    r"|could not create a memory object",
    re.IGNORECASE,
)


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error means out of memory, on the machine or on a GPU, so that a smaller batch may fit.

    An illegal memory access on a GPU does not count: the process cannot use the GPU after it.
    """
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return bool(kinds & {"MemoryError", "OutOfMemoryError"} or _WORDS.search(str(error)))
