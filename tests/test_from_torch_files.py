"""Networks out of PyTorch modules: what cannot be read, and modules of files."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch_modules import MODELS, Of, lenet  # noqa: E402

from hwcost import InvalidValueError, SystolicArray, from_torch, network_cost  # noqa: E402
from hwcost.importers import read_network  # noqa: E402
from hwcost.importers.torch import InputSpec, load_model  # noqa: E402

# ---------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize(
    ("model", "words"), [(3, "nn.Module"), ("model", "nn.Module"), (None, "nn.Module"), (nn.Linear, "Linear()")]
)
def test_only_modules_are_read(model, words):
    with pytest.raises(InvalidValueError) as caught:
        from_torch(model, (1, 4))
    assert (caught.value.field, caught.value.value) == ("model", model)
    assert words in caught.value.allowed


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"input_size": (1, 4), "example_inputs": torch.ones(1, 4)},
        {"input_size": ()},
        {"input_size": "1,4"},
        {"input_size": (1, 0)},
        {"input_size": (1, -4)},
        {"input_size": (1, 4.0)},
        {"input_size": [(1, 4), "x"]},
        {"input_size": 4},
        {"input_size": (True, 4)},
        {"input_size": (1, 2**41)},
    ],
    ids=str,
)
def test_bad_inputs_are_refused(inputs):
    with pytest.raises(InvalidValueError):
        from_torch(nn.Linear(4, 2), **inputs)


@pytest.mark.parametrize(
    ("args", "field"),
    [
        ((3,), "the shape of an input"),
        (("1,4",), "the shape of an input"),
        (((1, -1),), "a size of an input"),
        (((1, 2.0),), "a size of an input"),
        (((1, 4), torch.float32), "the type of an input"),
        (((1, 4), "float33"), "the type of an input"),
    ],
)
def test_specifications_of_inputs_are_checked(args, field):
    with pytest.raises(InvalidValueError) as caught:
        InputSpec(*args)
    assert caught.value.field == field


def test_no_hook_is_left():
    from torch.nn.modules import module as hooks

    from_torch(nn.Linear(4, 2), (1, 4))
    with pytest.raises(InvalidValueError):
        from_torch(nn.Linear(4, 2), (1, 5))
    left = {name: each for name, each in vars(hooks).items() if name.startswith("_global_") and "hooks" in name}
    assert left
    assert not any(left.values())


def test_shapes_that_do_not_fit_say_where():
    with pytest.raises(InvalidValueError, match=r"module 'classifier.0' .*1x1x32x32 float32.*RuntimeError"):
        from_torch(lenet(), (1, 1, 32, 32))


def test_models_that_multiply_nothing():
    for model in (nn.Identity(), nn.ReLU(), nn.Sequential()):
        with pytest.raises(InvalidValueError, match="multiplies nothing"):
            from_torch(model, (1, 4))


def test_lazy_modules_and_scripts():
    with pytest.raises(InvalidValueError, match="lazy"):
        from_torch(nn.Sequential(nn.LazyLinear(4)), (1, 4))


def test_models_that_look_at_values(tmp_path):
    with pytest.raises(InvalidValueError, match=r"looks at the values.*shapes alone"):
        read_network(f"{MODELS / 'lenet.py'}:LooksAtValues", inputs=[InputSpec((1, 4))])
    with pytest.raises(InvalidValueError, match="looks at the values"):
        from_torch(Of(lambda x: x[x > 0] @ x[x > 0]), (4,))


# ---------------------------------------------------------------- files


def read(name, shape=(1, 1, 28, 28)):
    return read_network(f"{MODELS / 'lenet.py'}:{name}", inputs=[InputSpec(shape)])


def test_classes_functions_and_modules_of_a_file():
    assert read("LeNet").macs == read("ready").macs == 416_520
    assert read("small").macs < 416_520
    assert read("WithWeightsAtHand", (1, 4)).macs == 8
    assert read("LeNet").name == "LeNet"


def test_classes_are_made_without_memory():
    assert all(parameter.is_meta for parameter in load_model(str(MODELS / "lenet.py"), "LeNet").parameters())


BAD = {
    "LeNt": r"did you mean 'LeNet'",
    "torch": r"an nn.Module, or a class or function",
    "needs_widths": r"argument: 'widths'",
    "makes_a_number": r"makes_a_number\(\) in .* is 3",
    "breaks": r"raises ValueError: no luck today; correct ",
    "breaks_in_a_library": r"ImportError: no module 'Net' \(from RuntimeError: operator lib::nms does not exist\)",
    "Raises": r"module 'inner.1' .*raises RuntimeError: the coffee is cold",
    "Exits": r"raises SystemExit: 3",
    "Endless": r"calls itself",
    "__name__": r"an nn.Module",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_names_are_refused(name):
    with pytest.raises(InvalidValueError, match=re.compile(BAD[name])):
        read(name, (1, 4))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.py:Net", "No such file"),
        (f"{MODELS}/lenet.py", ":LeNet; it has LeNet, small"),
        (f"{MODELS}/lenet.py:a b", "FILE.py:NAME"),
        ("weights.pth", "pickles are not opened"),
        ("net.xml", "onnx"),
        ("", "FILE.py:NAME"),
        (f"{MODELS}:Net", "FILE.py:NAME"),
    ],
)
def test_bad_sources_are_refused(source, message):
    with pytest.raises(InvalidValueError, match=message):
        read_network(source, inputs=[InputSpec((1, 4))])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def broken(:\n", "line 1 raises SyntaxError"),
        ("x = 1\n\nraise RuntimeError('not today')\n", "line 3 raises RuntimeError: not today"),
        ("import nowhere_to_be_found\n", "line 1 raises ModuleNotFoundError"),
        ("raise SystemExit(3)\n", "raises SystemExit"),
        ("\0", "raises"),
        ("", "has no model"),
    ],
)
def test_files_that_do_not_run(tmp_path, text, message):
    path = tmp_path / "net.py"
    path.write_text(text)
    with pytest.raises(InvalidValueError, match=message):
        read_network(f"{path}:Net", inputs=[InputSpec((1, 4))])


def test_files_see_their_neighbours(tmp_path):
    (tmp_path / "parts_of_it.py").write_text("from torch import nn\n\nPart = nn.Linear\n")
    path = tmp_path / "net.py"
    path.write_text("from parts_of_it import Part\n\n\ndef net():\n    return Part(4, 2)\n")
    assert read_network(f"{path}:net", inputs=[InputSpec((1, 4))]).macs == 8


def test_a_file_needs_inputs():
    with pytest.raises(InvalidValueError, match="--input"):
        read_network(f"{MODELS / 'lenet.py'}:LeNet")
    with pytest.raises(InvalidValueError, match="dims"):
        read_network(f"{MODELS / 'lenet.py'}:LeNet", inputs=[InputSpec((1, 4))], dims={"batch": 1})


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("1,3,224,224", InputSpec((1, 3, 224, 224))),
        ("1x3x8x8", InputSpec((1, 3, 8, 8))),
        ("ids=1,128:int64", InputSpec((1, 128), "int64", "ids")),
        ("5", InputSpec((5,))),
    ],
)
def test_inputs_as_they_are_typed(text, spec):
    assert InputSpec.parse(text) == spec
    assert InputSpec.parse(str(spec)) == spec


@pytest.mark.parametrize(
    "text", ["", "1,", "a", "1,x", "1:int99", "=1", "1 2", "-1", "1,2:", "a b=1", "1" * 20, "1,2:nn"]
)
def test_inputs_that_are_typed_wrong(text):
    if text == "1,":
        assert InputSpec.parse(text) == InputSpec((1,))
        return
    with pytest.raises(InvalidValueError, match="--input"):
        InputSpec.parse(text)


@pytest.mark.parametrize("text", ["1,32:int46", "1,32:int65", "1,32:in64", "1,32:flaot32", "1,32:unit8", "1,32:boool"])
def test_a_misspelt_type_is_offered_as_one_that_indexes_or_computes(text):
    with pytest.raises(InvalidValueError, match="did you mean") as caught:
        InputSpec.parse(text)
    (name,) = caught.value.names
    dtype = InputSpec.parse(name).stand_in().dtype
    assert (torch.zeros(2).to(dtype) + torch.ones(2).to(dtype)).shape == (2,)


class Indexing(nn.Module):
    """A module that takes indices in one of several ways."""

    def __init__(self, how):
        super().__init__()
        self.how, self.last = how, nn.Linear(10, 3)
        self.table = nn.Parameter(torch.ones(5, 10))

    def forward(self, ids):
        return self.last(self.how(self.table, ids).float())


@pytest.mark.parametrize(
    "how",
    [
        lambda table, ids: nn.functional.embedding(ids, table),
        lambda table, ids: nn.functional.embedding_bag(ids, table),
        lambda table, ids: nn.functional.one_hot(ids, 10),
        lambda table, ids: table[ids],
        lambda table, ids: table.gather(0, ids[:, :1].expand(-1, 10)),
    ],
    ids=["embedding", "embedding bag", "one-hot", "index", "gather"],
)
def test_indices_that_are_no_integers_are_told_how_to_be(how):
    model = Indexing(how)
    with pytest.raises(InvalidValueError) as caught:
        from_torch(model, (2, 4))
    assert "--input 2,4:int64" in caught.value.allowed
    given = eval(re.search(r"example_inputs=(\S+\(\))", caught.value.allowed)[1], {"torch": torch})
    assert from_torch(model, example_inputs=given).macs == from_torch(model, InputSpec((2, 4), "int64")).macs > 0


def test_other_faults_say_nothing_of_indices():
    with pytest.raises(InvalidValueError) as caught:
        from_torch(nn.Linear(4, 2), (1, 3))
    assert "indices" not in str(caught.value)


def test_the_network_can_be_priced_on_many_arrays_at_once():
    rows = np.arange(8, 33)
    total = network_cost(from_torch(lenet(), (1, 1, 28, 28)), SystolicArray(rows, 16)).total
    assert total.cycles.shape == rows.shape
    assert total.cycles[8] == 2822
    assert math.isclose(total.utilization[8], 0.5766, abs_tol=1e-4)


def test_an_empty_input_is_said_to_be_empty():
    with pytest.raises(InvalidValueError, match=r"an input is empty.*pass inputs whose sizes are all at least 1"):
        from_torch(nn.Conv2d(3, 8, 3), [InputSpec((0, 3, 8, 8))])


def test_an_input_larger_than_any_memory():
    with pytest.raises(InvalidValueError, match="fewer than 2"):
        from_torch(nn.Conv2d(3, 8, 3), InputSpec((1, 3, 10**11, 10**11)))
