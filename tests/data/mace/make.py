# SPDX-License-Identifier: MIT
"""Make the reference files of this folder with mace-torch; no test runs this.

In an environment of its own (`pip install torch==2.13.0 mace-torch==0.3.16`):

    TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 python tests/data/mace/make.py [NAME ...]

Each case is a model of random weights as `mace_run_train` would save it (NAME.model.xz) and what
mace-torch makes of an alloy and a molecule in float64 (NAME.npz): energies, forces, stress. With
Chebyshev functions its own forces lack their part (no gradient goes through
torch.special.chebyshev_polynomial_t): there they are differences of its energies.
"""

from __future__ import annotations

import argparse
import io
import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from e3nn import nn, o3
from mace.calculators import MACECalculator
from mace.modules import gate_dict, interaction_classes
from mace.modules.blocks import NonLinearBiasReadoutBlock
from mace.modules.models import MACE, ScaleShiftMACE

FOLDER = Path(__file__).parent
DEFAULTS = {
    "r_max": 4.5,
    "num_bessel": 8,
    "num_polynomial_cutoff": 5,
    "max_ell": 2,
    "interaction_cls": interaction_classes["RealAgnosticResidualInteractionBlock"],
    "interaction_cls_first": interaction_classes["RealAgnosticResidualInteractionBlock"],
    "num_interactions": 2,
    "hidden_irreps": o3.Irreps("4x0e + 4x1o"),
    "MLP_irreps": o3.Irreps("5x0e"),
    "avg_num_neighbors": 11.3,
    "correlation": 3,
    "gate": gate_dict["silu"],
    "radial_MLP": [12, 12],
    "atomic_numbers": [1, 6, 8, 23, 41, 73],
    "atomic_inter_scale": 0.7,
    "atomic_inter_shift": 0.05,
}
HEADS = {
    "heads": ["pbe", "r2scan", "cc"],
    "atomic_inter_scale": [0.7, 1.3, 0.4],
    "atomic_inter_shift": [0.1, -0.2, 0.3],
}
NO_SCALE = {"atomic_inter_scale": None, "atomic_inter_shift": None}
BLOCKS = {
    name: interaction_classes[f"RealAgnostic{name}InteractionBlock"]
    for name in ("", "Density", "DensityResidual", "ResidualNonLinear")
}
DENSITY = {
    "interaction_cls_first": BLOCKS["Density"],
    "interaction_cls": BLOCKS["DensityResidual"],
}
NONLINEAR = {
    "interaction_cls_first": BLOCKS["ResidualNonLinear"],
    "interaction_cls": BLOCKS["ResidualNonLinear"],
    "radial_MLP": [16, 12],
}
FEW = {"hidden_irreps": o3.Irreps("2x0e + 2x1o"), "correlation": 2, "radial_MLP": [6]}
CASES = {
    "rank0_ell3": {"hidden_irreps": o3.Irreps("4x0e"), "max_ell": 3},
    "rank1_ell3": {
        "max_ell": 3,
        "hidden_irreps": o3.Irreps("2x0e + 2x1o"),
        "radial_MLP": [6],
        **HEADS,
    },
    "rank2_layers3": {
        "hidden_irreps": o3.Irreps("3x0e + 3x1o + 3x2e"),
        "num_interactions": 3,
        "correlation": 2,
        "radial_MLP": [9],
    },
    "plain_heads": {**HEADS, **NO_SCALE, "use_agnostic_product": True},
    "one_layer": {"num_interactions": 1, "num_polynomial_cutoff": 6, "use_reduced_cg": False},
    "last_readout": {"use_last_readout_only": True, "correlation": 1},
    "float32": {"hidden_irreps": o3.Irreps("4x0e + 4x1o"), "max_ell": 2},
    "agnostic_agnesi": {
        "interaction_cls_first": BLOCKS[""],
        "distance_transform": "Agnesi",
        "pair_repulsion": True,
    },
    "density_agnesi": {
        "hidden_irreps": o3.Irreps("2x0e + 2x1o"),
        "max_ell": 3,
        "radial_MLP": [6],
        "distance_transform": "Agnesi",
        "pair_repulsion": True,
        **DENSITY,
        **HEADS,
    },
    "density_soft": {
        "hidden_irreps": o3.Irreps("3x0e + 3x1o + 3x2e"),
        "num_interactions": 3,
        "correlation": 2,
        "radial_MLP": [9],
        "distance_transform": "Soft",
        **DENSITY,
    },
    "agnostic_zbl": {
        "interaction_cls_first": BLOCKS[""],
        "interaction_cls": BLOCKS[""],
        "pair_repulsion": True,
        "correlation": 2,
        **NO_SCALE,
    },
    "frequencies": {"num_interactions": 1, "correlation": 2, "hidden_irreps": o3.Irreps("4x0e")},
    "nonlinear_heads": {
        **NONLINEAR,
        **HEADS,
        "edge_irreps": o3.Irreps("2x0e + 2x1o"),
        "use_edge_irreps_first": True,
        "apply_cutoff": False,
        "use_agnostic_product": True,
        "distance_transform": "Agnesi",
        "pair_repulsion": True,
    },
    "nonlinear_layers3": {
        **NONLINEAR,
        "hidden_irreps": o3.Irreps("3x0e + 3x1o + 3x2e"),
        "num_interactions": 3,
        "correlation": 2,
        "edge_irreps": o3.Irreps("2x0e + 2x1o + 2x2e"),
        "apply_cutoff": False,
    },
    "nonlinear_gate": {  # the gate is e3nn's, as in files of before MACE had one of its own
        **NONLINEAR,
        "max_ell": 3,
        "hidden_irreps": o3.Irreps("2x0e + 2x1o"),
        "correlation": 2,
    },
    "no_cutoff": {
        "interaction_cls_first": BLOCKS["Density"],
        "hidden_irreps": o3.Irreps("3x0e + 3x1o"),
        "edge_irreps": o3.Irreps("2x0e + 2x1o"),
        "correlation": 2,
        "apply_cutoff": False,
    },
    "float32_density": {
        "distance_transform": "Agnesi",
        "pair_repulsion": True,
        "correlation": 2,
        **DENSITY,
    },
    "bias_readout": {"readout_cls": NonLinearBiasReadoutBlock, **FEW},
    "bias_heads": {"readout_cls": NonLinearBiasReadoutBlock, **FEW, **HEADS},
    "gaussian_plain": {"radial_type": "gaussian", **FEW},
    "gaussian_agnesi": {
        "radial_type": "gaussian",
        "distance_transform": "Agnesi",
        "pair_repulsion": True,
        "apply_cutoff": False,
        **DENSITY,
        **FEW,
    },
    "chebyshev_agnesi": {"radial_type": "chebyshev", "distance_transform": "Agnesi", **FEW},
    "mixed_first": {
        **FEW,
        "interaction_cls": BLOCKS["ResidualNonLinear"],
        "radial_MLP": [9],
        "avg_num_neighbors": 2.0,
    },
    "mixed_last": {
        **FEW,
        "interaction_cls_first": BLOCKS["ResidualNonLinear"],
        "interaction_cls": BLOCKS["DensityResidual"],
        "apply_cutoff": False,
    },
    "charge_spin": {
        **NONLINEAR,
        "hidden_irreps": o3.Irreps("2x0e + 2x1o + 2x2e"),
        "num_interactions": 3,
        "correlation": 2,
        "edge_irreps": o3.Irreps("2x0e + 2x1o + 2x2e"),
        "radial_MLP": [8],
        "apply_cutoff": False,
        "embedding_specs": {
            "total_spin": {"type": "categorical", "per": "graph", "num_classes": 11, "emb_dim": 4},
            "total_charge": {
                "type": "categorical",
                "per": "graph",
                "num_classes": 11,
                "emb_dim": 3,
                "offset": 5,
            },
        },
        "use_embedding_readout": True,
    },
    "charge_heads": {
        **FEW,
        **HEADS,
        "num_interactions": 1,
        "avg_num_neighbors": 2.0,
        "embedding_specs": {
            "total_charge": {"type": "continuous", "per": "graph", "in_dim": 1, "emb_dim": 3},
            "total_spin": {"type": "categorical", "per": "graph", "num_classes": 4, "emb_dim": 2},
        },
        "use_embedding_readout": True,
    },
}
STATES = {"charge_spin": {"charge": -1, "spin": 2}}  # of the others those that MACE begins with
SMALL = {
    "max_ell": 1,
    "correlation": 1,
    "hidden_irreps": o3.Irreps("2x0e"),
    "num_interactions": 1,
    "atomic_numbers": [1, 8],
    "radial_MLP": [4],
}
REFUSED = {
    "temperature": {
        "embedding_specs": {
            "elec_temp": {"type": "continuous", "per": "graph", "in_dim": 1, "emb_dim": 2},
        },
    },
    "edge_ranks": {**NONLINEAR, "edge_irreps": o3.Irreps("2x0e + 2x1o"), "num_interactions": 2},
    "pseudo": {"hidden_irreps": o3.Irreps("2x0e + 2x0o + 2x1o"), "num_interactions": 2},
    "correlations": {"correlation": [2, 1], "num_interactions": 2},
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


def make_model(changes: dict, seed: int) -> torch.nn.Module:
    """Return a model of random weights, also where MACE begins with zeros."""
    torch.manual_seed(seed)
    settings = {**DEFAULTS, **changes}
    num_elements = len(settings["atomic_numbers"])
    num_heads = len(settings.get("heads", [""]))
    energies = np.random.default_rng(3).normal(0.0, 3.0, (num_heads, num_elements))
    settings |= {"num_elements": num_elements, "atomic_energies": energies}
    kind = ScaleShiftMACE
    if settings["atomic_inter_scale"] is None:
        kind = MACE
        settings = {k: v for k, v in settings.items() if not k.startswith("atomic_inter")}
    model = kind(**settings).eval()
    for block in model.interactions:
        if hasattr(block, "equivariant_nonlin"):
            draw_nonlinear(block)
    for readout in model.readouts:
        if isinstance(readout, NonLinearBiasReadoutBlock):
            for linear in (readout.linear_mid, readout.linear_2):
                torch.nn.init.normal_(linear.bias)
    return model


def draw_nonlinear(block: torch.nn.Module) -> None:
    """Draw what a nonlinear interaction begins with as zeros, ones and small numbers."""
    for parameter in (
        *(block.source_embedding.weight, block.target_embedding.weight),
        *(p for part in (block.conv_tp_weights, block.density_fn) for p in part.parameters()),
    ):
        torch.nn.init.normal_(parameter, 0.1, 0.4)
    torch.nn.init.uniform_(block.alpha, 2.0, 5.0)
    torch.nn.init.uniform_(block.beta, 0.3, 0.9)


def with_gates_of_e3nn(model: torch.nn.Module) -> None:
    """Give nonlinear interactions the gate that they had in MACE 0.3.14."""
    for block in model.interactions:
        ours = block.equivariant_nonlin
        scalars, gates, gated = ours.irreps_scalars, ours.irreps_gates, ours.irreps_gated
        block.equivariant_nonlin = nn.Gate(
            *(scalars, [torch.nn.functional.silu] * len(scalars)),
            *(gates, [torch.nn.functional.sigmoid] * len(gates), gated),
        )


def structures() -> list[Atoms]:
    """Return a strained, rattled alloy and a molecule."""
    alloy = bulk("Ta", "bcc", a=3.2, cubic=True) * (2, 1, 1)
    alloy.set_atomic_numbers([73, 23, 41, 73])
    alloy.set_cell(alloy.cell @ [[1.02, 0.03, 0.0], [0.0, 0.99, 0.02], [0.01, 0.0, 1.0]])
    alloy.rattle(0.15, seed=1)
    ethanol = Atoms(
        "CCOHHHHHH",
        ETHANOL,
    )
    ethanol.rattle(0.05, seed=2)
    return [alloy, ethanol]


def values(model: torch.nn.Module, head: str, state: dict[str, int]) -> dict[str, np.ndarray]:
    """Return positions and results of every structure, numbered, of one head."""
    result = {}
    calculator = MACECalculator(
        models=[model], device="cpu", default_dtype="float64", head=head or None
    )
    heads, chebyshev = model.heads, "ChebychevBasis" in repr(model)
    embedded = []  # energies that MACE counts to no atom
    if hasattr(model, "embedding_readout"):
        model.embedding_readout.register_forward_hook(
            lambda *call: embedded.append(call[-1][:, heads.index(head or heads[0])])
        )
    for k, atoms in enumerate(structures()):
        atoms.info.update(state)
        calculator.calculate(atoms, properties=["energy", "forces", "stress"])
        found = dict(calculator.results)
        nodes = found["energies"] if "energies" in found else found["node_energy"]
        if embedded:
            nodes = nodes + embedded[-1].detach().numpy()
        if chebyshev:
            wrong, found["forces"] = found["forces"], differences(calculator, atoms)
            print(f"MACE's forces: wrong by up to {np.abs(wrong - found['forces']).max():.2g} eV/A")
        result |= {
            f"numbers_{k}": atoms.numbers,
            f"positions_{k}": atoms.positions,
            f"cell_{k}": atoms.cell.array,
            f"pbc_{k}": atoms.pbc,
            f"energy_{k}": found["energy"],
            f"node_energies_{k}": nodes,
            f"forces_{k}": found["forces"],
        }
        if atoms.pbc.all():
            voigt = strain_differences(calculator, atoms) if chebyshev else found["stress"]
            result[f"stress_{k}"] = voigt[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
    return result


def slope(energy: Callable[[float], float], step: float = 2e-3) -> float:
    """Return a derivative at 0, of the sixth order in the step."""
    weights = (3.0 / 4.0, -3.0 / 20.0, 1.0 / 60.0)
    steps = enumerate(weights, start=1)
    return sum(w * (energy(k * step) - energy(-k * step)) for k, w in steps) / step


def energy_of(calculator: MACECalculator, atoms: Atoms) -> float:
    """Return an energy [eV]."""
    calculator.calculate(atoms, properties=["energy"])
    return calculator.results["energy"]


def differences(calculator: MACECalculator, atoms: Atoms) -> np.ndarray:
    """Return forces (N, 3) [eV/A] by differences of energies."""
    forces = np.zeros((len(atoms), 3))
    for i, axis in np.ndindex(forces.shape):

        def moved(size: float, i: int = i, axis: int = axis) -> float:
            copy = atoms.copy()
            copy.positions[i, axis] += size
            return energy_of(calculator, copy)

        forces[i, axis] = -slope(moved)
    return forces


def strain_differences(calculator: MACECalculator, atoms: Atoms) -> np.ndarray:
    """Return the stress, xx yy zz yz xz xy [eV/A^3], by differences of energies."""
    stress = []
    for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):

        def strained(size: float, a: int = a, b: int = b) -> float:
            strain, copy = np.eye(3), atoms.copy()
            strain[a, b] += size / 2.0
            strain[b, a] += size / 2.0
            copy.set_cell(atoms.cell @ strain, scale_atoms=True)
            return energy_of(calculator, copy)

        stress.append(slope(strained) / atoms.get_volume())
    return np.array(stress)


def write(folder: Path, name: str, model: torch.nn.Module) -> None:
    """Write a model as `mace_run_train` does, compressed."""
    buffer = io.BytesIO()
    torch.save(model, buffer)
    data = lzma.compress(buffer.getvalue(), preset=9)
    (folder / f"{name}.model.xz").write_bytes(data)
    print(f"{name}: {len(data)} bytes of {len(buffer.getvalue())}")


def main() -> None:
    """Write the cases named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="*")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    for name, changes in CASES.items():
        if name in args.names or not args.names:
            torch.set_default_dtype(torch.float32 if "float32" in name else torch.float64)
            model = make_model(changes, args.seed)
            if name == "frequencies":  # as if they had been trained
                weights = model.radial_embedding.bessel_fn.bessel_weights
                weights *= 1.0 + 0.05 * torch.rand(weights.shape)
            if name == "nonlinear_gate":
                with_gates_of_e3nn(model)
            write(args.folder, name, model)
            torch.set_default_dtype(torch.float64)
            head = changes.get("heads", ["", ""])[1]
            found = values(model.double(), head, STATES.get(name, {}))
            np.savez_compressed(args.folder / f"{name}.npz", head=head, **found)
    for name, changes in REFUSED.items():
        if name in args.names or not args.names:
            write(args.folder, name, make_model(SMALL | changes, args.seed))


if __name__ == "__main__":
    main()
