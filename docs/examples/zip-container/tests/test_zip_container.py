"""The container does what every one has to; run with the distribution installed."""

from __future__ import annotations

import pytest
from zip_container import CONTAINER

from dplabtools.geometry.resolution import Level
from dplabtools.output.containers.base import ContainerFormat
from dplabtools.testing.container import ContainerContract


class TestZip(ContainerContract):
    @pytest.fixture
    def form(self) -> ContainerFormat:
        return CONTAINER


class TestZipOfSets(TestZip):
    views = (Level(0), Level(1))
