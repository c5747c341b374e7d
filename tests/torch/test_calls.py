"""Recorded calls that change models, optimizers and tensors, in real processes that are really killed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.integration.test_flows import Script

pytest.importorskip("torch", reason="needs torch (make test-torch)")

KILLED = -signal.SIGKILL

JOB = """
import torch, warnings
warnings.simplefilter("ignore")

@kt.checkpoint
def forward(model, x):
    note("forward")
    return model(x).sum()

@kt.checkpoint
def backward(model, x):
    note("backward")
    model(x).sum().backward()

@kt.checkpoint
def step(optimizer, schedule):
    note("step")
    optimizer.step()
    schedule.step()

@kt.checkpoint
def freeze(model):
    note("freeze")
    model.weight.requires_grad_(False)
    model.bias.grad.zero_()

@kt.checkpoint
def forget(optimizer):
    note("forget")
    optimizer.zero_grad()

@kt.checkpoint
def part(tensor):
    note("part")
    return tensor[1:3]

@kt.checkpoint
def double(tensor):
    note(f"double-{tensor.layout}-{tensor.dtype}")
    tensor.mul_(2)
    return tensor

@kt.checkpoint
def grow(tensor):
    note("grow")
    tensor.resize_(3)
    tensor.fill_(3.0)

@kt.checkpoint
def draw():
    note("draw")
    return torch.randn(2).tolist()

@kt.checkpoint
def shape(tensor):
    note("shape")
    return tensor.shape

@kt.checkpoint
def state(model):
    note("state")
    return model.state_dict()

@kt.checkpoint
def load(model, state):
    note("load")
    model.load_state_dict(state)

@kt.checkpoint
def train_epoch(model, optimizer):
    note("epoch")
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(torch.ones(4, 2)).pow(2).mean()
        loss.backward()
        optimizer.step()
    return loss

@kt.flow
def changes():
    torch.manual_seed(1)
    model, x = torch.nn.Linear(3, 2), torch.ones(1, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    said = [forward(model, x).item()]
    backward(model, x)
    said.append(model.weight.grad.tolist())
    step(optimizer, schedule)
    said += [optimizer.param_groups[0]["lr"], schedule.last_epoch, model.weight.tolist()]
    freeze(model)
    said += [model.weight.requires_grad, model.bias.grad.tolist()]
    forget(optimizer)
    said.append(model.bias.grad)
    whole = torch.arange(5.0)
    part(whole)[0] = 9
    said.append(whole.tolist())
    said.append(double(torch.eye(2).to_sparse()).to_dense().tolist())
    narrow = torch.ones(2, 2, dtype=torch.bfloat16)
    row = narrow[0]
    said += [double(narrow) is narrow, row.tolist()]
    column = torch.ones(2, 3)[:, 1]
    said.append(double(column).stride())
    small = torch.zeros(2)
    grow(small)
    said += [small.tolist(), draw(), torch.randn(1).item(), shape(torch.empty(3, device="meta"))]
    kept = state(model)
    kept["bias"].fill_(4.0)
    said.append(model.bias.tolist())
    other = torch.nn.Linear(3, 2)
    load(other, kept)
    said.append(other.bias.tolist())
    note("end")
    return said

@kt.flow
def training():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    losses = [train_epoch(model, optimizer).item() for _ in range(3)]
    note("trained")
    losses += [train_epoch(model, optimizer).item() for _ in range(2)]
    assert optimizer.param_groups[0]["params"][0] is model[0].weight
    return losses, [p.tolist() for p in model.parameters()], [p.grad.tolist() for p in model.parameters()]
"""

CALLS = [
    *("forward", "backward", "step", "freeze", "forget", "part", "double-torch.sparse_coo-torch.float32"),
    *("double-torch.strided-torch.bfloat16", "double-torch.strided-torch.float32", "grow", "draw", "shape"),
    *("state", "load"),
]


def test_what_calls_changed_in_tensors_is_changed_after_a_crash(tmp_path: Path) -> None:
    script = Script(tmp_path, JOB + "\nprint(changes())\n")

    script.run(kill_at="end", expect=KILLED)
    again = script.run()
    notes = script.notes()
    script.ran.unlink()
    fresh = script.run(KITARU_NB_HOME=str(tmp_path / "another home"))

    assert again == fresh
    assert notes == [*CALLS, "end", "end"]


def test_a_model_that_was_trained_in_calls_is_trained_after_a_crash(tmp_path: Path) -> None:
    script = Script(tmp_path, JOB + "\nprint(training())\n")

    script.run(kill_at="trained", expect=KILLED)
    again = script.run()
    notes = script.notes()
    fresh = script.run(KITARU_NB_HOME=str(tmp_path / "another home"))

    assert again == fresh
    assert notes == [*["epoch"] * 3, "trained", "trained", *["epoch"] * 2]


def test_a_result_whose_graph_is_gone_is_no_silent_end_of_a_backward_pass(tmp_path: Path) -> None:
    source = """
@kt.flow
def job():
    torch.manual_seed(1)
    model = torch.nn.Linear(3, 2)
    loss = forward(model, torch.ones(1, 3))
    note("end")
    try:
        loss.backward()
    except kt.errors.UnstorableError as error:
        return error.kind, model.weight.grad
    return "went", model.weight.grad

print(job())
"""
    script = Script(tmp_path, JOB + source)

    script.run(kill_at="end", expect=KILLED)
    again = script.run()

    assert again == "('graph-not-stored', None)\n"
    assert script.notes().count("forward") == 1
