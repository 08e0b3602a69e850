"""Addresses, and the secrets that must not be in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dplabtools.errors import ParameterError
from dplabtools.sources.urls import checked_url, is_url, without_secrets


@pytest.mark.parametrize("scheme", ["s3", "gs", "az", "https", "http"])
def test_addresses_are_told_from_paths(scheme: str) -> None:
    url = f"{scheme}://there/a b/slide.svs"
    assert is_url(url)
    assert is_url(Path(url))
    assert checked_url(url) == checked_url(Path(url)) == url


@pytest.mark.parametrize(
    "path", ["slide.svs", "/s3/x", "s3", "s3:", "C:/x", "ftp://h/x", ""]
)
def test_paths_are_no_addresses(path: str) -> None:
    assert not is_url(path)


@pytest.mark.parametrize(
    "url",
    [
        "https://there/slide.svs?X-Amz-Signature=S3CRET",
        "https://me:S3CRET@there/slide.svs",
        "az://box/slide.svs?sig=S3CRET",
        "https://there/slide.svs#S3CRET",
    ],
)
def test_an_address_with_credentials_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ParameterError, match="slide") as caught:
        checked_url(url)
    assert "S3CRET" not in str(caught.value)


def test_texts_lose_what_is_secret_in_addresses() -> None:
    text = "GET https://me:S3CRET@there/a.svs?sig=S3CRET&x=1 in 3 ms, (https://b/c?S3CRET)"
    assert without_secrets(text) == "GET https://there/a.svs in 3 ms, (https://b/c)"
