"""Queries and memories of the tests of attention."""

import pytest
import torch
from torch import Tensor

from nmt.model.attention.query import Query
from tests.attentions import B, M, S, random_query


@pytest.fixture
def query() -> Query:
    return random_query()


@pytest.fixture
def values() -> Tensor:
    return torch.randn(B, S, M, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@pytest.fixture
def mask() -> Tensor:
    return torch.arange(S) < torch.tensor([[6], [3], [1]])
