"""What loads with the package, how a missing library is reported, and that imports point down."""

from __future__ import annotations

import ast
import doctest
import graphlib
import importlib
import importlib.metadata
import inspect
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from running import python

import hwcost
import nas_plugin
from hwcost import twins

ROOT = pathlib.Path(__file__).parents[1]
OPTIONAL = (
    "torch",
    "scipy",
    "matplotlib",
    "jax",
    "jaxlib",
    "onnx",
    "tflite",
    "flatbuffers",
    "joblib",
    "distributed",
    "rich",
    "pandas",
    "array_api_strict",
    "PIL",
    "nni",
    "plinio",
    "pytorch_lightning",
    "moocore",
    "nas_plugin",
)
NAMES = ("Gemm", "Conv2d", "Linear", "MatMul", "SystolicArray", "Cost", "layer_cost", "network_cost", "runtime",
         "smooth_ceil", "RELAXATIONS", "DATAFLOWS")  # fmt: skip


def loaded(code):
    done = python(f"import sys\n{code}\nprint(*sorted(sys.modules))")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("name", NAMES)
def test_public_names(name):
    assert name in hwcost.__all__
    assert getattr(hwcost, name) is not None


def test_all_is_all_there_is():
    assert len(set(hwcost.__all__)) == len(hwcost.__all__)
    lent = {"annotations", "Any", "TYPE_CHECKING"}  # by the standard library
    public = {name for name, value in vars(hwcost).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert public - lent <= set(hwcost.__all__)
    assert all(hasattr(hwcost, name) for name in hwcost.__all__)


def test_every_public_name_is_seen_without_an_optional_library():
    used = loaded(
        "import hwcost\n"
        "assert set(hwcost.__all__) < set(dir(hwcost))\n"
        "from hwcost import *\n"
        "assert not set(hwcost.__all__) - set(globals())\n"
    )
    assert not {name.partition(".")[0] for name in used} & set(OPTIONAL)


PACKAGES = {
    name: importlib.import_module(name)
    for root in ("hwcost", "nas_plugin")
    for path in (ROOT / root).rglob("__init__.py")
    for name in [".".join(path.parent.relative_to(ROOT).parts)]
}
DOCUMENTED = [
    name
    for page in sorted((ROOT / "docs" / "api").glob("*.md"))
    for name in re.findall(r"(?:automodule|module):: ([\w.]+)\n", page.read_text())
    if name in PACKAGES
]
"""The public packages."""


@pytest.mark.parametrize("name", [name for name in DOCUMENTED if "." in name])
def test_a_public_package_is_an_attribute_without_an_import(name):
    done = python(f"import hwcost\nprint({name}.__name__)")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{name}\n"
    package, _, own = name.rpartition(".")
    assert own in dir(PACKAGES[package])


@pytest.mark.parametrize("name", [name for name, package in PACKAGES.items() if hasattr(package, "__all__")])
def test_a_package_lists_its_public_names(name):
    package = PACKAGES[name]
    inside = {each for each in dir(package) if inspect.ismodule(getattr(package, each))}
    assert set(dir(package)) - inside == set(package.__all__)
    assert all(f"{name}.{each}" in PACKAGES for each in inside)


def test_every_public_package_lists_names():
    public = {*DOCUMENTED, *(f"hwcost.{name}" for name in dir(hwcost) if name not in hwcost.__all__)}
    assert len(public) > 20
    assert all(PACKAGES[name].__all__ for name in public)
    assert dir(twins) == sorted(twins.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        hwcost.nonsense  # noqa: B018


def test_runtime_is_one_thing():
    assert inspect.isfunction(hwcost.runtime)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("hwcost.runtime")


@pytest.mark.parametrize("root", [hwcost, nas_plugin], ids=lambda root: root.__name__)
def test_no_name_of_a_package_hides_a_module_in_it(root):
    folders = [path.parent for path in (ROOT / root.__name__).rglob("__init__.py")]
    for folder in folders:
        package = importlib.import_module(".".join(folder.relative_to(ROOT).parts))
        names = {path.stem for path in folder.iterdir() if path.suffix == ".py" or path in folders}
        assert all(inspect.ismodule(vars(package)[name]) for name in names & vars(package).keys()), package


def test_no_import_of_the_packages_hides_in_a_string():
    for path in (path for package in ("hwcost", "nas_plugin") for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
                (name,) = node.args
                assert isinstance(name, ast.Constant), path
                assert not str(name.value).startswith(("hwcost", "nas_plugin", ".")), path


@pytest.mark.parametrize("name", [name for name in NAMES if callable(getattr(hwcost, name))])
def test_every_public_name_has_an_example_that_is_run(name):
    value = getattr(hwcost, name)
    examples = [example for test in doctest.DocTestFinder().find(value, name) for example in test.examples]
    assert any(name in example.source or example.source for example in examples)
    assert ">>>" in value.__doc__ or any(">>>" in (member.__doc__ or "") for member in vars(value).values())


def test_every_public_name_is_documented():
    for name in hwcost.__all__:
        value = getattr(hwcost, name)
        if callable(value):
            assert value.__doc__, name
            assert value.__doc__.strip().splitlines()[0].endswith((".", ":", "?")) or "\n" in value.__doc__, name


def test_errors_are_what_python_users_expect():
    for error, builtin in (
        (hwcost.InvalidValueError, ValueError),
        (hwcost.MixedLibrariesError, TypeError),
        (hwcost.MissingDependencyError, ImportError),
        (hwcost.NoGradientError, RuntimeError),
    ):
        assert issubclass(error, builtin)
        assert issubclass(error, hwcost.HwcostError)
    with pytest.raises(ValueError, match="in_features"):
        hwcost.Linear(0, 1)


# ---------------------------------------------------------------- what loads


@pytest.fixture(scope="module")
def bare():
    return loaded("import hwcost\nhwcost.Gemm")


@pytest.mark.parametrize("library", OPTIONAL)
def test_the_package_loads_no_optional_library(library, bare):
    assert not {name for name in bare if name.partition(".")[0] == library}


def test_the_package_loads_its_core_alone(bare):
    own = {name.partition(".")[2].partition(".")[0] for name in bare if name.startswith("hwcost.")}
    rims = {"torch", "plot", "cli", "__main__", "devices", "calibration", "importers", "reports", "advice", "sweep"}
    assert not own & rims
    heavy = {"importlib.metadata", "multiprocessing", "concurrent", "unittest", "asyncio"}
    assert not (heavy & bare) - loaded("import numpy, array_api_compat")


def test_pricing_numbers_and_numpy_loads_no_optional_library():
    used = loaded(
        "import hwcost, numpy as np\n"
        "hwcost.runtime(k1=3, k2=3, c=np.arange(1, 9), f=9, s1=8, s2=8, relaxation='shifted')\n"
        "hwcost.network_cost([hwcost.Linear(8, np.array([3.5]))], hwcost.SystolicArray(8, 8), relaxation='logistic')\n"
        "hwcost.smooth_ceil(2.5, kind='generalized')\n"
    )
    assert not {name.partition(".")[0] for name in used} & set(OPTIONAL)


def test_without_torch_the_loss_states_what_to_install():
    done = python(
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "import hwcost\n"
        "assert hwcost.runtime(k1=1, k2=1, c=9, f=9, s1=8, s2=8) == 4\n"
        "try:\n"
        "    import hwcost.torch\n"
        "except hwcost.MissingDependencyError as error:\n"
        "    assert isinstance(error, ImportError)\n"
        "    print(error)\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == 'hwcost.torch needs PyTorch; install it with: pip install "hwcost[torch]"'


def test_without_any_optional_library_the_core_works():
    done = python(
        "import sys\n"
        f"for name in {OPTIONAL!r}: sys.modules[name] = None\n"
        "import hwcost, numpy as np\n"
        "print(hwcost.runtime(k1=5, k2=5, c=6, f=np.array([16]), s1=8, s2=8), hwcost.smooth_ceil(2.5))\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[38] ")


# ---------------------------------------------------------------- the arrows


def test_imports_point_down():
    command = shutil.which("lint-imports", path=str(pathlib.Path(sys.executable).parent)) or shutil.which(
        "lint-imports"
    )
    if command is None:
        pytest.skip("import-linter is not installed")
    done = subprocess.run([command, "--no-cache"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def imports_of(path, modules):
    """The modules of the project that a file imports, those under TYPE_CHECKING and inside functions included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, path
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in modules else node.module for name in names if node.module in modules)


def test_no_circle_of_files():
    files = [path for package in ("hwcost", "nas_plugin") for path in (ROOT / package).rglob("*.py")]
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}
    graph = {name: set(imports_of(path, modules)) for name, path in modules.items()}
    assert sum(map(len, graph.values())) > 3 * len(graph)
    graphlib.TopologicalSorter(graph).prepare()  # raises a CycleError that names the circle


def test_one_core_file_names_array_libraries(bare):
    modules = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "hwcost").rglob("*.py")}
    core = [path for path, name in modules.items() if name in bare and path.parent.name != "arrays"]
    assert len(core) >= 10
    for path in core:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & {"torch", "jax", "array_api_compat", "scipy"}, path


def test_the_version_stands_in_one_place():
    assert importlib.metadata.version("hwcost") == hwcost.__version__
    pyproject = (ROOT / "pyproject.toml").read_text()
    assert hwcost.__version__ not in [
        line.split("=")[1].strip().strip('"') for line in pyproject.splitlines() if line.startswith("version")
    ]
    found = [path for path in (ROOT / "hwcost").rglob("*.py") if f'"{hwcost.__version__}"' in path.read_text()]
    assert found == [ROOT / "hwcost" / "_version.py"]
