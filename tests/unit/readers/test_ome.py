from __future__ import annotations

import pytest

from dplabtools.readers.ome import physical_size

HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/{}">'
)
MADE_2016 = HEAD.format("Schemas/OME/2016-06")


def image(x: str, y: str, *, size: str = 'SizeX="100" SizeY="80"', units: str = "") -> str:
    return (
        f'<Image><Pixels {size} PhysicalSizeX="{x}" PhysicalSizeY="{y}" {units}/></Image>'
    )


@pytest.mark.parametrize(
    ("unit", "microns"),
    [
        ("\u00b5m", 0.25),
        ("\u03bcm", 0.25),
        ("&#181;m", 0.25),
        ("nm", 0.00025),
        ("mm", 250),
        ("cm", 2500),
        ("\u00c5", 0.000025),
        ("thou", 6.35),
    ],
)
def test_sizes_are_in_their_unit(unit: str, microns: float) -> None:
    units = f'PhysicalSizeXUnit="{unit}" PhysicalSizeYUnit="{unit}"'
    text = MADE_2016 + image("0.25", "0.25", units=units) + "</OME>"
    assert physical_size(text, (100, 80)) == pytest.approx((microns, microns))


def test_without_a_unit_they_are_in_microns() -> None:
    text = f"<OME>{image('0.25', '0.5')}</OME>"
    assert physical_size(text, (100, 80)) == (0.25, 0.5)


@pytest.mark.parametrize("unit", ["pixel", "reference frame", "", "parsec?"])
def test_what_is_no_length_is_not_taken_for_one(unit: str) -> None:
    units = f'PhysicalSizeXUnit="{unit}" PhysicalSizeYUnit="{unit}"'
    text = MADE_2016 + image("1", "1", units=units) + "</OME>"
    assert physical_size(text, (100, 80)) is None


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "", "about one"])
def test_what_is_no_size_is_not_taken_for_one(value: str) -> None:
    assert physical_size(MADE_2016 + image("1", value) + "</OME>", (100, 80)) is None


def test_the_image_of_the_size_of_the_slide_tells() -> None:
    label = image("20", "20", size='SizeX="30" SizeY="20"')
    text = f"{MADE_2016}{label}{image('0.25', '0.25')}</OME>"
    assert physical_size(text, (100, 80)) == (0.25, 0.25)
    assert physical_size(text, (101, 80)) is None


def test_a_prefix_of_the_namespace_makes_no_difference() -> None:
    text = (
        '<ome:OME xmlns:ome="http://www.openmicroscopy.org/Schemas/OME/2011-06"><ome:Image>'
        '<ome:Pixels SizeX="100" SizeY="80" PhysicalSizeX="0.25" PhysicalSizeY="0.25"/>'
        "</ome:Image></ome:OME>"
    )
    assert physical_size(text, (100, 80)) == (0.25, 0.25)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Aperio Image Library",
        MADE_2016 + image("1", "1"),
        f"<OME><!-- {image('1', '1')} --></OME>",
        '<!DOCTYPE a [<!ENTITY b "b">]><OME>&b;</OME>',
    ],
)
def test_what_is_no_whole_ome_document_tells_nothing(text: str) -> None:
    assert physical_size(text, (100, 80)) is None
