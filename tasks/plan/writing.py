"""Writing a feature plan as YAML that people like to read and that loads back as the same plan."""

from __future__ import annotations

import io
import re
from typing import Any

from tasks.plan.model import FeaturePlan

# Lines that a block of text shows exactly as they are: no white space at their ends, none that only
# looks like some, and the first one not indented.
_TAME = re.compile(r"(?:[!-~¡-ɏ]+(?: +[!-~¡-ɏ]+)*)(?:\n+ *[!-~¡-ɏ]+(?: +[!-~¡-ɏ]+)*)+")
# Characters that a line of YAML could end with, or that nobody sees: escapes show them.
_ODD = re.compile(r"[^\n\x20-\x7e\u00a1-\u1fff\u2030-\ud7ff\uf900-\ufefe\U00010000-\U0010ffff]")
_FLOW_LISTS = {"context_files", "depends_on"}
_WIDTH = 4096


def dump_plan_yaml(plan: FeaturePlan) -> str:
    """Return a plan as YAML; defaults are left out, and `parse_plan` reads the same plan back."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - takes time that reading plans as JSON does without

    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    # Long lines stay whole: folding them is where emitters get white space wrong.
    yaml.width = _WIDTH
    yaml.allow_unicode = True
    text = io.StringIO()
    yaml.dump(_shaped(plan.model_dump(mode="json", exclude_defaults=True)), text)
    return text.getvalue()


def _shaped(value: Any, name: str = "") -> Any:
    """Choose for each value the form that reads best."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq  # noqa: PLC0415
    from ruamel.yaml.scalarstring import LiteralScalarString  # noqa: PLC0415

    if isinstance(value, dict):
        mapping = CommentedMap((_exact(key), _shaped(inner, key)) for key, inner in value.items())
        if name == "replay":
            mapping.fa.set_flow_style()
        return mapping
    if isinstance(value, list):
        items = CommentedSeq(_shaped(inner, name if name == "replay" else "") for inner in value)
        if name in _FLOW_LISTS:
            items.fa.set_flow_style()
        return items
    if isinstance(value, str):
        return LiteralScalarString(value) if _TAME.fullmatch(value) else _exact(value)
    return value


def _exact(text: str) -> str:
    """Return a text that is written with escapes where a reader could take it for another."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString  # noqa: PLC0415

    return DoubleQuotedScalarString(text) if _ODD.search(text) else text
