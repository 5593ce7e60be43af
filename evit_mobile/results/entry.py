"""What all entries of a result file share: the base class, and types with bounds."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

#: Bounds that no measurement reaches, and within which everything that is computed of one stays finite.
Whole = Annotated[int, Field(lt=2**63)]
Count = Annotated[Whole, Field(ge=0)]
Microseconds = Annotated[float, Field(gt=1e-6, lt=1e15, allow_inf_nan=False)]
Instructions = Annotated[Whole, Field(gt=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1)]


class Entry(BaseModel):
    """Base of everything in a result file: immutable, and no field that this version does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def evolve(self, **changes: object) -> Self:
        """A copy with these fields replaced, validated again.

        Raises:
            ValidationError: the copy would not be valid, or there is no such field.
        """
        return type(self).model_validate({**dict(self), **changes})
