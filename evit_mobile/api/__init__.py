"""The public Python functions: convert, verify, inspect, load, bench and advise. Import them as
``import evit_mobile as em``.

They print nothing and never end the process; what goes wrong is an exception of ``evit_mobile.errors``.
"""

from evit_mobile.api.advising import advise
from evit_mobile.api.checks import inspect, verify
from evit_mobile.api.conversion import convert
from evit_mobile.api.measuring import bench
from evit_mobile.api.model import Model, load

__all__ = ["Model", "advise", "bench", "convert", "inspect", "load", "verify"]
