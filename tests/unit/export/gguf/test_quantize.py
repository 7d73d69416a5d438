"""Tests of the check, before quantisation, of which weights llama.cpp can quantise."""

import gguf
import numpy as np
import pytest

from mothertongue.common.errors import UserError
from mothertongue.export.gguf.quantize import check_shapes


def written(path, *lengths):
    """Write a GGUF file with a vector, which is never quantised, and a matrix of four rows for each length."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("vector", np.zeros(7, dtype=np.float32))
    for length in lengths:
        writer.add_tensor(f"matrix.{length}", np.zeros((4, length), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_rows_unsuitable_for_k_quants_are_counted_and_those_for_all_types_refused(tmp_path):
    path = written(tmp_path / "a.gguf", 256, 512, 64, 576)
    assert (check_shapes(path, "q4_k_m"), check_shapes(path, "q8_0")) == (2, 0)
    with pytest.raises(UserError, match=r"rows of 40 weights cannot be quantised to q8_0: .* multiples of 32; use f16"):
        check_shapes(written(tmp_path / "b.gguf", 256, 40), "q8_0")
    with pytest.raises(UserError, match=r"c\.gguf: has no weights; delete it"):
        check_shapes(written(tmp_path / "c.gguf"), "q8_0")
