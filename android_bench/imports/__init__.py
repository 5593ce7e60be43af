"""Other tools' measurements. A form is one module with a ``FORM`` and one entry of ``FORMS``."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import ValidationError

from android_bench.imports import ai_hub, litert_json, printed, result_proto, runtime_info
from android_bench.imports.base import Form, Found
from android_bench.imports.json_gate import fields_of
from evit_mobile.documents import first_fault, read_limited
from evit_mobile.errors import EvitMobileError, RequestError

#: Bytes that a file may have; profiles with every layer of a large model have one.
LARGEST_FILE = 2**24
_AGAIN = "measure again with that tool"

#: Asked in this order. The texts can be told by a line, the JSON by a field. A protocol buffer is a
#: runtime info if it has nodes: a result file can be taken for one without any.
FORMS: tuple[Form, ...] = (litert_json.FORM, ai_hub.FORM, printed.FORM, runtime_info.FORM, result_proto.FORM)


def read(path: Path) -> tuple[Form, Found]:
    """The form of a file and what it says.

    Raises:
        RequestError: it cannot be read, is too large, has no form that is known, or is broken.
    """
    content = read_limited(path, "measurement", LARGEST_FILE)
    form = next((form for form in FORMS if form.recognises(content)), None)
    if form is None:
        raise RequestError(f"{path} has no form that is known here{_what(content)}", hint=f"known: {_known()}")
    try:
        return form, form.read(content)
    except ValidationError as error:
        raise RequestError(f"{path} is not valid as {form.name}: {first_fault(error)}", hint=_AGAIN) from error
    except EvitMobileError as error:
        raise RequestError(f"{path} is not valid as {form.name}: {error.message}", hint=error.hint or _AGAIN) from error
    except ValueError as error:  # a number that is none, or has thousands of digits
        raise RequestError(f"{path} is not valid as {form.name}: it holds no number where one is due") from error


def _known() -> str:
    return ", ".join(form.name for form in FORMS)


def _what(content: bytes) -> str:
    """What the file seems to be instead, for the message."""
    if not content.strip():
        return ": it is empty"
    if "schema_version" in fields_of(content):
        return ": it is a result file of evit-mobile already"
    if re.match(rb"\s*[{\[]", content) and not fields_of(content):
        return ": it is not JSON, or is truncated"
    return ""
