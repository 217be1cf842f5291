"""The reference of Python names: docstrings as plain prose, dataclasses by their fields, and links of annotations.

Docstrings are prose in which single backticks mean code, as on the other pages. Characters that
reStructuredText or napoleon would take for markup are escaped.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

PYTHON = "https://docs.python.org/3/library"
NUMPY = "https://numpy.org/doc/stable/reference"
TORCH = "https://docs.pytorch.org/docs/stable"
H5PY = "https://docs.h5py.org/en/stable/high"
LIGHTNING = "https://lightning.ai/docs/pytorch/stable"
MATPLOTLIB = "https://matplotlib.org/stable/api"
PILLOW = "https://pillow.readthedocs.io/en/stable/reference"
JAXTYPING = "https://docs.kidger.site/jaxtyping/api/array/"

ELSEWHERE = {
    "h5py._hl.files.File": f"{H5PY}/file.html#h5py.File",
    "h5py._hl.group.Group": f"{H5PY}/group.html#h5py.Group",
    "h5py._hl.dataset.Dataset": f"{H5PY}/dataset.html#h5py.Dataset",
    "lightning.pytorch.core.module.LightningModule": f"{LIGHTNING}/common/lightning_module.html",
    "lightning.pytorch.trainer.trainer.Trainer": f"{LIGHTNING}/common/trainer.html",
    "lightning.pytorch.callbacks.callback.Callback": f"{LIGHTNING}/extensions/callbacks.html",
    "lightning.pytorch.callbacks.model_checkpoint.ModelCheckpoint": f"{LIGHTNING}/common/checkpointing.html",
    "torch.utils.data.sampler.Sampler": f"{TORCH}/data.html#torch.utils.data.Sampler",
    "numpy.floating": f"{NUMPY}/arrays.scalars.html#numpy.floating",
    "np.ndarray": f"{NUMPY}/generated/numpy.ndarray.html",
    "markupsafe.Markup": "https://markupsafe.palletsprojects.com/en/stable/escaping/#markupsafe.Markup",
    "jinja2.environment.Environment": "https://jinja.palletsprojects.com/en/stable/api/#jinja2.Environment",
    "PIL.ImageFont.ImageFont": f"{PILLOW}/ImageFont.html#PIL.ImageFont.ImageFont",
    "PIL.ImageFont.FreeTypeFont": f"{PILLOW}/ImageFont.html#PIL.ImageFont.FreeTypeFont",
    "matplotlib.axes._axes.Axes": f"{MATPLOTLIB}/axes_api.html#matplotlib.axes.Axes",
    "matplotlib.image.AxesImage": f"{MATPLOTLIB}/image_api.html#matplotlib.image.AxesImage",
    "numpy.ndarray": f"{NUMPY}/generated/numpy.ndarray.html",
    "numpy.dtype": f"{NUMPY}/generated/numpy.dtype.html",
    "numpy.random._generator.Generator": f"{NUMPY}/random/generator.html",
    "torch.Tensor": f"{TORCH}/tensors.html",
    "torch.device": f"{TORCH}/tensor_attributes.html#torch.device",
    "torch._C.Generator": f"{TORCH}/generated/torch.Generator.html",
    "torch.nn.modules.module.Module": f"{TORCH}/generated/torch.nn.Module.html",
    "torch.utils.data.dataloader.DataLoader": f"{TORCH}/data.html#torch.utils.data.DataLoader",
    "xarray.Dataset": "https://docs.xarray.dev/en/stable/generated/xarray.Dataset.html",
    "matplotlib.figure.Figure": f"{MATPLOTLIB}/figure_api.html#matplotlib.figure.Figure",
    "pathlib.Path": f"{PYTHON}/pathlib.html#pathlib.Path",
    "collections.deque": f"{PYTHON}/collections.html#collections.deque",
    "contextlib.AbstractContextManager": f"{PYTHON}/contextlib.html#contextlib.AbstractContextManager",
    "datetime.datetime": f"{PYTHON}/datetime.html#datetime.datetime",
    "os.stat_result": f"{PYTHON}/os.html#os.stat_result",
    "threading.Event": f"{PYTHON}/threading.html#threading.Event",
}
"""Pages of other projects by the names that annotations use; nothing is fetched during the build."""
ABSTRACT = ("Callable", "Collection", "Container", "Generator", "Iterable", "Iterator", "Mapping", "Sequence", "Set")
ELSEWHERE |= {f"collections.abc.{name}": f"{PYTHON}/collections.abc.html#collections.abc.{name}" for name in ABSTRACT}
BITS = ("Complex", "Complex64", "Complex128", "Float", "Float32", "Float64", "Int", "Int64", "UInt")
NUMBERS = (*BITS, "Bool", "Inexact", "Num", "Real", "Shaped")
ELSEWHERE |= {f"jaxtyping.{name}": JAXTYPING for name in NUMBERS}

WITHOUT_PAGE = ("ptypinn.config.", "ptypinn.studies.", "ptypinn.utils.", "DoseStudy")
"""Names of packages that have no page of modules."""

CODE = re.compile(r"(``.*?``|`[^`]*`)", re.S)
MARKUP = re.compile(r"(?<!\\)([*|]|_(?=\W|$))")
COLON, HIDDEN_COLON = ":", "\ufffc"


def protect(app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """Escape plain text before napoleon; in a field's docstring, the text before a colon is no type."""
    parts = CODE.split("\n".join(lines))
    parts[::2] = [MARKUP.sub(r"\\\1", part) for part in parts[::2]]
    text = "".join(parts)
    lines[:] = (text.replace(COLON, HIDDEN_COLON) if what in ("attribute", "data", "property") else text).split("\n")


def restore(app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """Restore colons after napoleon."""
    lines[:] = [line.replace(HIDDEN_COLON, COLON) for line in lines]


def signature(
    app: Sphinx, what: str, name: str, obj: object, options: Any, arguments: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Spell out defaults, and omit the signature of a dataclass, whose fields follow."""
    if what == "class" and dataclasses.is_dataclass(obj):
        return "", None
    return (re.sub(r"(\w+Config) = DEFAULTS", r"\1 = \1()", arguments) if arguments else arguments), returned


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element) -> nodes.Node | None:
    """Link an annotation to the one documented name that it abbreviates, or to another project's page."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"].partition("[")[0]
    pages = {page for name, page in ELSEWHERE.items() if name == target or name.endswith(f".{target}")}
    if len(pages) == 1:
        return nodes.reference("", "", content, internal=False, refuri=pages.pop())
    matches = env.domains.python_domain.find_obj(env, "", "", target, None, 1)
    if len(matches) == 1 and "." not in target:
        name, entry, *_ = matches[0]
        return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, name)
    unlinked = target.startswith(WITHOUT_PAGE) or _is_alias(node.get("py:module"), target)
    return content if not matches and unlinked else None


def _is_alias(module: str | None, name: str) -> bool:
    """Return True for a name of a module that stands for an annotation and is no class, which needs no link."""
    home, _, name = name.rpartition(".")
    value = getattr(sys.modules.get(home or module or ""), name, None)
    return value is not None and (not isinstance(value, type) or value.__module__.startswith("jaxtyping"))


def plain_object(app: Sphinx, doctree: nodes.document) -> None:
    """Treat `object` in annotations as Python's, without a link, not as an attribute of that name."""
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
