"""The parts that compute: a score and an encoder."""

from torch import Tensor, nn
from torch.nn import functional

from nmt.model.attention.base import Score
from nmt.model.attention.query import Query
from nmt.model.memory import EncoderOutput


class CosineScore(Score):
    """The cosine of W q and U k, times a constant."""

    def __init__(self, query_size: int, memory_size: int, size: int, sharpness: float):
        """Make W and U."""
        super().__init__(memory_size, key_size=size)
        self.query_layer = nn.Linear(query_size, size, bias=False)
        self.key_layer = nn.Linear(memory_size, size, bias=False)
        self.sharpness = sharpness

    def keys(self, values: Tensor) -> Tensor:
        """Return U k, computed once for each sentence."""
        return self.key_layer(values)  # [B, L, A]

    def energies(self, query: Query, keys: Tensor) -> Tensor:
        """Return the cosines."""
        projected = query.project(self.query_layer)  # [B, Q, A]
        cosines = functional.normalize(projected, dim=-1) @ functional.normalize(keys, dim=-1).transpose(1, 2)
        return self.sharpness * cosines  # [B, Q, L]


class ConvolutionEncoder(nn.Module):
    """Residual convolutions, each followed by a rectifier."""

    def __init__(self, size: int, layers: int, width: int, dropout: float):
        """Make the layers."""
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv1d(size, size, width, padding="same") for _ in range(layers))
        self.dropout = nn.Dropout(dropout)

    def forward(self, embedded: Tensor, mask: Tensor, lengths: Tensor) -> EncoderOutput:
        """Encode ``[B, S, E]``; padding is 0 before each layer, as it is beyond the sentence."""
        x = embedded
        for layer in self.layers:
            inside = x.masked_fill(~mask[..., None], 0.0)
            x = x + self.dropout(functional.relu(layer(inside.transpose(1, 2)).transpose(1, 2)))
        return EncoderOutput.without_state(x, mask)
