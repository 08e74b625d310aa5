"""A real tritonserver against the torch pipeline, through the client."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy.embedded import ROOT, EmbeddedServer, ServerError
from export.config import REMEMBERED
from export.parity import laid
from export.samples import Sample, samples
from tryon import contract
from tryon_client import NoPersonFound, SeveralPeople, TryOnClient, TryOnError, wire

SAMPLES = {sample.name: sample for sample in samples()}


@pytest.fixture(scope="module")
def client(server):
    with TryOnClient(server.grpc_url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def pipeline():
    torch = pytest.importorskip("torch")
    from tryon.pipeline import TryOnPipeline

    torch.set_num_threads(2)
    weights = os.environ.get("TRYON_TEST_WEIGHTS")  # those of TRYON_TEST_REPOSITORY
    return TryOnPipeline(Path(weights) if weights else None)


def answer(client: TryOnClient, sample: Sample):
    return client.try_on(sample.person, sample.garment, sample.prompt, sample.category)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_answer_is_the_torch_pipelines(client, pipeline, name):
    sample = SAMPLES[name]
    result = answer(client, sample)
    expected = pipeline(sample.person, sample.garment, sample.prompt, sample.category)
    picture = np.asarray(result.image)
    assert picture.shape == sample.person.shape and result.mask.shape == picture.shape[:2]
    off = np.abs(picture.astype(int) - expected.picture.astype(int))
    assert (off > 2).mean() <= 0.001, f"{(off > 2).mean():.2%} of the bytes are off"
    assert (np.abs(result.mask.astype(int) - expected.mask.astype(int)) > 2).mean() <= 0.001
    assert result.confidence == pytest.approx(expected.confidence, abs=1e-3)


@pytest.mark.parametrize("name", SAMPLES)
def test_outside_the_mask_every_byte_is_the_persons(client, name):
    sample = SAMPLES[name]
    result = answer(client, sample)
    outside = result.mask == 0
    np.testing.assert_array_equal(np.asarray(result.image)[outside], sample.person[outside])


def test_files_and_pixels_give_the_same(server, client):
    sample = SAMPLES["photo, upper"]
    direct = np.asarray(answer(client, sample).image)
    data = io.BytesIO()
    Image.fromarray(sample.person).save(data, "PNG")
    file = np.frombuffer(data.getvalue(), np.uint8)[None, None]
    request = wire.infer_request(file, sample.garment, sample.prompt, sample.category)
    import grpc

    with grpc.insecure_channel(server.grpc_url, wire.channel_options(server.grpc_url)) as channel:
        response = wire.stub(channel).ModelInfer(request, timeout=60)
    picture = wire.parse_response(response, sample.person.shape)[0]
    np.testing.assert_array_equal(picture, direct)


def test_requests_at_the_same_time_do_not_mix(client):
    alone = {name: np.asarray(answer(client, s).image) for name, s in SAMPLES.items()}
    names = [*SAMPLES] * 3
    with ThreadPoolExecutor(5) as pool:
        together = pool.map(lambda n: np.asarray(answer(client, SAMPLES[n]).image), names)
        for name, picture in zip(names, together, strict=True):
            np.testing.assert_array_equal(picture, alone[name])


def padded(rows: list[dict]) -> list[dict]:
    """Rows whose tokens are as many as the longest's: [PAD], which nothing sees."""
    longest = max(row["input_ids"].shape[1] for row in rows)

    def pad(tokens):
        return np.pad(tokens, ((0, 0), (0, longest - tokens.shape[1])))

    return [
        {**row, **{k: pad(row[k]) for k in ("input_ids", "attention_mask")}} for row in rows
    ]


def test_a_batch_with_and_without_a_garment_is_each_of_its_rows(repository, pipeline):
    """The exported networks, on two requests in one: what one row lacks must not show in both."""
    import onnxruntime

    sample = SAMPLES["photo, upper"]
    height = contract.CANVAS_SIZES[0][0]
    person = sample.person[: height * 4 // 3]  # both rows then have the smallest canvas
    rows = [pipeline(person, sample.garment, "", "upper").tensors,
            pipeline(person, None, "a red t-shirt", "upper").tensors]  # fmt: skip
    rows = padded(rows)
    for name in ("text_encoder", "image_encoder", "generator"):
        served = contract.model(name)
        session = onnxruntime.InferenceSession(repository / name / "1" / "model.onnx")
        takes = {i.name for i in session.get_inputs()}
        feeds = [{k: v for k, v in row.items() if k in takes} for row in rows]
        both = {k: np.concatenate([feed[k] for feed in feeds]) for k in takes}
        outputs = [tensor.name for tensor in served.outputs]
        def answers(feed, session=session, outputs=outputs):
            found = dict(zip(outputs, session.run(outputs, feed), strict=True))
            return laid(found, feed)

        together = answers(both)
        for i, feed in enumerate(feeds):
            for key, one in answers(feed).items():
                if key == "painted" and i == 0:  # drawn for both, or for none
                    assert one.shape == (1, 1, 1, 4) and together[key].shape == (2, 256, 192, 4)
                    continue
                off = np.abs(one[0].astype(float) - together[key][i].astype(float))
                bound = 1 if one.dtype == np.uint8 else 2e-3
                assert off.max() <= bound, f"{name}, row {i}: {key} differs by {off.max()}"


def hits(server) -> dict[str, float]:
    """Answers that each network knew already, by the server's own metrics."""
    url = f"http://127.0.0.1:{server.metrics_port}/metrics"
    with urllib.request.urlopen(url, timeout=10) as page:
        lines = page.read().decode().splitlines()
    counted = (re.match(r'tryon_remembered_answers\{.*model="(\w+)".*\} (\S+)', x) for x in lines)
    return {found[1]: float(found[2]) for found in counted if found}


def test_a_known_garment_is_remembered_and_no_other_taken_for_it(server, client):
    sample = SAMPLES["photo, upper"]
    garment = np.asarray(sample.garment).copy()
    garment[240:260, 180:200] = (1, 2, 3)  # nobody has sent this one
    before = hits(server)
    first = client.try_on(sample.person, garment, "a new shirt", "upper")
    assert hits(server)["image_encoder"] == before["image_encoder"]
    again = client.try_on(sample.person, garment, "a new shirt", "upper")
    after = hits(server)
    assert {n for n in after if after[n] > before[n]} == set(REMEMBERED)
    np.testing.assert_array_equal(np.asarray(again.image), np.asarray(first.image))
    garment[200:300, 150:220] = (250, 2, 3)
    other = client.try_on(sample.person, garment, "a new shirt", "upper")
    assert hits(server)["image_encoder"] == after["image_encoder"]
    assert (np.asarray(other.image) != np.asarray(first.image)).any()


def test_nobody_and_several_people(client):
    sample = SAMPLES["photo, upper"]
    with pytest.raises(NoPersonFound, match="no person was found"):
        client.try_on(np.full((300, 200, 3), 90, np.uint8), sample.garment)
    with pytest.raises(SeveralPeople, match="2 people"):
        client.try_on(np.hstack([sample.person, sample.person]), sample.garment)


def test_many_refusals_at_once_leave_the_server_answering(client):
    """Refused in `decode` and in `crop`: with two first steps this once left the server stuck."""
    sample = SAMPLES["photo, upper"]
    expected = np.asarray(answer(client, sample).image)
    blank = np.full((300, 200, 3), 90, np.uint8)

    def refused(number: int) -> None:
        with pytest.raises(TryOnError):
            if number % 2:
                client.try_on(blank, sample.garment)
            else:
                client.try_on(sample.person, None, "\x07")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(refused, range(48)))
    np.testing.assert_array_equal(np.asarray(answer(client, sample).image), expected)


def test_refused_requests_are_let_go(client):
    """Triton 2.51 counts a refusal when it is said, and again when the request is free."""
    def failures() -> int:
        told = client._stub.ModelStatistics(wire.statistics_request(), timeout=10).model_stats
        return next(m.inference_stats.fail.count for m in told if m.name == contract.ENSEMBLE)

    sample, blank = SAMPLES["photo, upper"], np.full((300, 200, 3), 90, np.uint8)
    answer(client, sample)  # its garment is known from now on, so that the words are quick
    before = failures()
    for _ in range(20):
        with pytest.raises(NoPersonFound):
            client.try_on(blank, sample.garment, sample.prompt, sample.category)
    end = time.monotonic() + 10
    while failures() - before != 40 and time.monotonic() < end:
        time.sleep(0.05)
    assert failures() - before == 40


def test_the_ensemble_names_its_contract_and_counts_every_step(client):
    client.check()
    answer(client, SAMPLES["photo, upper"])
    stages = client.server_stages()
    others = {f"server.{m.name}" for m in (*contract.WARDROBE_MODELS, *contract.ENSEMBLES)}
    expected = {f"server.{m.name}" for m in contract.MODELS} | {"server"}
    assert set(stages) - others == expected, "a server of other tests too serves the wardrobe"


def test_metrics_are_served(server):
    url = f"http://127.0.0.1:{server.metrics_port}/metrics"
    with urllib.request.urlopen(url, timeout=5) as response:
        served = response.read().decode()
    assert 'nv_inference_request_success{model="tryon"' in served
    dashboard = ROOT / "deploy" / "container" / "grafana" / "dashboards" / "tryon.json"
    for name in set(re.findall(r"nv_inference_[a-z_]+", dashboard.read_text())):
        assert name in served, f"the dashboard asks for {name}, which Triton does not serve"


@pytest.mark.parametrize("service", ["http", "grpc", "metrics"])
def test_a_busy_port_is_named(repository, service):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            ServerError, match=rf"port {port} \({service}\) is in use.*--{service}-port"
        ):
            EmbeddedServer(repository, **{f"{service}_port": port}).start()


def test_an_unexported_repository_names_the_command(tmp_path):
    with pytest.raises(ServerError, match="run `make export`"):
        EmbeddedServer(tmp_path).start()


def test_a_broken_model_is_reported(repository, tmp_path):
    broken = tmp_path / "cpu"
    subprocess.run(["cp", "-r", str(repository), str(broken)], check=True)
    (broken / "pose" / "1" / "model.onnx").unlink()
    with pytest.raises(ServerError, match=r"model\.onnx is missing: run `make export`"):
        EmbeddedServer(broken).start()
    assert not processes(str(broken))


def processes(word: str) -> list[int]:
    """Ids of processes whose command line holds `word`, this one's own family left out."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if word in line and int(folder.name) != os.getpid() and "pytest" not in line:
            found.append(int(folder.name))
    return found


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_however_it_ends(repository, tmp_path, how):
    """`make serve`, stopped or killed: the server, its steps and its shared memory are gone."""
    ports = []
    for _ in range(3):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(str(free.getsockname()[1]))
    command = [sys.executable, "-m", "deploy.embedded", "--repository", str(repository),
               "--log", str(tmp_path / "log"), "--http-port", ports[0], "--grpc-port", ports[1],
               "--metrics-port", ports[2]]  # fmt: skip
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        assert re.match(
            r"serving after \d+ s: gRPC 127\.0\.0\.1:" + ports[1], serving.stdout.readline()
        )
        mark = f"tryon_{serving.pid}_"
        stubs = processes(mark)
        assert len(stubs) >= len(contract.MODELS)
        serving.send_signal(how)
        status = serving.wait(30)
    assert status == (-how if how == signal.SIGKILL else 0)
    end = time.monotonic() + 20
    while processes(mark) and time.monotonic() < end:
        time.sleep(0.1)
    assert not processes(mark)
    while list(Path("/dev/shm").glob(mark + "*")) and time.monotonic() < end:
        time.sleep(0.1)
    assert not list(Path("/dev/shm").glob(mark + "*"))
