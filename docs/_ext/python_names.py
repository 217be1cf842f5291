"""The reference of Python names: docstrings as plain prose, dataclasses by their fields, and where annotations lead.

Docstrings are prose in which single backticks mean code, as on the other pages. What reStructuredText or napoleon would
take for markup of its own is kept from them.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

PYTHON = "https://docs.python.org/3/library"
NUMPY = "https://numpy.org/doc/stable/reference"
TORCH = "https://docs.pytorch.org/docs/stable"
JAXTYPING = "https://docs.kidger.site/jaxtyping/api/array/"

ELSEWHERE = {
    "h5py._hl.files.File": "https://docs.h5py.org/en/stable/high/file.html#h5py.File",
    "numpy.ndarray": f"{NUMPY}/generated/numpy.ndarray.html",
    "numpy.dtype": f"{NUMPY}/generated/numpy.dtype.html",
    "numpy.random._generator.Generator": f"{NUMPY}/random/generator.html",
    "torch.Tensor": f"{TORCH}/tensors.html",
    "torch.device": f"{TORCH}/tensor_attributes.html#torch.device",
    "torch._C.Generator": f"{TORCH}/generated/torch.Generator.html",
    "torch.nn.modules.module.Module": f"{TORCH}/generated/torch.nn.Module.html",
    "torch.utils.data.dataloader.DataLoader": f"{TORCH}/data.html#torch.utils.data.DataLoader",
    "xarray.Dataset": "https://docs.xarray.dev/en/stable/generated/xarray.Dataset.html",
    "matplotlib.figure.Figure": "https://matplotlib.org/stable/api/figure_api.html#matplotlib.figure.Figure",
    "pathlib.Path": f"{PYTHON}/pathlib.html#pathlib.Path",
}
"""Pages of other projects by the names that annotations use; nothing is fetched while the site is built."""
ABSTRACT = ("Callable", "Collection", "Iterable", "Iterator", "Mapping", "Sequence")
ELSEWHERE |= {f"collections.abc.{name}": f"{PYTHON}/collections.abc.html#collections.abc.{name}" for name in ABSTRACT}
BITS = ("Complex", "Complex64", "Complex128", "Float", "Float32", "Float64", "Int", "Int64", "UInt")
NUMBERS = (*BITS, "Bool", "Inexact", "Num", "Real", "Shaped")
ELSEWHERE |= {f"jaxtyping.{name}": JAXTYPING for name in NUMBERS}

CODE = re.compile(r"(``.*?``|`[^`]*`)", re.S)
MARKUP = re.compile(r"(?<!\\)([*|]|_(?=\W|$))")
COLON, HIDDEN_COLON = ":", "\ufffc"


def protect(app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """Before napoleon: escape what is no markup; in a field's docstring, what stands before a colon is no type."""
    parts = CODE.split("\n".join(lines))
    parts[::2] = [MARKUP.sub(r"\\\1", part) for part in parts[::2]]
    text = "".join(parts)
    lines[:] = (text.replace(COLON, HIDDEN_COLON) if what in ("attribute", "data", "property") else text).split("\n")


def restore(app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """After napoleon: colons as they were."""
    lines[:] = [line.replace(HIDDEN_COLON, COLON) for line in lines]


def signature(
    app: Sphinx, what: str, name: str, obj: object, options: Any, shown: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Spell defaults out, and leave the signature of a dataclass to its fields, which follow with their meaning."""
    if what == "class" and dataclasses.is_dataclass(obj):
        return "", None
    return (re.sub(r"(\w+Config) = DEFAULTS", r"\1 = \1()", shown) if shown else shown), returned


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element) -> nodes.Node | None:
    """Lead an annotation to the one documented name that it is the end of, or to another project's page."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"].partition("[")[0]
    places = {place for name, place in ELSEWHERE.items() if name == target or name.endswith(f".{target}")}
    if len(places) == 1:
        return nodes.reference("", "", content, internal=False, refuri=places.pop())
    found = env.domains.python_domain.find_obj(env, "", "", target, None, 1)
    if len(found) != 1 or "." in target:
        return None
    return make_refnode(app.builder, node["refdoc"], found[0][1].docname, found[0][1].node_id, content, found[0][0])


def plain_object(app: Sphinx, doctree: nodes.document) -> None:
    """Take `object` in annotations for Python's, which needs no link, and not for an attribute of that name."""
    for node in list(doctree.findall(pending_xref)):
        if node.get("refdomain") == "py" and node["reftarget"] == "object":
            node.replace_self(node.children)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to autodoc, around napoleon (whose priority is 500), and to the resolution of links."""
    app.connect("autodoc-process-docstring", protect, priority=400)
    app.connect("autodoc-process-docstring", restore, priority=600)
    app.connect("autodoc-process-signature", signature)
    app.connect("doctree-read", plain_object)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
