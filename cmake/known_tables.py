# SPDX-License-Identifier: MIT
"""Write pair_ictp/ops/known_tables.h: tables that most files have, for kernels made for them.

    python cmake/known_tables.py > pair_ictp/ops/known_tables.h

They are what `ictp export` writes for these models; tests/cpp/test_known_tables.py compares. The
file is kept, as who compiles kernels need not have a Python that imports pyictp.
"""

from __future__ import annotations

import textwrap

from pyictp.config.load import ModelConfig
from pyictp.model.convolution import Convolution, TableConvolution
from pyictp.model.kernels import OperatorProducts, OperatorTableConvolution
from pyictp.model.product_basis import ProductBasis
from pyictp.model.products import Irrep
from pyictp.model.reduction import reduce_paths
from pyictp.native import load_operators
from torch import nn

BREAK = "\n" + " " * 6
RANKS = [(3, 0), (3, 1), (3, 2)]  # highest of edges, of what is between layers

HEAD = """\
// SPDX-License-Identifier: MIT
#ifndef ICTP_KNOWN_TABLES_H
#define ICTP_KNOWN_TABLES_H

#include <cstdint>
#include <tuple>

// Written by cmake/known_tables.py: tables that `ictp export` writes for common models, as
// constants of the compiler. Row k of those computed sums terms OFFSETS[k], ..., OFFSETS[k+1]-1,
// each a value times the rows LEFT and RIGHT; PATHS are the fields of EdgePath.
// clang-format off

namespace ictp {
"""
TAIL = """
using KnownConvolutions = std::tuple<{convolutions}>;
using KnownProducts = std::tuple<{products}>;

}}    // namespace ictp

// clang-format on

#endif
"""


def convolution(l_max_edge: int, l_max_hidden: int) -> OperatorTableConvolution:
    """Return the convolution of features to rank l_max_hidden with harmonics to l_max_edge."""
    features = [Irrep(rank) for rank in range(l_max_hidden + 1)]
    return OperatorTableConvolution(
        TableConvolution(Convolution(features, l_max_edge, odd=False), 1.0)
    )


def products(l_max_edge: int, l_max_hidden: int) -> OperatorProducts:
    """Return the product basis to rank l_max_hidden, of its spanning paths, of correlation 3."""
    settings = {"l_max_edge": l_max_edge, "l_max_hidden": l_max_hidden, "correlation": 3}
    config = ModelConfig(elements=("H",), num_channels=1, **settings)
    irreps = [Irrep(rank) for rank in range(l_max_edge + 1)]
    basis = ProductBasis(config, irreps, l_max_hidden).double()
    reduce_paths(nn.ModuleList([basis]))
    return OperatorProducts(basis.products)


def struct(name: str, comment: str, fields: dict[str, list[int]], part: nn.Module) -> str:
    """Return the C++ of one table."""
    lines = [f"/// {comment}", f"struct {name} {{"]
    if isinstance(part, OperatorTableConvolution):
        rows = f",{BREAK}".join(f"{{{str(path)[1:-1]}}}" for path in part.paths.tolist())
        lines.append(f"  static constexpr int32_t PATHS[][6] = {{{BREAK}{rows}}};")
    numbers = {
        **{f"int32_t {key}": row for key, row in fields.items()},
        "int32_t OFFSETS": part.offsets.tolist(),
        "int32_t LEFT": part.terms[:, 0].tolist(),
        "int32_t RIGHT": part.terms[:, 1].tolist(),
        "double VALUES": [f"{value:.15g}" for value in part.values.tolist()],
    }
    for key, row in numbers.items():
        text = BREAK.join(textwrap.wrap(", ".join(map(str, row)), 94, break_on_hyphens=False))
        lines.append(f"  static constexpr {key}[] = {{{BREAK if BREAK in text else ''}{text}}};")
    return "\n" + "\n".join([*lines, "};"]) + "\n"


def header() -> str:
    """Return the whole file."""
    load_operators()
    text, names = [HEAD], {"convolutions": [], "products": []}
    for edge, hidden in RANKS:
        part = convolution(edge, hidden)
        names["convolutions"].append(f"Convolution{edge}{hidden}")
        comment = f"Harmonics to rank {edge}, features to rank {hidden}."
        text.append(struct(names["convolutions"][-1], comment, {}, part))
    for edge, hidden in RANKS:
        part = products(edge, hidden)
        names["products"].append(f"Product{edge}{hidden}")
        dims = [2 * rank + 1 for rank in range(edge + 1)]
        fields = {"DIMS_A": dims, "DIMS": part.dims, "NUM_WEIGHTS": [len(part.rows)]}
        comment = f"A to rank {edge}, results to rank {hidden}, correlation 3, spanning paths."
        text.append(struct(names["products"][-1], comment, fields, part))
    text.append(TAIL.format(**{key: ", ".join(found) for key, found in names.items()}))
    return "".join(text)


if __name__ == "__main__":
    print(header(), end="")
