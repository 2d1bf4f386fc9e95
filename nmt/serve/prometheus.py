"""The counts of the server, as text for Prometheus."""

import json
from collections.abc import Mapping, Sequence

from nmt.serve.models import ServedModel


def prometheus_text(requests: Mapping[str, int], models: Sequence[ServedModel]) -> str:
    """Return the counts in Prometheus's text format.

    Args:
        requests: the number of requests for each status.
        models: the models, whose lines and batches are counted.
    """
    lines = ["# TYPE nmt_requests_total counter"]
    lines += [f'nmt_requests_total{{status="{status}"}} {count}' for status, count in sorted(requests.items())]
    for name, kind in (("lines", "counter"), ("batches", "counter"), ("waiting", "gauge")):
        suffix = "_total" if kind == "counter" else ""
        lines.append(f"# TYPE nmt_{name}{suffix} {kind}")
        for model in models:
            value = getattr(model.batcher, name) if model.batcher is not None else 0
            label = json.dumps(model.name, ensure_ascii=False)
            lines.append(f"nmt_{name}{suffix}{{model={label}}} {value}")
    return "\n".join(lines) + "\n"
