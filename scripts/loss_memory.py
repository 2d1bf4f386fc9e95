"""Peak memory of output layer and loss, computed together in parts (nmt.training.loss) or by torch's two calls.

    python scripts/loss_memory.py --tokens 1000 --tokens 4000

Each case runs in its own process. The script prints by how much the peak memory rises above what model and features
take. The gradients of the weights are included, because both ways leave them behind.
"""

import resource
import subprocess
import sys
from typing import Annotated

import torch
import typer
from torch import nn
from torch.nn import functional

from nmt.runtime import autocast
from nmt.training.loss import label_smoothing, sequence_loss

FEATURES, SMOOTHING = 512, 0.1


def peak() -> float:
    """Return the peak memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 2**20)


def rise(way: str, tokens: int, vocabulary: int) -> float:
    """Return the MiB by which one loss and its gradients raise the peak memory.

    Args:
        way: `together` for nmt's own loss; anything else for torch's two calls.
        tokens: target tokens.
        vocabulary: target pieces.
    """
    cpu = torch.device("cpu")
    output, targets = nn.Linear(FEATURES, vocabulary), torch.randint(vocabulary, (1, tokens))
    features = torch.randn(1, tokens, FEATURES, requires_grad=True)
    with autocast(cpu, torch.bfloat16):  # loads the libraries that products need
        nn.Linear(FEATURES, 8)(features).sum().backward()
    before = peak()
    with autocast(cpu, torch.bfloat16):
        if way == "together":
            smoothing = label_smoothing(SMOOTHING, output)
            loss = sequence_loss(features, targets, torch.arange(tokens), output, smoothing).total
        else:
            logits = output(features[0]).float()
            loss = functional.cross_entropy(logits, targets[0], reduction="sum", label_smoothing=SMOOTHING)
    loss.backward()  # type: ignore[no-untyped-call]
    return peak() - before


def main(
    tokens: Annotated[list[int], typer.Option(help="Target tokens in a batch; repeatable.")],
    vocabulary: Annotated[list[int] | None, typer.Option(help="Pieces; repeatable; 8,000 and 32,000.")] = None,
    way: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Print a Markdown table."""
    if way is not None and vocabulary is not None:
        print(rise(way, tokens[0], vocabulary[0]))
        return
    print("| tokens | pieces | two calls | together |")
    print("| ---: | ---: | ---: | ---: |")
    for count in tokens:
        for size in vocabulary or [8000, 32000]:
            found = []
            for one in ("apart", "together"):
                case = ["--tokens", str(count), "--vocabulary", str(size), "--way", one]
                done = subprocess.run([sys.executable, __file__, *case], capture_output=True, text=True, check=True)
                found.append(float(done.stdout))
            print(f"| {count:,} | {size:,} | {found[0]:,.0f} MiB | {found[1]:,.0f} MiB |", flush=True)


if __name__ == "__main__":
    typer.run(main)
