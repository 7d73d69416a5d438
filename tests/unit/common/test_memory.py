"""Tests of the recognition of out-of-memory errors by the libraries' messages and exception classes."""

import pytest
import torch

from mothertongue.common.memory import out_of_memory

SAID = [
    "CUDA out of memory. Tried to allocate 20.00 MiB",
    "CUDA failed with error out of memory",
    "cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 800 bytes.",
    "DefaultCPUAllocator: not enough memory: you tried to allocate 800 bytes.",
    "[Errno 12] Cannot allocate memory",
    "mkl_malloc: failed to allocate memory",
    "std::bad_alloc",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "could not create a memory object",
]
OTHER = [
    "CUDA error: an illegal memory access was encountered",
    "cuBLAS failed with status CUBLAS_STATUS_NOT_SUPPORTED",
    "memory format option is only supported by strided tensors",
    "CUDA driver version is insufficient for CUDA runtime version",
]


@pytest.mark.parametrize("message", SAID)
def test_out_of_memory_is_recognised_by_the_message(message):
    assert out_of_memory(RuntimeError(message))


@pytest.mark.parametrize("message", OTHER)
def test_other_messages_about_memory_do_not_count(message):
    assert not out_of_memory(RuntimeError(message))


def test_out_of_memory_is_recognised_by_the_exception_class():
    assert out_of_memory(MemoryError()) and out_of_memory(torch.OutOfMemoryError())
