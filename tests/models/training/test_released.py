"""A training that begins with the released weights: what it begins with answers as the released file does, and learns on from there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")

from appliance.inference.catalog import Model, ModelCatalog, installed_catalog  # noqa: E402
from models.training.checkpoint import load_checkpoint  # noqa: E402
from models.training.export import make_entry  # noqa: E402
from models.training.released import OtherNetworkError, load_released  # noqa: E402
from models.training.task import Task  # noqa: E402
from models.training.tasks import TASKS  # noqa: E402
from models.training.trainer import Schedule, Trainer  # noqa: E402
from tests.models.training.test_trainer import tube_samples  # noqa: E402

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def catalog() -> ModelCatalog:
    return ModelCatalog.load(installed_catalog())


def scaled_example(task: Task) -> torch.Tensor:
    """The export's example as the network itself sees it, behind the deployed graph's scaling."""
    network, seen = task.network(), []
    network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        task.deployment.graph(network).eval()(task.deployment.example())
    return seen[0]


def answers(model: Model, example: torch.Tensor) -> dict[str, torch.Tensor]:
    session = onnxruntime.InferenceSession(model.path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, map(torch.from_numpy, session.run(names, {"channels": example.numpy()})), strict=True))


@pytest.mark.parametrize("name", TASKS)
def test_what_a_training_begins_with_answers_as_the_released_file(name: str, catalog: ModelCatalog) -> None:
    task, model = TASKS[name], catalog[name]
    example, seen = task.deployment.example(), scaled_example(TASKS[name])
    network = task.network()
    load_released(network, task.deployment, model, [seen])
    graph = task.deployment.graph(network).float().eval()
    with torch.no_grad():
        given = dict(zip(graph.outputs, graph(example), strict=True))
    for output, wanted in answers(model, example).items():
        if wanted.dtype == torch.uint8:  # a voxel on the border of two classes, or of two bytes, may fall to either side
            assert (given[output] != wanted).float().mean() < 1e-3, output
        else:
            torch.testing.assert_close(given[output].float(), wanted, rtol=1e-3, atol=1e-3)


def test_normalisations_are_set_by_what_reaches_them(catalog: ModelCatalog) -> None:
    task = TASKS["ostia"]
    seen = scaled_example(task)
    network = task.network()
    load_released(network, task.deployment, catalog["ostia"], [seen, seen])
    with torch.no_grad():
        released = network.eval()(seen)
        learning = network.train()(seen)
    assert (learning - released).abs().mean() < 0.05 * released.abs().mean(), "by its own mean and variance a batch is read the same"


def test_the_file_of_another_network_is_refused(catalog: ModelCatalog) -> None:
    task = TASKS["ostia"]
    with pytest.raises(OtherNetworkError, match="is not of the network repair"):
        load_released(task.network(), task.deployment, catalog["repair"], [])


def test_a_training_begins_with_the_released_weights_and_says_so(tmp_path: Path, catalog: ModelCatalog) -> None:
    task = replace(TASKS["cor-seg"], source=tube_samples, batch=2, pool=16, learning_rate=1e-9)
    lines: list[str] = []
    trainer = Trainer(task, folder=tmp_path, score=lambda _: {"nothing": 0.0}, seed=1, log=lines.append, released=catalog["cor-seg"])
    trainer.run(Schedule(minutes=10.0, steps=2))
    version = catalog["cor-seg"].version
    assert lines[0] == f"cor-seg: begins with the released weights {version}"
    progress, states = load_checkpoint(tmp_path / "checkpoint.pt")
    network = task.network()
    network.load_state_dict(states["average"])
    graph = task.deployment.graph(network).float().eval()
    example = task.deployment.example()
    with torch.no_grad():
        given = dict(zip(graph.outputs, graph(example), strict=True))
    assert (given["classes"] == answers(catalog["cor-seg"], example)["classes"]).float().mean() > 0.9
    file = tmp_path / "any"
    file.write_bytes(b"weights")
    training = make_entry(task, file, network, replace(progress, hospital_cases=12))["training"]
    assert (training["began_with"], training["data"]) == (version, "virtual patients, 12 labelled scans of a hospital")

    again = Trainer(task, folder=tmp_path, score=lambda _: {"nothing": 0.0}, seed=1, log=lines.append, released=catalog["cor-seg"])
    again.run(Schedule(minutes=10.0, steps=1))
    assert sum("begins with" in line for line in lines) == 1, "a training that has a checkpoint goes on from that"
