"""How the documentation is built: `make docs`."""

from importlib.metadata import version as installed_version

project = "kitaru_nb"
author = "The kitaru_nb developers"
version = release = installed_version("kitaru-nb")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build", "changes"]
nitpicky = True
nitpick_ignore_regex = [
    # Other projects' pages are not fetched, so that the documentation builds without a network;
    # of ours, only what is public has a page.
    ("py:.*", r"(?!kitaru_nb\.(errors|testing)\.|kitaru_nb\.\w+$).*"),
]

html_theme = "furo"
html_title = "kitaru_nb"

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

# Pages that are notebooks are run on every build; a cell that raises fails it.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120

autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
