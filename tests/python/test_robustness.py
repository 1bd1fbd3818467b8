# SPDX-License-Identifier: MIT
"""Trainings that diverge, are killed, or run out of disk: nothing is lost, one line says it."""

import contextlib
import math
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from ase.io import read
from pyictp import train
from pyictp.errors import UserError
from pyictp.potential.checkpoint import load_checkpoint
from pyictp.training.divergence import CHECK_INTERVAL, Diverged, LossWatch
from pyictp.training.run_folder import COLUMNS, RunFolder
from train_toys import assert_same_run, changed, make_config, rows, write_yaml

pytestmark = pytest.mark.usefixtures("quick_training")


@pytest.fixture
def config(tmp_path):
    return make_config(tmp_path)


# -- divergence -----------------------------------------------------------------------------------


def watch_losses(losses, factor=10.0):
    """Return the divergence that losses per structure of batches of two lead to, None without."""
    watch = LossWatch(torch.tensor([1.0, 2.0, 0.0]).double(), factor, torch.device("cpu"))
    try:
        for step, loss in enumerate(losses, start=1):
            watch.add(torch.tensor([loss, loss / 2, 5.0]).double(), step, (step, -step))
        watch.look()
    except Diverged as error:
        return error
    expected = np.cumsum(np.array(losses), dtype=float)[-1]
    assert watch.epoch_sums[0].item() == pytest.approx(expected)
    return None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("place", [1, 2, 49, 50, 51, 70])
def test_the_step_that_is_not_finite_is_named(bad, place):
    losses = [1.0] * 80
    losses[place - 1] = bad
    error = watch_losses(losses, factor=None)
    assert error.reason == "training loss became NaN or infinite"
    expected = [(step, (step, -step)) for step in (place - 1, place) if step > 0]
    assert error.suspects == expected


def test_only_losses_that_stay_far_above_the_median_are_a_divergence():
    rng = np.random.default_rng(0)
    usual = rng.uniform(1, 3, 120).tolist()
    assert watch_losses(usual) is None
    assert watch_losses([*usual, *[1e6] * 4, *usual]) is None  # odd structures
    assert watch_losses([1e6] * 30 + usual) is None  # a bad start
    assert watch_losses([*usual, *[9.0] * 40]) is None  # below ten times about two
    assert watch_losses([*usual, *[1e6] * 40], factor=None) is None
    error = watch_losses([*usual, *[30.0] * 40])
    assert [step for step, _ in error.suspects] == [120, 121]
    assert (
        error.reason == "training loss rose above 10 times its median (training.divergence_factor)"
    )


def test_a_resumed_watch_is_the_same():
    watch = LossWatch(torch.ones(3).double(), 10.0, torch.device("cpu"))
    for step in range(60):
        watch.add(torch.ones(3).double(), step, (0,))
    watch.look()
    other = LossWatch(torch.ones(3).double(), 10.0, torch.device("cpu"))
    other.load_state_dict(watch.state_dict())
    for step in range(5):
        other.add(torch.full((3,), 100.0).double(), step, (0,))
    with pytest.raises(Diverged):
        other.look()


def test_a_training_that_explodes_saves_the_structures(config, tmp_path):
    config = changed(config, learning_rate=1e4, max_epochs=40, ema_decay=None, optimizer="adam")
    with pytest.raises(
        UserError, match=r"^the training loss .* in epoch \d+, step \d+ \("
    ) as error:
        train.train(config)
    text = str(error.value)
    assert "or training.on_divergence to rollback" in text
    named = set(re.findall(r"train\.extxyz:(\d+)", text))
    source = read(tmp_path / "train.extxyz", ":")
    failed = read(tmp_path / "run" / "failed_batch.extxyz", ":")
    assert {atoms.info["name"].rsplit(":", 1)[1] for atoms in failed} == named
    for atoms in failed:
        original = source[int(atoms.info["name"].rsplit(":", 1)[1])]
        np.testing.assert_allclose(atoms.positions, original.positions, atol=1e-7)
        assert atoms.get_potential_energy() == pytest.approx(original.get_potential_energy())
        np.testing.assert_allclose(atoms.get_forces(), original.get_forces(), atol=1e-7)
        np.testing.assert_allclose(atoms.get_stress(), original.get_stress(), atol=1e-7)
    state = load_checkpoint(tmp_path / "run" / "last.pt")["model_state"]
    assert all(torch.isfinite(value).all() for value in state.values())


def test_a_validation_loss_that_is_not_finite_saves_the_structures_of_the_last_steps(
    config, tmp_path
):
    config = changed(
        config, learning_rate=1e30, optimizer="adam", batch_size=25, warmup_fraction=0.0
    )
    message = (
        r"^the validation loss became NaN or infinite in epoch 1, step 1 \(train\.extxyz:.*\): "
        r"see '.*/run/failed_batch\.extxyz'; lower training\.learning_rate, "
    )
    with pytest.raises(UserError, match=message):
        train.train(config)
    failed = read(tmp_path / "run" / "failed_batch.extxyz", ":")
    assert [atoms.info["step"] for atoms in failed] == [1] * 7


def test_a_rollback_is_the_training_with_a_lower_rate(config, tmp_path):
    config = changed(config, learning_rate=1e6, optimizer="adam")
    factor = 2.0**-6  # exact: the comparison is bit for bit
    wild = changed(config, on_divergence="rollback", rollback_factor=factor)
    trainer, outcome = train.train(wild)
    assert outcome.value == "finished"
    rollbacks = trainer.position.num_rollbacks
    assert 1 <= rollbacks <= 3
    log = (tmp_path / "run" / "ictp.log").read_text()
    assert log.count("back to epoch 0, step 0, with") == rollbacks
    assert f"with {factor**rollbacks:g} of the learning rate (rollback {rollbacks} of" in log
    tame = changed(config, output=str(tmp_path / "tame"), learning_rate=1e6 * factor**rollbacks)
    train.train(tame)
    assert rows(tmp_path / "run") == rows(tmp_path / "tame")


def test_rollbacks_come_to_an_end(config):
    config = changed(
        config,
        learning_rate=1e30,
        on_divergence="rollback",
        rollback_factor=0.9,
        max_epochs=99,
        optimizer="adam",
    )
    with pytest.raises(UserError, match=r"3 rollbacks did not help; lower training.learning_rate"):
        train.train(config)


# -- killed at any moment -------------------------------------------------------------------------


@pytest.mark.long
def test_killed_again_and_again_it_is_the_same_training(config, tmp_path):
    config = changed(config, max_epochs=300, dtype="float64", num_threads=1)
    train.train(config)
    again = changed(config, output=str(tmp_path / "again"))
    command = [sys.executable, "-m", "pyictp", "train"]
    command.append(str(write_yaml(again, tmp_path / "again.yaml")))
    seed = random.SystemRandom().randrange(10**6)
    print(f"moments drawn with seed {seed}")  # pytest shows it if this fails
    rng = random.Random(seed)
    log, last = tmp_path / "again" / "log.csv", tmp_path / "again" / "last.pt"
    for new_epochs in (None, 0, *(rng.randint(1, 15) for _ in range(4))):
        process = subprocess.Popen([*command, "--resume"] if last.exists() else command)
        if new_epochs is None:  # while it imports, reads, writes its first files
            time.sleep(rng.uniform(0.0, 2.0))
        else:
            wait_for_epochs(process, log, new_epochs, last)
            time.sleep(rng.uniform(0.0, 0.1))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert len(rows(tmp_path / "again")) < 300
    (tmp_path / "again" / ".last.pt.12345-0a1b2c3d").write_bytes(b"half a checkpoint")
    assert subprocess.run([*command, "--resume"], check=False).returncode == 0
    assert_same_run(tmp_path / "run", tmp_path / "again")
    assert [path.name for path in (tmp_path / "again").glob(".*")] == [".lock"]


def wait_for_epochs(process, log, number, last):
    """Wait until a training has done so many more epochs, at least its start."""
    before = log.read_text().count("\n") if log.exists() else 0
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        done = log.read_text().count("\n") if log.exists() else 0
        if last.exists() and done - before >= number:
            return
        time.sleep(0.002)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_checkpoint_is_refused(config, tmp_path, part):
    config = changed(config, max_epochs=1)
    train.train(config)
    last = tmp_path / "run" / "last.pt"
    content = last.read_bytes()
    last.write_bytes(content[: int(part * len(content))])
    before = {file: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    with pytest.raises(UserError, match=r"last.pt' is not a checkpoint .* or is truncated: "):
        train.train(changed(config, max_epochs=2), resume=True)
    assert {file: file.read_bytes() for file in (tmp_path / "run").iterdir()} == before


def test_logs_that_are_old_or_cut_short_are_read(tmp_path):
    folder = RunFolder(tmp_path)
    old = COLUMNS[:-2]
    folder.log.write_text(",".join(old) + "\n" + ",".join(["1"] * len(old)) + "\n2,0.5,0.")
    assert [row["epoch"] for row in folder.read_rows()] == ["1"]
    folder.drop_rows_after(5)
    folder.append_row({"epoch": 2, "step": 4, "epoch_seconds": 1.5})
    read_again = folder.read_rows()
    assert [row["epoch"] for row in read_again] == ["1", "2"]
    assert read_again[0]["epoch_seconds"] == ""
    assert read_again[1]["epoch_seconds"] == "1.5"


# -- disks ----------------------------------------------------------------------------------------


@pytest.fixture
def mount(tmp_path):
    """Return a function that mounts an empty file system in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def make(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("there is no mount command")
        if done.returncode:
            pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
        return folder

    yield make
    subprocess.run(["umount", str(folder)], capture_output=True, check=False)


def test_a_full_disk_keeps_the_last_good_checkpoint(config, mount):
    disk = mount("size=512k")
    config = changed(config, output=str(disk / "run"))
    train.train(changed(config, max_epochs=2))
    before = load_checkpoint(disk / "run" / "last.pt")["training_state"]["position"]
    fill = disk / "fill"
    with fill.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"0" * 4096)
    assert os.statvfs(disk).f_bavail == 0
    with pytest.raises(UserError, match=r"^cannot write '.*': No space left on device: make room"):
        train.train(config, resume=True)
    assert load_checkpoint(disk / "run" / "last.pt")["training_state"]["position"] == before
    fill.unlink()
    trainer, _ = train.train(config, resume=True)
    assert trainer.position.epoch == 6
    assert [row["epoch"] for row in rows(disk / "run")] == ["1", "2", "3", "4", "5", "6"]


def test_a_read_only_disk_is_refused_before_the_data_are_read(config, mount):
    disk = mount("ro,size=64k")
    expected = re.escape(f"cannot write '{disk}/run': Read-only file system: allow writing there")
    with pytest.raises(UserError, match=f"^{expected} or choose another folder$"):
        train.train(changed(config, output=str(disk / "run")))


def test_a_limit_on_file_sizes_is_one_line(config, tmp_path):
    path = write_yaml(config, tmp_path / "config.yaml")

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    done = subprocess.run(
        [sys.executable, "-m", "pyictp", "train", str(path)],
        capture_output=True,
        text=True,
        preexec_fn=limit,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 1
    last = tmp_path / "run" / "last.pt"
    assert done.stderr.splitlines()[-1] == (
        f"error: cannot write '{last}': File too large: make room on that disk (or raise the "
        "limit) and run the command again"
    )
    assert "Traceback" not in done.stderr
    left = [path.name for path in (tmp_path / "run").iterdir()]
    assert left == [".lock"]  # so it can be started again


def test_a_look_comes_before_the_buffer_is_full():
    watch = LossWatch(torch.ones(3).double(), None, torch.device("cpu"))
    for step in range(3 * CHECK_INTERVAL + 7):
        watch.add(torch.full((3,), float(step)).double(), step, (0,))
    watch.look()
    assert watch.epoch_sums.tolist() == [sum(range(3 * CHECK_INTERVAL + 7))] * 3
