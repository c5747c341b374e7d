"""Models trained in cells, in real kernels that are really killed."""

# ruff: noqa: E501 - cells are quoted as they are typed

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.integration.kernel import Kernel

pytest.importorskip("torch", reason="needs torch (make test-torch)")

WARM = 300  # seconds: a first import of torch on a busy machine

CELLS = {
    "imports": "import torch, warnings; warnings.simplefilter('ignore')",
    "net": """
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last, self.bend = torch.nn.Linear(3, 4), torch.nn.Linear(4, 1), torch.relu
    def forward(self, x):
        return self.last(self.bend(self.first(x)))
""",
    "make": """%%checkpoint make
torch.manual_seed(3)
model = Net()
opt = torch.optim.Adam(model.parameters(), lr=0.01)
data = torch.randn(8, 3)
row, column, array, weights = data[0], data[:, 1], data.numpy(), model.state_dict()
order = torch.Generator().manual_seed(5)
loader = torch.utils.data.DataLoader(
    torch.utils.data.TensorDataset(data), batch_size=2, shuffle=True, generator=order)
rare, narrow, hollow = torch.eye(3).to_sparse(), data.bfloat16(), torch.empty(4, device="meta")
""",
    "train": """%%checkpoint train
for (x,) in loader:
    opt.zero_grad()
    loss = model(x).pow(2).mean()
    loss.backward()
    opt.step()
rare.mul_(2)
narrow.add_(1)
print(loss.item())
""",
    "more": """%%checkpoint more
batches = [x.tolist() for (x,) in loader]
drawn = torch.randn(2).tolist()
opt.step()
print(batches, drawn, model.first.weight.tolist(), narrow.tolist(), rare.to_dense().tolist())
""",
    "shares": """
data[0, 0], weights["first.bias"][0] = 77.0, 5.0
print(
    isinstance(model, Net), type(model.first.weight).__name__, opt.param_groups[0]["params"][0] is model.first.weight,
    model.first.weight.grad.sum().item(), opt.state[model.first.weight]["step"].item(), model.first.bias[0].item(),
    row[0].item(), array[0, 0], loader.dataset.tensors[0] is data, loader.generator is order, column.stride(),
    loss.item(), hollow.device, hollow.shape, torch.randn(1).item())
""",
}


def _run(kernel: Kernel, *cells: str) -> list[tuple[str, str]]:
    """What each cell printed, and what kitaru_nb said first."""
    found = []
    for cell in cells:
        ran = kernel.run(CELLS[cell], cell=cell, timeout=WARM)
        assert ran.ok, ran.evalue
        found.append((ran.stdout, " ".join(ran.said.split()[1:3])))
    return found


def _kill(kernel: Kernel) -> None:
    os.kill(kernel.pid, signal.SIGKILL)


def test_a_model_that_was_trained_in_cells_is_there_in_the_next_kernel(tmp_path: Path) -> None:
    home, notebook = tmp_path / "home", tmp_path / "a.ipynb"
    with Kernel(tmp_path / "another home", notebook=notebook) as kernel:
        whole = [out for out, _ in _run(kernel, *CELLS)]

    with Kernel(home, notebook=notebook) as kernel:
        _run(kernel, "imports", "net", "make", "train")
        _kill(kernel)
    with Kernel(home, notebook=notebook) as kernel:  # every cell again: those on record are not run
        again = _run(kernel, "imports", "net", "make", "train", "more")
        _kill(kernel)
    with Kernel(home, notebook=notebook) as kernel:  # nothing but what was committed
        resumed = kernel.run("%resume", timeout=WARM)
        shared = _run(kernel, "shares")
        backward = kernel.run("loss.backward()")

    assert [out for out, _ in again] == whole[:5]
    assert [said for _, said in again] == ["", "", "`make` restored", "`train` restored", "`more` saved"]
    assert resumed.ok
    assert "`loss` (its graph, which was not stored" in resumed.said
    assert shared[0][0] == whole[5]
    assert backward.ename == "UnstorableError"
    assert "graph" in backward.evalue


def test_a_cell_that_failed_while_it_trained_begins_with_the_model_as_it_was(tmp_path: Path) -> None:
    notebook = tmp_path / "a.ipynb"
    train = """%%checkpoint more
for epoch in range(3):
    opt.zero_grad()
    model(data).pow(2).mean().backward()
    opt.step()
    rare.mul_(2)
    if fails and epoch == 1:
        raise ValueError(epoch)
print(model.first.weight.tolist(), opt.state[model.first.weight]["step"].item(), rare.to_dense().tolist())
"""
    with Kernel(tmp_path / "another home", notebook=notebook) as kernel:
        _run(kernel, "imports", "net", "make", "train")
        kernel.run("fails = False")
        whole = kernel.run(train, cell="more")

    with Kernel(tmp_path / "home", notebook=notebook) as kernel:
        _run(kernel, "imports", "net", "make", "train")
        kernel.run("fails, weight = True, model.first.weight")
        failed = kernel.run(train, cell="more")
        half = kernel.run("print(opt.state[weight]['step'].item())")
        kernel.run("fails = False")
        again = kernel.run(train, cell="more")
        same = kernel.run("print(weight is model.first.weight)")

    assert failed.ename == "ValueError"
    assert half.stdout == "6.0\n"  # what it did is there to be looked at
    assert again.ok, again.evalue
    assert again.stdout == whole.stdout != ""
    assert same.stdout == "True\n"


def test_a_long_loop_goes_on_where_its_last_commit_was(tmp_path: Path) -> None:
    home, notebook, ran = tmp_path / "home", tmp_path / "a.ipynb", tmp_path / "ran.txt"
    loop = f"""%%checkpoint train
import kitaru_nb as kt
losses = []
for epoch in kt.steps(range(5), every="1ms"):
    for (x,) in loader:
        opt.zero_grad()
        loss = model(x).pow(2).mean()
        loss.backward()
        opt.step()
    losses.append(loss.item())
    with open({str(ran)!r}, "a") as file:
        print(epoch, file=file)
    if kills and len(open({str(ran)!r}).readlines()) == 3:
        import os; os.kill(os.getpid(), 9)
print(losses, torch.randn(1).item(), model.first.weight.tolist(), model.first.weight.grad.tolist())
"""
    with Kernel(tmp_path / "another home", notebook=notebook) as kernel:
        _run(kernel, "imports", "net", "make")
        kernel.run("kills = False")
        whole = kernel.run(loop, cell="train", timeout=WARM)
    assert whole.ok, whole.evalue
    ran.unlink()

    with Kernel(home, notebook=notebook) as kernel:
        _run(kernel, "imports", "net", "make")
        kernel.run("kills = True")
        killed = kernel.run(loop, cell="train", timeout=WARM)
    with Kernel(home, notebook=notebook) as kernel:
        _run(kernel, "imports", "net", "make")
        kernel.run("kills = True")
        again = kernel.run(loop, cell="train", timeout=WARM)

    assert killed.status == "dead"
    assert again.ok, again.evalue
    assert again.stdout == whole.stdout != ""
    assert ran.read_text().split() == ["0", "1", "2", "2", "3", "4"]
