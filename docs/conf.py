"""How Sphinx builds this folder into a site; `make docs` runs it, and it needs no network."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import ptypinn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "ptypinn"
copyright = "the ptypinn authors"
version = release = ptypinn.__version__
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "command_line",
    "module_list",
    "python_names",
]
exclude_patterns = ["_ext", "_jupyter"]

# Pages: Markdown that reads well on GitHub too.
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Tutorials run while the site is built, in the kernel under _jupyter. An error fails the build, and so does any
# output on standard error.
os.environ["JUPYTER_PATH"] = str(HERE / "_jupyter")
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
os.environ["OMP_NUM_THREADS"] = "1"
logging.getLogger("traitlets").setLevel(logging.WARNING)  # the theme's messages would go to standard error
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 120
nb_output_stderr = "error"
nb_merge_streams = True

# Reference of the Python names, from their docstrings: prose with `code` in single backticks.
nitpicky = True
default_role = "code"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
maximum_signature_line_length = 80
python_display_short_literal_types = True
add_module_names = False
toc_object_entries_show_parents = "hide"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "ptypinn"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
copybutton_exclude = ".linenos, .gp, .go"
