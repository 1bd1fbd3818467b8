# SPDX-License-Identifier: MIT
"""Trainings that are stopped, resumed, refused, fine-tuned."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from ase.io import read, write
from pyictp import train
from pyictp.cli.main import build_parser
from pyictp.common.interrupt import StopRequest, leaving_at_once
from pyictp.config.load import ModelConfig
from pyictp.errors import UserError
from pyictp.model.ictp import ICTPModel
from pyictp.potential.checkpoint import load_checkpoint, save_checkpoint
from pyictp.training import run_folder
from train_toys import MODEL, changed, emt_frames, make_config, rows

pytestmark = pytest.mark.usefixtures("quick_training")


@pytest.fixture
def config(tmp_path):
    return make_config(tmp_path)


def test_finetune_starts_from_the_best_weights(config, tmp_path):
    train.train(config)
    other = dataclasses.replace(changed(config, output=str(tmp_path / "fine"), learning_rate=1e-30))
    other = dataclasses.replace(other, model=ModelConfig())
    trainer, _ = train.train(other, finetune=tmp_path / "run")
    start = load_checkpoint(tmp_path / "run" / "best.pt")
    assert trainer.model.config.r_cut == MODEL.r_cut
    for key, value in start["model_state"].items():
        torch.testing.assert_close(trainer.model.state_dict()[key], value, rtol=1e-6, atol=1e-12)


def test_the_run_folder_is_made_before_the_data_are_read(config, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(train, "prepare_data", None)
    with pytest.raises(UserError, match=r"^cannot write '.*/file/run': Not a directory$"):
        train.train(changed(config, output=str(tmp_path / "file" / "run")))


def test_finetune_refits_the_shift(config, tmp_path):
    train.train(config)
    shifted = emt_frames(10)
    for atoms in shifted:
        atoms.calc.results["energy"] += 3 * 7.0 - 4.0  # 7 eV per Cu, -4 eV per Ni
    write(tmp_path / "shifted.extxyz", shifted)
    other = changed(config, output=str(tmp_path / "fine"), refit_shift=True, max_epochs=1)
    data = dataclasses.replace(config.data, train=(str(tmp_path / "shifted.extxyz"),))
    train.train(dataclasses.replace(other, data=data), finetune=tmp_path / "run")
    mae = float(rows(tmp_path / "fine")[0]["valid_energy_mae"])
    assert mae < 0.5  # eV/atom; 4.25 without


def test_finetune_refuses_what_contradicts(config, tmp_path):
    train.train(changed(config, max_epochs=1))
    other = changed(config, output=str(tmp_path / "fine"))
    expected = (
        "--finetune: model.r_cut is 6.0, but the model to start from has 3.5: "
        "leave the key out (its architecture is kept)"
    )
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        train.train(other, finetune=tmp_path / "run", given_model={"r_cut": 6.0})
    with pytest.raises(UserError, match=r"set another training\.output"):
        train.train(config, finetune=tmp_path / "run", overwrite=True)
    with pytest.raises(UserError, match=r"expected a run folder with best\.pt, or a checkpoint"):
        train.train(other, finetune=tmp_path / "nowhere")


def test_an_existing_run_is_not_overwritten_by_accident(config, tmp_path):
    config = changed(config, max_epochs=1)
    with pytest.raises(UserError, match=r"^nothing to resume: '.*last.pt' does not exist"):
        train.train(config, resume=True)
    train.train(config)
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"already holds a training .* --resume, .* --overwrite"):
        train.train(config)
    train.train(config, overwrite=True)
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_resume_refuses_another_configuration(config):
    train.train(changed(config, max_epochs=1))
    expected = "--resume: training.batch_size is 2, but the training was started with 3"
    with pytest.raises(UserError, match=f"^{re.escape(expected)}"):
        train.train(changed(config, batch_size=2), resume=True)
    other = dataclasses.replace(config, model=dataclasses.replace(config.model, r_cut=4.0))
    with pytest.raises(UserError, match=r"^--resume: model.r_cut is 4.0"):
        train.train(other, resume=True)


def shift_energy(frames):
    frames[4].calc.results["energy"] += 1e-3


def shift_force(frames):
    frames[4].calc.results["forces"][2, 0] += 1e-3


def move_atom(frames):
    frames[4].positions[1, 2] += 1e-3


@pytest.mark.parametrize("change", [shift_energy, shift_force, move_atom, list.reverse])
def test_resume_refuses_other_structures_and_labels(config, tmp_path, change):
    train.train(changed(config, max_epochs=1))
    frames = read(tmp_path / "train.extxyz", ":")
    write(tmp_path / "train.extxyz", frames)  # written again they are the same
    train.train(changed(config, max_epochs=2), resume=True)
    change(frames)
    write(tmp_path / "train.extxyz", frames)
    expected = (
        "--resume: expected the structures and labels that the training was started with, got "
        "others: put the old data back, or start anew with another training.output"
    )
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        train.train(changed(config, max_epochs=3), resume=True)


@pytest.mark.parametrize("key", ["data_digest", "num_valid"])
def test_resume_refuses_what_does_not_say_its_data(config, tmp_path, key):
    train.train(changed(config, max_epochs=1))
    last = tmp_path / "run" / "last.pt"
    payload = load_checkpoint(last)
    del payload["provenance"][key]
    torch.save(payload, last)
    with pytest.raises(UserError, match=r"^--resume: .*data"):
        train.train(changed(config, max_epochs=3), resume=True)


def forget_a_step(optimizer):
    del optimizer["Adam"]["state"][0]["step"]


def forget_momentum(optimizer):
    optimizer["Muon"]["state"] = {k: {} for k in optimizer["Muon"]["state"]}


def no_number(optimizer):
    optimizer["Adam"]["state"][0]["exp_avg"].view(-1)[0] = float("nan")


def forget_an_option(optimizer):
    del optimizer["Adam"]["param_groups"][0]["betas"]


@pytest.mark.parametrize("damage", [forget_a_step, forget_momentum, no_number, forget_an_option])
def test_resume_refuses_a_damaged_optimiser(config, tmp_path, damage):
    config = changed(config, max_epochs=1, optimizer="muon")
    train.train(config)
    last = tmp_path / "run" / "last.pt"
    payload = load_checkpoint(last)
    damage(payload["training_state"]["optimizer"])
    torch.save(payload, last)
    with pytest.raises(UserError, match=r"^--resume: the state in '.*last.pt' is not that of such"):
        train.train(changed(config, max_epochs=2), resume=True)


def test_rows_after_the_last_checkpoint_are_dropped(config, tmp_path):
    train.train(changed(config, max_epochs=2))
    folder = run_folder.RunFolder(tmp_path / "run")
    folder.append_row({"epoch": 3, "step": 9})
    train.train(changed(config, max_epochs=3), resume=True)
    assert [row["epoch"] for row in rows(tmp_path / "run")] == ["1", "2", "3"]
    assert rows(tmp_path / "run")[-1]["valid_loss"]


def test_writing_is_atomic(tmp_path, monkeypatch):
    """A process that dies while it writes leaves the old checkpoint."""
    path = tmp_path / "last.pt"
    model = ICTPModel(dataclasses.replace(MODEL, elements=("Cu",), avg_num_neighbors=12.0))
    save_checkpoint(path, model, epoch=1)

    def die(*_args, **_kwargs):
        raise KeyboardInterrupt

    for function in ("replace", "rename"):
        monkeypatch.setattr(os, function, die)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, model, epoch=2)
    assert load_checkpoint(path)["epoch"] == 1


COMMAND = """
import sys
from pyictp.cli.main import main
sys.exit(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_training_goes_on(tmp_path, number):
    make_config(tmp_path)
    (tmp_path / "c.yaml").write_text(
        "model: {r_cut: 3.5, num_channels: 4, l_max_edge: 1, correlation: 2, radial_hidden: [8]}\n"
        "data: {train: train.extxyz, num_valid: 3}\n"
        "training: {output: run, max_epochs: 100000, device: cpu, num_threads: 1}\n"
    )
    command = [sys.executable, "-c", COMMAND, "train", "c.yaml", "training.batch_size=2"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    log = tmp_path / "run" / "log.csv"
    deadline = time.monotonic() + 120
    while not (log.exists() and len(log.read_text().splitlines()) > 1):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert "continue with: ictp train c.yaml training.batch_size=2 --resume" in error
    assert "Traceback" not in error
    position = load_checkpoint(tmp_path / "run" / "last.pt")["training_state"]["position"]
    if number == signal.SIGTERM:
        return
    end = f"training.max_epochs={position['epoch'] + 2}"
    subprocess.run([*command, end, "--resume"], cwd=tmp_path, check=True, timeout=120)
    assert len(rows(tmp_path / "run")) == position["epoch"] + 2


EARLY = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:  # as where numpy is imported
                raise RecursionError from None

sys.meta_path.insert(0, Interrupt())
from pyictp.cli.main import main
sys.exit(main(["train", "c.yaml"]))
"""


@pytest.mark.parametrize("module", ["argparse", "pyictp.cli.train", "numpy", "pyictp.train"])
def test_ctrl_c_while_modules_are_imported_is_one_line(tmp_path, module):
    done = subprocess.run(
        [sys.executable, "-c", EARLY, module],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_the_handler_for_imports_is_only_there_while_they_last():
    before = signal.getsignal(signal.SIGINT)
    with leaving_at_once():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
    with StopRequest(), leaving_at_once():
        assert isinstance(signal.getsignal(signal.SIGINT).__self__, StopRequest)


def test_parser_knows_its_options():
    args = build_parser(["train"]).parse_args(["train", "c.yaml", "a.b=1", "--finetune", "old"])
    assert (args.config, args.overrides, args.finetune) == ("c.yaml", ["a.b=1"], "old")
    assert args.needs == "pyictp.train"
    assert (args.resume, args.overwrite) == (False, False)
