"""Triton Python backend: one ONNX file, run by ONNX Runtime on the CPU.

`python -m export` copies this file into each model's version folder as `model.py`, beside the
`model.onnx` it runs. Names, dtypes and shapes come from the model's configuration.

Parameters (in config.pbtxt): `threads`, how many cores one inference may use while no other step
of the server is under way, beside which it takes one; `core`, the one that the process stays on
where there are two;
`remembered_megabytes`, how much of its answers it keeps (none by default). Triton's own response
cache does the same and takes milliseconds of every request whose garment is new.
"""

import collections
import hashlib
import json
import os
import traceback

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

from tryon.steps.under_way import UnderWay

_WARM_UP_SIZES = (160, 224)
"""Of a tensor's first and second dimension that vary: widths that the detector takes."""


def stay_on(core):
    """Keeps this process on the first or second core of exactly two; elsewhere it may move."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 2:
        os.sched_setaffinity(0, {cores[core]})


def _share_memory():
    """Has this process's sessions take turns with one arena: 110 MB less of the generator's."""
    kind = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    place = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, onnxruntime.OrtMemType.DEFAULT)
    onnxruntime.create_and_register_allocator(place, None)


class Memory:
    """Answers to the inputs last seen, the oldest out first."""

    def __init__(self, limit):
        self._limit, self._size = limit, 0
        self._answers = collections.OrderedDict()

    @staticmethod
    def key(feeds):
        """Digest of a dictionary of arrays."""
        digest = hashlib.blake2b(digest_size=16)
        for name in sorted(feeds):
            array = np.ascontiguousarray(feeds[name])
            digest.update(f"{name} {array.dtype} {array.shape} ".encode())
            digest.update(array.reshape(-1).view(np.uint8).data)
        return digest.digest()

    def find(self, key):
        """The answer kept under a key, or None."""
        if key in self._answers:
            self._answers.move_to_end(key)
        return self._answers.get(key)

    def keep(self, key, values):
        """Keeps a list of arrays, which nobody may change from now on."""
        self._answers[key] = values
        self._size += sum(value.nbytes for value in values)
        while self._size > self._limit:
            _, gone = self._answers.popitem(last=False)
            self._size -= sum(value.nbytes for value in gone)


class TritonPythonModel:
    """Triton's interface: one instance per model instance, in a process of its own."""

    def initialize(self, args):
        config = json.loads(args["model_config"])
        self._name = args["model_name"]
        path = os.path.join(args["model_repository"], args["model_version"], "model.onnx")
        if not os.path.isfile(path):
            raise pb_utils.TritonModelException(f"{path} is missing: run `make export`")
        parameters = config.get("parameters", {})
        if "core" in parameters:
            stay_on(int(parameters["core"]["string_value"]))
        self._inputs = [i["name"] for i in config["input"]]
        self._outputs = [o["name"] for o in config["output"]]
        instance = int(args["model_instance_name"].rpartition("_")[2])
        self._under_way = UnderWay(self._name, instance)
        _share_memory()
        threads = int(parameters["threads"]["string_value"])
        self._alone = self._load(path, threads)
        self._beside = self._load(path, 1) if threads > 1 else self._alone
        for session in {self._alone, self._beside}:
            self._warm_up(session, config)
        self._memory = None
        if "remembered_megabytes" in parameters:
            megabytes = int(parameters["remembered_megabytes"]["string_value"])
            self._memory = Memory(megabytes * 2**20)
            self._family = pb_utils.MetricFamily(
                name="tryon_remembered_answers",
                description="Answers that were known already",
                kind=pb_utils.MetricFamily.COUNTER,
            )
            self._known = self._family.Metric(labels={"model": self._name})

    @staticmethod
    def _load(path, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads wait for their next operator in a busy loop, but not between two requests: there
        # they would take the cores from the other steps' processes.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def _warm_up(self, session, config):
        """Runs once, so that the first request finds memory and kernels prepared."""
        feeds = {}
        for tensor in config["input"]:
            sizes = iter(_WARM_UP_SIZES)
            shape = [1] + [next(sizes) if int(d) < 0 else int(d) for d in tensor["dims"]]
            feeds[tensor["name"]] = np.zeros(
                shape, pb_utils.triton_string_to_numpy(tensor["data_type"])
            )
        for _ in range(2):
            session.run(self._outputs, feeds)

    def execute(self, requests):
        with self._under_way:
            return [self._answer(request) for request in requests]

    def _run(self, feeds):
        session = self._alone if self._under_way.alone() else self._beside
        if self._memory is None:
            return session.run(self._outputs, feeds)
        key = self._memory.key(feeds)
        values = self._memory.find(key)
        if values is None:
            values = session.run(self._outputs, feeds)
            self._memory.keep(key, values)
        else:
            self._known.increment(1)
        return values

    def _answer(self, request):
        try:
            # as_numpy is a view of shared memory, which ONNX Runtime reads in place: no copy.
            feeds = {
                name: pb_utils.get_input_tensor_by_name(request, name).as_numpy()
                for name in self._inputs
            }
            values = self._run(feeds)
            return pb_utils.InferenceResponse(
                [pb_utils.Tensor(n, v) for n, v in zip(self._outputs, values, strict=True)]
            )
        except Exception as error:  # one request's failure must not end the process
            pb_utils.Logger.log_error(f"{self._name}: {traceback.format_exc()}")
            message = f"[INTERNAL] {self._name}: {str(error).splitlines()[0][:300]}"
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(message))
