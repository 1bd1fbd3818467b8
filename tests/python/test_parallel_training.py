# SPDX-License-Identifier: MIT
"""Several processes under torchrun: the curve of one, and one end for all."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from pyictp import train
from pyictp.potential.checkpoint import load_checkpoint
from train_toys import changed, make_config, rows, write_yaml

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_training")]


@pytest.fixture
def config(tmp_path):
    """Seven structures in batches of three: the last batch leaves a process without any."""
    config = changed(make_config(tmp_path), dtype="float64", max_grad_norm=20.0, weight_decay=0.1)
    # parameters that no derivative reaches must stay as they are in one process
    model = dataclasses.replace(config.model, odd_products=True)
    return dataclasses.replace(config, model=model)


def torchrun(tmp_path, config, *arguments, processes=2):
    """Start `ictp train`; its output goes to a file."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), "-m", "pyictp", "train"]
    command += [str(write_yaml(config, tmp_path / "config.yaml")), *arguments]
    with (tmp_path / "out.txt").open("w") as file:
        return subprocess.Popen(
            command, stdout=file, stderr=file, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )


def finish(process, tmp_path, seconds=120):
    """Return exit status and output."""
    try:
        status = process.wait(seconds)
    finally:
        process.kill()
    return status, (tmp_path / "out.txt").read_text()


def assert_close_runs(one, other):
    """Compare losses, errors and weights; the order of sums differs."""
    first, second = rows(one), rows(other)
    assert len(first) == len(second)
    for row, twin in zip(first, second, strict=True):
        for name, text in row.items():
            assert bool(text) == bool(twin[name])
            if text:
                assert float(twin[name]) == pytest.approx(float(text), rel=1e-6), name
    states = [load_checkpoint(path / "last.pt")["model_state"] for path in (one, other)]
    for key, value in states[0].items():
        torch.testing.assert_close(states[1][key], value, rtol=1e-6, atol=1e-8)


def test_two_processes_follow_the_curve_of_one_whatever_comes_between(config, tmp_path):
    config = changed(config, schedule="cosine", max_epochs=12)
    train.train(config)
    pair = changed(config, output=str(tmp_path / "pair"))
    process = torchrun(tmp_path, pair, "training.max_epochs=12")
    log = tmp_path / "pair" / "log.csv"
    deadline = time.monotonic() + 100
    while not log.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    status, output = finish(process, tmp_path)
    if status:  # else it was done before
        assert len(re.findall(r"stopped by a signal in epoch .* saved", output)) == 1, output
        assert 'Traceback (most recent call last):\n  File "/' not in output.split("saved")[0]
        status, output = finish(torchrun(tmp_path, pair, "--resume", processes=3), tmp_path)
        assert status == 0, output
    assert output.count("finished after 12 epochs") == 1
    assert_close_runs(tmp_path / "run", tmp_path / "pair")
    trainer, _ = train.train(changed(pair, max_epochs=13), resume=True)  # and by one process
    assert trainer.position.epoch == 13


def test_one_process_without_a_finite_loss_ends_all_with_one_line(config, tmp_path):
    frames = read(tmp_path / "train.extxyz", ":")
    frames[4].calc = SinglePointCalculator(  # a number, but its square is none
        frames[4], energy=1e200, forces=frames[4].get_forces(), stress=frames[4].get_stress()
    )
    write(tmp_path / "train.extxyz", frames)
    data = dataclasses.replace(
        config.data, num_train=8, num_valid=1, split_seed=1, check_labels=False
    )
    model = dataclasses.replace(config.model, avg_num_neighbors=12.0)
    config = dataclasses.replace(config, data=data, model=model)
    status, output = finish(torchrun(tmp_path, config), tmp_path)
    assert status == 1
    errors = [line for line in output.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, output
    assert "the training loss became NaN or infinite in epoch 1, step" in errors[0]
    failed = read(tmp_path / "run" / "failed_batch.extxyz", ":")
    assert any(atoms.get_potential_energy() == 1e200 for atoms in failed)


def test_an_error_of_the_first_process_ends_all_with_one_line(config, tmp_path):
    (tmp_path / "file").write_text("")
    config = changed(config, output=str(tmp_path / "file" / "run"))
    status, output = finish(torchrun(tmp_path, config), tmp_path)
    assert status == 1
    errors = [line for line in output.splitlines() if line.startswith("error:")]
    assert errors == [f"error: cannot write '{tmp_path}/file/run': Not a directory"], output
