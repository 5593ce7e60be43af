"""What ``package.module:name`` means on the command line."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from converters.source.blame import user_line
from evit_mobile.errors import RequestError


def import_named(text: str, kind: str) -> Any:
    """The attribute that ``text`` names, from the installed packages or the working directory; ``kind`` is what
    messages call it.

    Raises:
        RequestError: there is no such module or attribute, or its import fails.
    """
    module, _, attribute = text.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # the module is the user's code, and raises what it likes
        raise RequestError(
            f"{text} cannot be imported: {user_line(error)}", hint=f"expected package.module:{kind}, from this folder"
        ) from error
    except (Exception, SystemExit) as error:  # the module is the user's code, and raises what it likes
        raise RequestError(f"{text} cannot be imported: {user_line(error)}") from error
