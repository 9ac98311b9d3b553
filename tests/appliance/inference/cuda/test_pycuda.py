"""The real driver code over the real pycuda, which runs on a stand-in of the driver's library, in a process of its own.

pycuda is built by image-build/gpu/build-pycuda.sh and is not among the packages of the tests: PYCUDA_SITE names a folder that it is
installed in.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.appliance.inference.cuda.hostcuda import CACHE, compiled, kernel_parameters

HERE = Path(__file__).parent
SITE = os.environ.get("PYCUDA_SITE", "")

pytestmark = pytest.mark.skipif(not SITE and importlib.util.find_spec("pycuda") is None, reason="pycuda is not installed (PYCUDA_SITE)")

STUDY = """
import numpy as np
from appliance.errors import InferenceError
from appliance.inference.cuda.pycuda_driver import open_driver
from appliance.inference.cuda.session import Card, CudaSession
from tests.appliance.inference.cuda.networks import HostNetwork, ProcessorSession, made_model
from tests.appliance.inference.cuda.test_window import asked, fine, on_processor

driver = open_driver()
assert driver.device.capability == (8, 6) and driver.device.multiprocessors == 26, driver.device
try:
    driver.load(b"no kernels for this card")
    raise SystemExit("a module that holds nothing for the card was taken")
except InferenceError as error:
    assert error.code == "INF-065", error
driver.load(b"kernels" * 10)

class Direct:
    # the network writes where pointers point: this card's memory is the processor's
    def on_stream(self, work): self.calls = getattr(self, "calls", 0) + 1; work()
    def view(self, pointer, size):
        import ctypes
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pointer))

model, grid = made_model(largest=None), fine((40, 36, 44))
graphs = []
capture = driver.capture
driver.capture = lambda stream, work: None
failures = []
free = driver.memory()[0]
host = ProcessorSession(model)
session = CudaSession(card=Card(driver), network=HostNetwork(Direct(), model), host=host, on_failure=failures.append)
found = session.whole_volume(asked(grid, reach="blob"))
assert not failures, failures
hu, wanted = on_processor(grid, reach="blob", session=host)
np.testing.assert_array_equal(found.hu, hu)
np.testing.assert_array_equal(found.classes, wanted.classes)
assert driver.memory()[0] == free

stream = driver.stream()
cursor = driver.allocate(4)
driver.fill(cursor, 0, 4, stream)

def start_one(kernel, *arguments):
    driver.launch(kernel, grid=(1, 1, 1), block=(1, 1, 1), arguments=arguments, stream=stream)

graph = capture(stream, lambda: start_one("advance", np.uint64(cursor), np.int32(3)))
for _ in range(4):
    graph.launch(stream)
value = driver.pinned((1,), np.int32)
driver.download(value, cursor, stream)
driver.synchronise(stream)
assert value[0] == 12, value

start, end = driver.event(), driver.event()
driver.record(start, stream); driver.record(end, stream); driver.wait(stream, end); driver.reach(end)
assert driver.elapsed_ms(start, end) == 1.5
for wrong, code in ((lambda: driver.allocate(2 << 30), "INF-060"),
                    (lambda: start_one("advance", np.uint64(cursor)), "INF-061"),
                    (lambda: start_one("unknown"), "INF-061")):
    try:
        wrong()
        raise SystemExit(f"{code} was not raised")
    except InferenceError as error:
        assert error.code == code, error
print("done")  # and the process ends well although nobody has closed the driver
"""


def stand_in() -> Path:
    """The stand-in's folder: libcuda.so.1 with every function that pycuda wants; those that we do not use answer 801 (not supported)."""
    folder = CACHE / "libcuda"
    folder.mkdir(parents=True, exist_ok=True)
    spec = importlib.util.find_spec("pycuda")
    site = [Path(SITE) / "pycuda"] if SITE or spec is None else [Path(place) for place in spec.submodule_search_locations or ()]
    module = next(site[0].glob("_driver*.so"))
    symbols = subprocess.run(["nm", "-D", str(module)], check=True, capture_output=True, text=True).stdout
    wanted = {line.split()[-1] for line in symbols.splitlines() if " U cu" in line}
    source = (HERE / "stand_in_libcuda.cpp").read_text("utf-8")
    missing = sorted(name for name in wanted if f"API {name}(" not in source)
    text = source + "".join(f"API {name}() {{ return 801; }}\n" for name in missing)
    path = folder / "libcuda.cpp"
    path.write_text(text, "utf-8")
    library = folder / "libcuda.so.1"
    subprocess.run(["g++", "-std=c++17", "-O1", "-fPIC", "-shared", "-Wl,-soname,libcuda.so.1", "-o", str(library), str(path)], check=True)
    return folder


def test_a_study_over_the_real_pycuda() -> None:
    kernels = compiled()
    sizes = ";".join(" ".join([name, *(str(np.dtype(kind).itemsize) for kind in kinds)]) for name, kinds in kernel_parameters().items())
    environment = os.environ | {
        "LD_LIBRARY_PATH": str(stand_in()),
        "HOST_KERNELS": str(kernels._name),
        "HOST_PARAMETERS": sizes,
        "PYTHONPATH": os.pathsep.join([str(HERE.parents[3]), SITE]),
    }
    done = subprocess.run([sys.executable, "-c", STUDY], env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("done")
