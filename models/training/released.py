"""Weights of a released network, to go on from: what is in the repository is the ONNX file, not the training's checkpoint.

The export folds each normalisation that follows a convolution into it. Here they are parted again: the folded weights go into the
convolution, and the normalisation gets the mean and variance that samples show behind it, and undoes them. So the network answers exactly
as the released one, and learns like one that was trained to it. The optimizer begins anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from appliance.inference.catalog import Model
from models.training.task import Deployment

Weights = dict[str, npt.NDArray[Any]]
_Norm = nn.BatchNorm2d | nn.BatchNorm3d


class OtherNetworkError(ValueError):
    """The released file is not of the network that is to be trained."""


def load_released(network: nn.Module, deployment: Deployment, model: Model, batches: Iterable[torch.Tensor]) -> None:
    """Put a released network's weights into a fresh one of the same design.

    Args:
        network: filled in place.
        deployment: how it is exported.
        model: the catalog's entry; its file is verified.
        batches: scaled inputs (n, c, ...) as the training draws them, some dozen samples: the normalisations are set by them.

    Raises:
        OtherNetworkError: a weight is missing in the file, or has another shape.
        InferenceError: the file is not the one that the catalog names.
    """
    import onnx

    graph = onnx.load_from_string(model.verified_bytes()).graph
    stored = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
    state = network.state_dict()
    found = {name: stored[match] for name in state if (match := _named(name, stored)) is not None}
    folded = [norm for norm, _ in _order(network, deployment)[1] if f"{norm}.running_mean" not in found]
    found |= _folded(network, deployment, graph, stored)
    counters = {name for name in state if name.endswith("num_batches_tracked")}
    wrong = [name for name in state if name not in counters and (name not in found or found[name].shape != tuple(state[name].shape))]
    if wrong:
        raise OtherNetworkError(f"{model.file} of the catalog is not of the network {model.name} of these sources: {', '.join(wrong[:3])}")
    with torch.no_grad():
        for name, tensor in state.items():
            if name not in counters:
                tensor.copy_(torch.from_numpy(np.array(found[name])))
    _unfold(network, folded, batches)


def _named(name: str, stored: Weights) -> str | None:
    """The file's name of a weight that was not folded: that of the deployed graph, which wraps the network."""
    return next((other for other in stored if other == name or other.endswith(f".{name}")), None)


def _folded(network: nn.Module, deployment: Deployment, graph: Any, stored: Weights) -> Weights:
    """Weights that the export renamed: those of convolutions and linear layers, told by the order in which they are used."""
    layers, norms = _order(network, deployment)
    behind = {layer: norm for norm, layer in norms}
    found: Weights = {}
    for kind, operator in ((nn.Conv2d | nn.Conv3d, "Conv"), (nn.Linear, "MatMul")):
        used = [(name, layer) for name, layer in layers if isinstance(layer, kind)]
        nodes = [node for node in graph.node if node.op_type == operator and node.input[1] in stored]
        if operator == "MatMul":  # a linear layer whose weight kept its name is another operator
            used = [(name, layer) for name, layer in used if _named(f"{name}.weight", stored) is None]
        if len(used) != len(nodes):
            continue
        for (name, _), node in zip(used, nodes, strict=True):
            weight = stored[node.input[1]]
            found[f"{name}.weight"] = weight.T if operator == "MatMul" else weight
            if len(node.input) > 2 and (norm := behind.get(name)) is not None and _named(f"{norm}.bias", stored) is None:
                bias = stored[node.input[2]]
                one = np.ones_like(bias)
                found |= {f"{norm}.bias": bias, f"{norm}.weight": one, f"{norm}.running_mean": 0.0 * one, f"{norm}.running_var": one}
    return found


def _order(network: nn.Module, deployment: Deployment) -> tuple[list[tuple[str, nn.Module]], list[tuple[str, str]]]:
    """Layers with weights in the order of their use; each normalisation with the layer straight before it."""
    layers: list[tuple[str, nn.Module]] = []
    norms: list[tuple[str, str]] = []
    last: list[tuple[str, torch.Tensor]] = []

    def used(name: str, layer: nn.Module, given: torch.Tensor, answer: torch.Tensor) -> None:
        if isinstance(layer, _Norm):
            if last and last[-1][1] is given:
                norms.append((name, last[-1][0]))
        else:
            layers.append((name, layer))
            last.append((name, answer))

    watched = [(name, part) for name, part in network.named_modules() if isinstance(part, nn.Conv2d | nn.Conv3d | nn.Linear | _Norm)]
    hooks = [part.register_forward_hook(lambda layer, given, answer, n=name: used(n, layer, given[0], answer)) for name, part in watched]
    try:
        with torch.no_grad():
            deployment.graph(network).eval()(deployment.example())
    finally:
        for hook in hooks:
            hook.remove()
    return layers, norms


def _unfold(network: nn.Module, folded: list[str], batches: Iterable[torch.Tensor]) -> None:
    """Give each normalisation that does nothing the mean and variance of what reaches it, and weights that undo them."""
    norms = {name: part for name, part in network.named_modules() if name in folded and isinstance(part, _Norm)}
    for norm in norms.values():
        norm.running_var.fill_(1.0 - norm.eps)
    network.eval()
    with torch.no_grad(), _moments(norms) as sums:
        for channels in batches:
            network(channels)
        for name, norm in norms.items():
            count, total, squares = sums[name]
            mean = total / count
            spread = squares / count - mean.square()
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(spread.clamp(min=norm.eps))
            norm.weight.copy_((norm.running_var + norm.eps).sqrt())
            norm.bias.add_(norm.running_mean)


@contextmanager
def _moments(norms: dict[str, Any]) -> Iterator[dict[str, list[Any]]]:
    """Count, sum and sum of squares for each channel of what reaches each normalisation within the block, in 64 bits."""
    sums: dict[str, list[Any]] = {name: [0, 0.0, 0.0] for name in norms}

    def take(name: str, given: torch.Tensor) -> None:
        values = given.double()
        axes = [axis for axis in range(values.ndim) if axis != 1]
        held = sums[name]
        held[0] += values.numel() // values.shape[1]
        held[1] = held[1] + values.sum(axes)
        held[2] = held[2] + values.square().sum(axes)

    hooks = [part.register_forward_pre_hook(lambda _, given, n=name: take(n, given[0])) for name, part in norms.items()]
    try:
        yield sums
    finally:
        for hook in hooks:
            hook.remove()
