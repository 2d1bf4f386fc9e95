"""Counts how often the processor looks at numbers that a GPU would hold, each of which makes it wait for the GPU."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_READING = {"_local_scalar_dense", "nonzero", "masked_select", "unique_dim", "_unique2", "equal"}


class Reads(TorchDispatchMode):
    """Counts operations that need a number on the processor, while they run on a processor only.

    Attributes:
        operations: the number of operations of each name.
        reads: the names of those that read, and of methods of tensors that do.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        super().__init__()
        self.operations: Counter[str] = Counter()
        self.reads: Counter[str] = Counter()
        for name in ("tolist", "cpu", "numpy"):  # item, float, int and bool are seen as an operation
            monkeypatch.setattr(torch.Tensor, name, self._counted(name, getattr(torch.Tensor, name)))
        monkeypatch.setattr(torch.Tensor, "__getitem__", self._indexed(torch.Tensor.__getitem__))

    def _counted(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def counted(tensor: Tensor, *args: Any, **options: Any) -> Any:
            self.reads[name] += 1
            return method(tensor, *args, **options)

        return counted

    def _indexed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Count indices that are lists of numbers, which would be copied to a GPU while the processor waits."""

        def indexed(tensor: Tensor, index: Any) -> Any:
            if any(isinstance(part, list) for part in (index if isinstance(index, tuple) else (index,))):
                self.reads["index by a list"] += 1
            return method(tensor, index)

        return indexed

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operation.name().split("::")[1].split(".")[0]
        self.operations[name] += 1
        by_mask = name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if name in _READING or by_mask:
            self.reads[f"{name} by a mask" if by_mask else name] += 1
        return operation(*args, **(kwargs or {}))
