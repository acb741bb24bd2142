"""Workers: conversions, answers, failures as reasons; and the whole comparison with what the tests' environment has."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from edgenet.bench.peers import comparison, conversion, environments, network, process
from edgenet.bench.peers.__main__ import arguments_parser, main
from edgenet.bench.peers.entry import Options
from edgenet.bench.peers.job import Job
from edgenet.bench.peers.process import PeerFailure
from edgenet.bench.peers.turns import Turns
from edgenet.errors import ConversionError, InputError


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    return network.prepare("tiny_separable", tmp_path_factory.mktemp("networks"))


def test_a_peer_converts_serves_and_answers(job: Job) -> None:
    model = process.convert(sys.executable, "peer_torch", "float32_eager", job.folder, 120)
    assert Path(model["path"]).stat().st_size == model["file_bytes"]
    worker, cold = process.serve(
        sys.executable, "peer_torch", "float32_eager", model["path"], job.input_file, 1, comparison.cores(1)
    )
    try:
        assert set(cold) == {"import_ms", "load_ms", "first_ms"}
        assert min(cold.values()) > 0
        worker.go_on()
        np.testing.assert_allclose(
            worker.ask("output")["output"], np.load(job.reference_file).ravel(), rtol=1e-4, atol=1e-5
        )
        assert len(worker.ask("run", seconds=0)["times_ms"]) == 3
        memory = worker.ask("memory")
        assert memory["peak_rss_bytes"] >= memory["rss_bytes"] > 10**7
    finally:
        worker.close()


def test_an_error_in_the_worker_is_the_reason(job: Job) -> None:
    with pytest.raises(PeerFailure, match=r"Error: .*nowhere"):
        process.serve(sys.executable, "peer_torch", "float32_eager", "nowhere.pt2", job.input_file, 1, [])


def test_a_worker_that_dies_is_a_failure(job: Job) -> None:
    model = process.convert(sys.executable, "peer_torch", "float32_eager", job.folder, 120)
    worker, _ = process.serve(
        sys.executable, "peer_torch", "float32_eager", model["path"], job.input_file, 1, comparison.cores(1)
    )
    worker._process.kill()
    with pytest.raises(PeerFailure, match="signal 9"):
        worker.ask("output")
    worker.close()


def test_a_conversion_has_a_time_limit(job: Job) -> None:
    with pytest.raises(PeerFailure, match="no answer within"):
        process.convert(sys.executable, "peer_edgenet", "int8", job.folder, 0.01)


def test_an_environment_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a virtual environment"):
        environments.environments([tmp_path])


def test_environments_may_be_named_together_or_one_by_one() -> None:
    given = arguments_parser().parse_args(["--venv", "a", "b", "--venv", "c"]).venv
    assert given == [Path("a"), Path("b"), Path("c")]
    assert arguments_parser().parse_args([]).venv == []


def test_missing_peers_are_rows_with_the_reason(job: Job) -> None:
    here = environments.Environment(sys.executable, frozenset(), {})
    entries = conversion.convert_all([here], Options(), job, lambda done, total: None)
    rows = comparison.time_all(entries, Options(), job, Turns(lambda threads: True, 0), lambda done, total: None)
    assert {row["peer"] for row in rows} >= {"edgenet", "onnxruntime", "openvino", "ncnn", "litert"}
    assert all(row["failure"] and "median_ms" not in row for row in rows)


def test_the_command_compares_edgenet_with_torch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "figures.json"
    words = ["--networks", "tiny_separable", "--peers", "edgenet", "torch", "--threads", "1", "--rounds", "2"]
    assert main([*words, "--patience", "0", "--seconds", "0.01", "--json", str(target)]) == 0
    figures = json.loads(target.read_text())
    rows = {(row["peer"], row["variant"]): row for row in figures["rows"]}
    assert all(not row["failure"] for row in rows.values())
    assert rows["edgenet", "float32"]["cosine"] > 0.999999
    assert rows["edgenet", "float32"]["relative_error"] < 1e-4
    assert rows["edgenet", "int8"]["cosine"] > 0.98
    assert rows["edgenet", "int8"]["rounds"] == 2
    assert [cell["precision"] for cell in figures["ratios"]] == ["float32"]
    assert "edgenet / best peer" in capsys.readouterr().out


def test_the_command_takes_a_network_of_the_users_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = torch.export.export(torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.ReLU()), (torch.zeros(1, 5, 6),))
    torch.export.save(program, tmp_path / "mine.pt2")
    words = ["--networks", str(tmp_path / "mine.pt2"), "--peers", "edgenet", "torch", "--precision", "float32"]
    assert main([*words, "--patience", "0", "--threads", "1", "--rounds", "1", "--seconds", "0"]) == 0
    assert "mine" in capsys.readouterr().out
    assert main(["--networks", str(tmp_path / "mine.pt2"), "elsewhere/mine.pt2"]) == 1
    assert "There is no file elsewhere/mine.pt2" in capsys.readouterr().err
    (tmp_path / "tiny_separable.pt2").write_bytes((tmp_path / "mine.pt2").read_bytes())
    assert main(["--networks", "tiny_separable", str(tmp_path / "tiny_separable.pt2")]) == 1
    assert "one name" in capsys.readouterr().err


def test_a_file_must_hold_a_network_with_one_input(tmp_path: Path) -> None:
    class Sum(torch.nn.Module):
        def forward(self, x, y):
            return x + y

    torch.export.save(torch.export.export(Sum(), (torch.zeros(1, 3), torch.zeros(1, 3))), tmp_path / "sum.pt2")
    with pytest.raises(ConversionError, match="one input"):
        network.prepare(str(tmp_path / "sum.pt2"), tmp_path)


def test_conversions_are_used_again_for_the_same_network(job: Job) -> None:
    here = environments.probe(sys.executable)
    options = Options(peers=["torch"], precisions=["float32"])

    def stamps() -> list[int]:
        entries = conversion.convert_all([here], options, job, lambda done, total: None)
        assert not any(entry.failure for entry in entries)
        return [Path(entry.path).stat().st_mtime_ns for entry in entries]

    first = stamps()
    assert stamps() == first
    calibration = np.load(job.calibration_file)
    np.save(job.calibration_file, calibration + 1)
    try:
        assert all(new > old for new, old in zip(stamps(), first, strict=True))
    finally:
        np.save(job.calibration_file, calibration)


def test_an_unknown_network_is_a_user_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--networks", "nonsense"]) == 1
    assert "nonsense" in capsys.readouterr().err
