"""Which labels are wanted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dplabtools.errors import ParameterError, ParameterTypeError
from dplabtools.records.patch_table import PatchTable

__all__ = ["LabelFilter"]


@dataclass(frozen=True, slots=True)
class LabelFilter:
    """Which labels are wanted.

    Attributes
    ----------
    included, excluded : collection of str
        Only these, or all but these; not both.

    Raises
    ------
    ParameterError
        If both are given.
    ParameterTypeError
        If one is no collection of text.
    """

    included: Collection[str]
    excluded: Collection[str]

    def __post_init__(self) -> None:
        for name, labels in (
            ("included_labels", self.included),
            ("excluded_labels", self.excluded),
        ):
            if not _are_labels(labels):
                msg = f"{name} must be a list of labels, not {labels!r}"
                raise ParameterTypeError(msg)
        if len(self.included) and len(self.excluded):
            msg = "give included_labels or excluded_labels, not both"
            raise ParameterError(msg)

    def wants(self, label: str) -> bool:
        """Tell whether a label is wanted."""
        return (label in self.included or not self.included) and label not in self.excluded

    def apply(self, table: PatchTable) -> PatchTable:
        """Return the patches with the wanted labels; all of them if there is no filter."""
        if len(self.included):
            return table.select(self.included)
        if len(self.excluded):
            return table.select(
                [each for each in table.labels if each not in self.excluded]
            )
        return table


def _are_labels(labels: object) -> bool:
    """Tell whether this is a collection of text, and no text itself."""
    if isinstance(labels, str) or not isinstance(labels, Collection):
        return False
    return all(isinstance(each, str) for each in labels)
