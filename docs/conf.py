# SPDX-License-Identifier: MIT
"""The site that `make docs` builds; nothing in it is loaded from elsewhere."""

import sys
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "pair_ictp"
html_title = project
copyright = "the pair_ictp developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
extensions += ["generated", "lammps_lexer", "mathml", "outside_links"]
exclude_patterns = ["_extensions"]

nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # types of signatures: few of them are on a page
default_role = "code"  # what stands between single backticks in docstrings
autoclass_content = "both"  # what a constructor takes
autodoc_member_order = "bysource"
autodoc_type_aliases = {name: name for name in ("ArrayLike", "FloatArray")}
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False
highlight_language = "text"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
# `-D repository=https://...` makes links of what the pages say about other files of the project
repository = ""

html_theme = "furo"
html_math_renderer = "mathml"
# STIX Two Math, which browsers need for brackets and roots of the right size, comes with ziamath
html_static_path = ["_static", str(Path(find_spec("ziamath").origin).parent / "fonts")]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
