"""Tensors go through a real second process and come back as they were, with what they share."""

# ruff: noqa: E501 - what is tried is written as it is typed

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from kitaru_nb.artifacts.digest import digest_values
from kitaru_nb.artifacts.groups import alias_groups
from kitaru_nb.artifacts.notes import noting
from kitaru_nb.artifacts.pickle_codec import PickleCodec
from kitaru_nb.artifacts.tensors import make_tensor, memory_of, reduce_tensor
from kitaru_nb.errors import UnstorableError

torch: Any = pytest.importorskip("torch", reason="needs torch (make test-torch)")

_PROCESS = """
import pickle, sys, warnings
import numpy, torch
warnings.simplefilter("ignore")
from kitaru_nb.artifacts.digest import digest_values, walk_digest
from kitaru_nb.artifacts.groups import alias_groups
from kitaru_nb.artifacts.pickle_codec import PickleCodec

role, here, there = sys.argv[1:]
if role == "load":
    spoiled = [torch.zeros(n) for n in range(1, 2000, 7)]  # so that addresses are others
codec, out = PickleCodec(), {}

def told(values):
    return digest_values(values, namespace={}), walk_digest(values, namespace={})

for name, (define, check, case) in pickle.load(open(here, "rb")).items():
    space = {"torch": torch, "np": numpy}
    try:
        if role == "save":
            exec(define, space)
            values = {n: v for n, v in space.items() if n not in ("torch", "np", "__builtins__")}
            done = codec.encode(values, namespace={})
            groups = [sorted(group) for group in alias_groups(values, namespace={})]
            case = {"meta": dict(done.meta), "buffers": [bytearray(b) for b in done.buffers]}
            case |= {"told": told(values), "unstorable": dict(done.unstorable), "groups": groups}
        else:
            buffers = case["buffers"]
            values = codec.decode(case["meta"], lambda i: memoryview(buffers[i]), namespace={})
            case = {**case, "told again": told(values)}
            space.update(values)
        case[role] = repr(eval(check, space))
    except Exception as error:
        case = {**(case or {}), "error": f"{role}: {type(error).__name__}: {error}"}
    out[name] = define, check, case
pickle.dump(out, open(there, "wb"))
"""

CASES = {
    "a tensor": ("x = torch.arange(6.).reshape(2, 3)", "x, x.stride(), x.dtype"),
    "one number": ("x = torch.tensor(3)", "x, x.dim()"),
    "nothing": ("x = torch.zeros(0, 3)", "x.shape, x.stride()"),
    "columns first": ("x = torch.arange(6.).reshape(2, 3).T", "x, x.stride(), x.is_contiguous()"),
    "channels last": (
        "x = torch.arange(96.).reshape(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)",
        "x.sum(0), x.stride(), x.is_contiguous(memory_format=torch.channels_last)",
    ),
    "expanded": ("x = torch.arange(3.).expand(4, 3)", "x, x.stride()"),
    "every third row": ("x = torch.arange(60000.).reshape(200, 300)[::3]", "x.sum(0), x.stride()"),
    "axes of one item": ("x = torch.arange(15.).reshape(5, 3)[:, :1]", "x, x.stride()"),
    "beside the stream": ("x = torch.arange(200_000.)", "x.sum(), x.shape"),
    "bfloat16": ("x = torch.arange(6).bfloat16()", "x, x.dtype"),
    "float8": ("x = torch.arange(6.).to(torch.float8_e4m3fn)", "x.float(), x.dtype"),
    "float16": ("x = torch.arange(6).half()", "x"),
    "bool": ("x = torch.arange(6) > 2", "x"),
    "conjugated": ("x = torch.tensor([1 + 2j]).conj()", "x, x.is_conj()"),
    "negated": ("x = torch.tensor([1 + 2j]).conj().imag", "x, x.is_neg()"),
    "quantised": ("x = torch.quantize_per_tensor(torch.ones(3), .1, 0, torch.qint8)", "x, x.int_repr()"),
    "sparse": ("x = torch.eye(3).to_sparse()", "x.to_dense(), x.is_coalesced()"),
    "sparse rows": ("x = torch.eye(3).to_sparse_csr()", "x.to_dense(), x.layout"),
    "sparse and learnt": ("x = torch.eye(3).to_sparse().requires_grad_()", "x.to_dense(), x.requires_grad"),
    "nested": ("x = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])", "x.unbind()"),
    "without memory": (
        "x = torch.empty(3, 2, device='meta', dtype=torch.float64)",
        "x.shape, x.dtype, x.device",
    ),
    "its bare memory": ("x = torch.arange(3.).untyped_storage()", "list(x)"),
    "a random generator": ("g = torch.Generator().manual_seed(3)", "torch.randn(2, generator=g)"),
    "words of torch": (
        "t = torch.float32, torch.device('cpu'), torch.Size([2]), torch.relu, torch.nn.functional.gelu",
        "t[0] is torch.float32, t[1], t[2], t[3] is torch.relu, t[4] is torch.nn.functional.gelu",
    ),
    "views of one another": (
        "x = torch.zeros(2, 3); v = x[1]; d = x.detach(); t = x.T",
        "v.fill_(5.) is None or (x, d, t.stride(), t)",
    ),
    "interleaved": ("x = torch.zeros(6); a = x[::2]; b = x[1::2]; del x", "a.fill_(1.), b.fill_(2.), a"),
    "with numpy": (
        "a = np.zeros(4); t = torch.from_numpy(a); n = t.numpy()[1:]",
        "t.fill_(7.) is None or (a, n, type(a))",
    ),
    "as another type": ("x = torch.zeros(2); i = x.view(torch.int32)", "i.fill_(1) is None or x"),
    "a gradient": (
        "w = torch.ones(2, requires_grad=True); (w * 3).sum().backward()",
        "w.grad, w.is_leaf, w.requires_grad",
    ),
    "a sparse gradient": (
        "e = torch.nn.Embedding(3, 2, sparse=True); e(torch.tensor([1])).sum().backward()",
        "e.weight.grad.to_dense(), e.weight.grad.is_sparse",
    ),
    "hooks": (
        "w = torch.ones(2, requires_grad=True); w.register_hook(torch.neg)",
        "w.sum().backward() or w.grad",
    ),
    "attributes": ("x = torch.ones(2); x.note = [x]", "x.note[0] is x"),
    "a buffer": (
        "m = torch.nn.Module(); m.b = torch.nn.Buffer(torch.ones(2)); m.register_buffer('c', torch.ones(1), False)",
        "m.state_dict()",
    ),
    "a model": (
        "torch.manual_seed(0); m = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).eval()",
        "m(torch.ones(1, 3)), m.training, [type(p).__name__ for p in m.parameters()]",
    ),
    "a model of unknown size": ("m = torch.nn.LazyLinear(3)", "m.weight.__class__.__name__"),
    "tied weights": (
        "m = torch.nn.Module(); m.a = torch.nn.Linear(2, 2); m.b = torch.nn.Linear(2, 2); m.b.weight = m.a.weight",
        "m.a.weight is m.b.weight, len(list(m.parameters()))",
    ),
    "weights tied by their memory": (
        "m = torch.nn.Linear(2, 3); n = torch.nn.Linear(3, 2); n.weight = torch.nn.Parameter(m.weight.T)",
        "torch.nn.init.ones_(m.weight) is None or n.weight",
    ),
    "a state dict": (
        "m = torch.nn.Linear(2, 2); sd = m.state_dict()",
        "sd['weight'].fill_(4.) is None or m.weight",
    ),
    "an optimizer": (
        "m = torch.nn.Linear(2, 1); o = torch.optim.Adam(m.parameters()); m(torch.ones(1, 2)).sum().backward(); o.step()",
        "o.param_groups[0]['params'][0] is m.weight, o.state[m.weight]['exp_avg'], o.step() or m.weight.sum()",
    ),
    "a schedule": (
        "m = torch.nn.Linear(2, 1); o = torch.optim.SGD(m.parameters(), lr=1.); s = torch.optim.lr_scheduler.StepLR(o, 1, .1)",
        "s.optimizer is o, o.step() or s.step() or o.param_groups[0]['lr']",
    ),
    "a loader": (
        "g = torch.Generator().manual_seed(1); data = torch.arange(8); loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(data), 4, True, generator=g)",
        "loader.generator is g, [b.tolist() for b, in loader], loader.dataset.tensors[0] is data",
    ),
}
"""Name to what makes values, and what must be the same of them in both processes."""

TOGETHER = {
    "views of one another": [["d", "t", "v", "x"]],
    "interleaved": [["a", "b"]],
    "with numpy": [["a", "n", "t"]],
    "as another type": [["i", "x"]],
    "weights tied by their memory": [["m", "n"]],
    "a state dict": [["m", "sd"]],
    "an optimizer": [["m", "o"]],
    "a loader": [["data", "g", "loader"]],
}
"""Which names are stored together."""


@pytest.fixture(scope="module")
def gone_through(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """Each case after it was saved in one process and loaded in another."""
    folder = tmp_path_factory.mktemp("tensors")
    files = [folder / name for name in ("cases", "saved", "loaded")]
    files[0].write_bytes(pickle.dumps({name: (*case, None) for name, case in CASES.items()}))
    for seed, role in enumerate(("save", "load")):
        command = [sys.executable, "-c", _PROCESS, role, str(files[seed]), str(files[seed + 1])]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": str(seed)})
    loaded: Mapping[str, Any] = pickle.loads(files[2].read_bytes())
    return {name: case for name, (_, _, case) in loaded.items()}


@pytest.mark.parametrize("name", CASES)
def test_it_comes_back_in_another_process_as_it_was(gone_through: Mapping[str, Any], name: str) -> None:
    case = gone_through[name]

    assert "error" not in case, case["error"]
    assert case["unstorable"] == {}
    assert case["load"] == case["save"]


@pytest.mark.parametrize("name", CASES)
def test_its_digest_is_the_same_in_every_process(gone_through: Mapping[str, Any], name: str) -> None:
    case = gone_through[name]

    assert case["told again"] == case["told"]


@pytest.mark.parametrize("name", TOGETHER)
def test_what_shares_memory_is_stored_together(gone_through: Mapping[str, Any], name: str) -> None:
    assert sorted(gone_through[name]["groups"]) == TOGETHER[name]


DIFFERENT = [
    "torch.zeros(2)",
    "torch.zeros(2, 1)",
    "torch.zeros(1, 2)",
    "torch.zeros(2, dtype=torch.float64)",
    "torch.zeros(2, dtype=torch.int32)",
    "torch.zeros(2, dtype=torch.bfloat16)",
    "torch.zeros(2, dtype=torch.int16)",
    "-torch.zeros(2)",
    "torch.zeros(2, requires_grad=True)",
    "torch.zeros(2, requires_grad=True) * 1",
    "torch.nn.Parameter(torch.zeros(2))",
    "torch.zeros(2, device='meta')",
    "torch.zeros(2).to_sparse()",
    "torch.zeros(1).expand(2)",
    "torch.zeros(4)[::2]",
    "torch.zeros(2).numpy()",
    "(lambda w: (w.sum().backward(), w)[1])(torch.zeros(2, requires_grad=True))",
    "(lambda x: [x, x[1:]])(torch.zeros(2))",
    "(lambda x: [x, x[1:].clone()])(torch.zeros(2))",
]


def test_values_that_differ_have_digests_that_differ() -> None:
    found = {digest_values({"x": eval(text, {"torch": torch})}, namespace={}): text for text in DIFFERENT}

    assert list(found.values()) == DIFFERENT


def test_looking_at_a_tensor_leaves_it_as_it_was() -> None:
    tensor = torch.zeros(3, requires_grad=True)
    version = tensor._version

    digest_values({"x": tensor}, namespace={})
    alias_groups({"x": tensor}, namespace={})
    PickleCodec().encode({"x": tensor}, namespace={})

    assert tensor._version == version
    assert tensor.detach().resize_(100).shape == (100,)  # after `tensor.numpy()` it could not be


def test_a_restored_tensor_can_be_made_larger_and_given_to_other_processes() -> None:
    done = PickleCodec().encode({"x": torch.ones(3)}, namespace={})
    back: Any = PickleCodec().decode(done.meta, lambda number: done.buffers[number], namespace={})["x"]

    assert back.resize_(4).shape == (4,)
    assert back.share_memory_().is_shared()


def test_going_backward_through_a_graph_that_was_not_stored_is_an_error() -> None:
    weight = torch.ones(2, requires_grad=True)
    loss = (weight * 3).sum()
    done = PickleCodec().encode({"loss": loss, "weight": weight}, namespace={})
    with noting() as notes:
        back: Any = PickleCodec().decode(done.meta, lambda number: done.buffers[number], namespace={})

    assert back["loss"].item() == 6
    assert back["loss"].requires_grad
    assert not back["loss"].is_leaf
    with pytest.raises(UnstorableError, match="graph") as raised:
        (back["loss"] * 2).backward()
    assert raised.value.kind == "graph-not-stored"
    assert back["weight"].grad is None
    assert [(note.name, note.kind) for note in notes] == [("loss", "graph")]


def test_a_tensor_of_a_device_that_is_not_here_comes_back_on_the_cpu() -> None:
    tensor = torch.arange(3.0)
    _, stored = reduce_tensor(tensor, memory_of(tensor, {}))
    with noting() as notes:
        back = make_tensor(*stored[:3], "cuda:99", *stored[4:])

    assert back.device.type == "cpu"
    assert back.tolist() == [0.0, 1.0, 2.0]
    assert "cuda:99" in notes[0].kind


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tensors_of_a_device_come_back_there_with_what_they_share() -> None:
    x = torch.zeros(2, 3, device="cuda")
    done = PickleCodec().encode({"x": x, "v": x[1]}, namespace={})
    back: Any = PickleCodec().decode(done.meta, lambda number: done.buffers[number], namespace={})
    back["v"].fill_(5.0)

    assert back["x"].device.type == "cuda"
    assert back["x"].cpu().tolist() == [[0.0] * 3, [5.0] * 3]
