"""Settings of the documentation site, which `make docs` builds from docstrings and these pages."""

import sys
from pathlib import Path

from sphinx.util.inspect import signature, stringify_signature

import vsnn_lab

sys.path.insert(0, str(Path(__file__).parents[1]))  # where `docs.drawings` is found

project = "vsnn_lab"
author = copyright = "The vsnn_lab developers"
release = version = vsnn_lab.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "docs.drawings",
    "docs.plots",
    "docs.atlas.directive",
]
exclude_patterns = ["_build"]

# A name in single backticks is a link, or the build fails; so is a type in a signature.
default_role = "any"
nitpicky = True
nitpick_ignore_regex = [
    # What other packages document; the build asks no other site.
    (
        r"any|py:\w+",
        r"(collections|filelock|gymnasium|nbclient|nn|numpy|os|papermill|pathlib|pd|plotly"
        r"|stable_baselines3|tokenizers|torch)\..+",
    ),
]

autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autosummary_generate = False
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Shape", ("Attributes", "params_style")]
maximum_signature_line_length = 80  # longer ones get a line for each argument

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"vsnn_lab {release}"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
pygments_dark_style = "github-dark"
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#1d6aa5",
        "color-brand-content": "#1d6aa5",
        "color-way-of-width": "#b3541e",
    },
    "dark_css_variables": {
        "color-brand-primary": "#6db3e8",
        "color-brand-content": "#6db3e8",
        "color-way-of-width": "#e8935a",
    },
}


def widget_signature(app, what, name, obj, options, found, returns):
    """Show what a widget's constructor takes; its metaclass takes anything."""
    if what == "class" and hasattr(obj, "traits"):
        own = signature(obj.__init__, bound_method=True)
        shown = {"show_return_annotation": False, "unqualified_typehints": True}
        return stringify_signature(own, **shown), None
    return None


def setup(app):
    """Connect what the settings above cannot say."""
    app.connect("autodoc-process-signature", widget_signature)
