"""Which precision of a model to ship on a device: every one converted, measured and compared."""

from evit_mobile.advice.choice import Advice, Option, Requirement
from evit_mobile.advice.picture import chart
from evit_mobile.advice.run import Place, advise

__all__ = ["Advice", "Option", "Place", "Requirement", "advise", "chart"]
