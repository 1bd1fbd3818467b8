# SPDX-License-Identifier: MIT
"""Make the reference files of this folder with sevenn; no test runs this.

In an environment of its own (`pip install torch==2.13.0 sevenn==0.13.0`):

    python tests/data/sevennet/make.py [NAME ...]

Each case is a checkpoint of random weights as sevenn writes it (NAME.pth.xz), and what sevenn makes
of an alloy and a molecule with its layers in float64 (NAME.npz): energies, forces, stress.

    python tests/data/sevennet/make.py --checkpoint FILE --head NAME --frames IN.traj -o OUT.npz

gives what its calculator (float32) and its layers in float64 make of the frames of a file.
"""

from __future__ import annotations

import argparse
import io
import lzma
import warnings
from pathlib import Path

import numpy as np
import sevenn._const as constants
import sevenn._keys as keys
import torch
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers
from ase.io import read
from e3nn.o3 import wigner_3j
from sevenn.atom_graph_data import AtomGraphData
from sevenn.calculator import SevenNetCalculator
from sevenn.model_build import build_E3_equivariant_model
from sevenn.train.dataload import unlabeled_atoms_to_graph

FOLDER = Path(__file__).parent
ELEMENTS = ["C", "H", "Nb", "O", "Ta", "V"]
XPLOR = {"cutoff_function_name": "XPLOR", "cutoff_on": 3.6}
DEFAULTS = {
    **constants.model_defaults({}),
    "version": "0.13.0",
    "_model_type": "E3_equivariant_model",
    "chemical_species": ELEMENTS,
    "_number_of_species": len(ELEMENTS),
    "_type_map": {atomic_numbers[e]: i for i, e in enumerate(ELEMENTS)},
    "cutoff": 4.5,
    "channel": 3,
    "lmax": 2,
    "is_parity": False,
    "num_convolution_layer": 3,
    "radial_basis": {"radial_basis_name": "bessel", "bessel_basis_num": 5},
    "cutoff_function": {"cutoff_function_name": "poly_cut", "poly_cut_p_value": 6},
    "weight_nn_hidden_neurons": [7],
    "conv_denominator": [1.3, 1.1, 0.7],  # small: else three layers change little
    "self_connection_type": "linear",
    "shift": [-3.1, 0.7, -2.2, 1.4, -8.0, 0.3],
    "scale": [1.2, 0.8, 1.1, 0.9, 1.3, 0.7],
}
MANUAL = {
    "irreps_manual": ["6x0e", "6x0e+4x1e+2x2e", "6x0e+3x1e+2x2e", "4x0e"],
    "cutoff_function": XPLOR,
    "weight_nn_hidden_neurons": [8, 6],
}
MODAL = {
    "use_modality": True,
    "_modal_map": {"pbe": 0, "r2scan": 1, "cc": 2},
    "_number_of_modalities": 3,
    "use_modal_node_embedding": True,
    "use_modal_self_inter_intro": True,
    "use_modal_self_inter_outro": True,
    "use_modal_output_block": True,
    "use_modal_wise_shift": True,
    "use_modal_wise_scale": False,
    "shift": [DEFAULTS["shift"], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [-1.0] * 6],
}
FOUR = {"conv_denominator": [1.3, 1.1, 0.7, 0.6], "weight_nn_hidden_neurons": [6]}
CASES = {
    "manual": MANUAL,
    "rank3": {"lmax": 3, "channel": 2},
    "by_species": {
        "self_connection_type": "nequip",
        "use_bias_in_linear": True,
        "train_shift_scale": True,
        "shift": -2.0,
        "scale": 1.7,
    },
    "methods": {**MODAL, "lmax": 1},
    "both_parities": {"is_parity": True, "num_convolution_layer": 4, "channel": 2, **FOUR},
    "pseudo_scalars": {  # after the third layer; energies depend on them by three more
        "is_parity": True,
        "num_convolution_layer": 6,
        "conv_denominator": [1.3, 1.1, 0.7, 0.6, 0.9, 0.8],
        "lmax": 1,
        "channel": 3,
        "self_connection_type": "nequip",
        "use_bias_in_linear": True,
        "cutoff_function": XPLOR,
    },
    "parity_manual": {
        "is_parity": True,
        **FOUR,
        "num_convolution_layer": 4,
        "irreps_manual": ["4x0e", "4x0e+3x1o", "4x0e+3x1o+1x1e+2x2e", "3x0e+2x1o+2x2e", "4x0e"],
    },
    "old": {**MANUAL, "version": "0.9.1"},  # as files before April 2024 are, see `as_old`
}
SMALL = {
    "chemical_species": ["H", "O"],
    "_number_of_species": 2,
    "_type_map": {1: 0, 8: 1},
    "shift": 0.0,
    "scale": 1.0,
    "lmax": 1,
    "channel": 2,
    "num_convolution_layer": 1,
    "conv_denominator": [1.3],
}
REFUSED = {
    "pseudo_gate": {"is_parity": True, "act_scalar": {"e": "silu", "o": "abs"}},
    "readout": {
        "readout_as_fcn": True,
        "readout_fcn_activation": "relu",
        "readout_fcn_hidden_neurons": [3],
    },
    "tanh": {"act_radial": "tanh"},
}
HEADS = {"methods": "r2scan"}
OLD_NAMES = {
    "edge_embedding": "EdgeEmbedding",
    "reduce_input_to_hidden": "reducing nn input to hidden",
    "reduce_hidden_to_energy": "reducing nn hidden to energy",
    "rescale_atomic_energy": "rescale atomic energy",
}
ETHANOL = [
    [0.0, 0.0, 0.0],
    [1.5, 0.0, 0.0],
    [2.0, 1.3, 0.1],
    [-0.4, 1.0, 0.0],
    [-0.4, -0.5, 0.9],
    [-0.4, -0.5, -0.9],
    [1.9, -0.5, 0.9],
    [1.9, -0.5, -0.9],
    [2.9, 1.3, 0.2],
]


def make_checkpoint(changes: dict, seed: int) -> dict:
    """Return what sevenn saves of a model of random weights."""
    torch.manual_seed(seed)
    config = {**DEFAULTS, **changes}
    model = build_E3_equivariant_model(dict(config))
    state = model.state_dict()
    state["edge_embedding.basis_function.coeffs"] *= 1.0 + 0.05 * torch.rand(5)  # as if trained
    for name, value in state.items():
        if name.endswith("bias"):
            value += torch.randn(value.shape)
    if config["version"] == "0.9.1":
        state = as_old(state)
        config.pop("_normalize_sph")  # and so harmonics are those of vectors in A
        config["cutoff_function"] = {**XPLOR, "poly_cut_p_value": 6}
    return {"model_state_dict": state, "config": config, "epoch": 0}


def as_old(state: dict) -> dict:
    """Return weights under the names, and in the order, of versions before April 2024.

    The weights of another model then: paths are read in the order in which they were made, and
    odd couplings of which e3nn has turned the signs since have the old ones.
    """
    found = {}
    for key, value in state.items():
        module, _, rest = key.partition(".")
        if module[0].isdigit() and not module.endswith("self_interaction_1"):
            module = module.replace("_", " ")
        module = OLD_NAMES.get(module, module)
        if "_w3j_" in rest and rest[-5:] in ("1_2_2", "2_1_2", "2_2_1"):
            value = -value
        found[f"{module}.{rest.replace('denominator', 'denumerator')}"] = value
    return found


def structures() -> list[Atoms]:
    """Return a strained, rattled alloy and a molecule."""
    alloy = bulk("Ta", "bcc", a=3.2, cubic=True) * (2, 1, 1)
    alloy.set_atomic_numbers([73, 23, 41, 73])
    alloy.set_cell(alloy.cell @ [[1.02, 0.03, 0.0], [0.0, 0.99, 0.02], [0.01, 0.0, 1.0]])
    alloy.rattle(0.15, seed=1)
    ethanol = Atoms("CCOHHHHHH", ETHANOL)
    ethanol.rattle(0.05, seed=2)
    return [alloy, ethanol]


def in_float64(model: torch.nn.Module) -> torch.nn.Module:
    """Return a model whose layers are in float64, with couplings that are not rounded."""
    model = model.double()
    for name, rounded in model.named_buffers():
        if "_w3j_" in name:
            ranks = [int(rank) for rank in name.rpartition("_w3j_")[2].split("_")]
            exact = wigner_3j(*ranks, dtype=torch.float64)
            exact = exact * torch.sign((exact * rounded).sum())
            assert (exact - rounded).abs().max() < 1e-6
            rounded.copy_(exact)
    return model


def evaluate(model: torch.nn.Module, atoms: Atoms, cutoff: float, head: str | None) -> dict:
    """Return the results of a model in float64, edge vectors not rounded either."""
    data = AtomGraphData.from_numpy_dict(unlabeled_atoms_to_graph(atoms, cutoff, with_shift=True))
    if head:
        data[keys.DATA_MODALITY] = head
    center, neighbor = data[keys.EDGE_IDX]
    positions, cell = torch.tensor(atoms.positions), torch.tensor(atoms.cell.array)
    vectors = positions[neighbor] - positions[center] + data[keys.CELL_SHIFT].double() @ cell
    data[keys.EDGE_VEC] = vectors.requires_grad_(True)
    data[keys.CELL_VOLUME] = torch.tensor(atoms.cell.volume or 1.0, dtype=torch.float64)
    as_float = torch.Tensor.float
    torch.Tensor.float = torch.Tensor.double  # the one-hot embedding asks for float32 by name
    try:
        found = model(data)
    finally:
        torch.Tensor.float = as_float
    voigt = -found[keys.PRED_STRESS].detach().numpy().reshape(6)[[0, 1, 2, 4, 5, 3]]
    return {
        "energy": found[keys.PRED_TOTAL_ENERGY].item(),
        "energies": found[keys.ATOMIC_ENERGY].detach().numpy().ravel(),
        "forces": found[keys.PRED_FORCE].detach().numpy()[: len(atoms)],
        "stress": voigt,
    }


def values(path: Path, head: str | None, frames: list[Atoms]) -> dict[str, np.ndarray]:
    """Return positions and results of every structure, numbered."""
    calculator = SevenNetCalculator(path, modal=head, device="cpu")
    rounded = []
    for atoms in frames:
        calculator.calculate(atoms)
        rounded.append(dict(calculator.results))
    model, result = in_float64(calculator.model), {}
    for k, atoms in enumerate(frames):
        found = evaluate(model, atoms, calculator.cutoff, head)
        result |= {
            f"numbers_{k}": atoms.numbers,
            f"positions_{k}": atoms.positions,
            f"cell_{k}": atoms.cell.array,
            f"pbc_{k}": atoms.pbc,
            f"energy_{k}": found["energy"],
            f"node_energies_{k}": found["energies"],
            f"forces_{k}": found["forces"],
            f"rounded_energy_{k}": rounded[k]["energy"],
            f"rounded_forces_{k}": rounded[k]["forces"],
        }
        if atoms.pbc.all():
            result[f"stress_{k}"] = found["stress"][[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
            assert np.abs(found["stress"] - rounded[k]["stress"]).max() < 1e-4
    return result


def main() -> None:
    """Write the cases named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="*")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--head")
    parser.add_argument("--frames", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    if args.checkpoint:
        np.savez(args.output, **values(args.checkpoint, args.head, read(args.frames, ":")))
        return
    for name, changes in {**CASES, **{k: {**SMALL, **v} for k, v in REFUSED.items()}}.items():
        if args.names and name not in args.names:
            continue
        buffer = io.BytesIO()
        torch.save(make_checkpoint(changes, args.seed), buffer)
        data = lzma.compress(buffer.getvalue(), preset=9)
        (args.folder / f"{name}.pth.xz").write_bytes(data)
        print(f"{name}: {len(data)} bytes of {len(buffer.getvalue())}")
        if name in CASES:
            path = args.folder / f"{name}.pth"
            path.write_bytes(buffer.getvalue())
            results = values(path, HEADS.get(name), structures())
            path.unlink()
            np.savez_compressed(args.folder / f"{name}.npz", **results)
            print({k: float(np.abs(v).max()) for k, v in results.items() if "forces" in k})


if __name__ == "__main__":
    main()
