"""Object stores and web servers, as obstore speaks with them.

Credentials are obstore's own matter: the environment, and profiles of AWS. Nothing of them
passes here, and messages of the library are shortened to what names none.
"""

from __future__ import annotations

import os
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

from dplabtools.errors import (
    ChangedSlideError,
    DplabError,
    MissingSlideError,
    SlideError,
    UnreachableSlideError,
    UnsupportedSlideError,
)
from dplabtools.optional import optional
from dplabtools.sources.base import SourceState
from dplabtools.sources.requests import answer_of, begin, under_way
from dplabtools.sources.urls import checked_url, without_secrets

__all__ = ["StoredObject"]

_T = TypeVar("_T")

_METADATA_SERVICES: Final = (
    *("/latest/api/token", "/latest/meta-data", "/computeMetadata/", "/metadata/identity"),
)
"""Asked for credentials in the machines of a cloud, if there are none elsewhere."""
_NO_BUCKET: Final = ("NoSuchBucket", "ContainerNotFound")
"""What S3 and Google, and Azure, say where there is none."""
_REFUSED: Final = "401 Unauthorized", "403 Forbidden"
"""Of which the library makes errors of a kind of their own, but not of lists."""
_NO_CREDENTIALS: Final = (
    "say who you are by the variables of your cloud: AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE (which takes boto3); "
    "GOOGLE_APPLICATION_CREDENTIALS; AZURE_STORAGE_ACCOUNT_NAME and "
    "AZURE_STORAGE_ACCOUNT_KEY; AWS_SKIP_SIGNATURE=true reads public buckets"
)
_TELLING: Final = ("AWS_", "AZURE_", "GOOGLE_")  # begin variables that obstore reads
_TRIES: Final = 10
_TIMEOUT_S: Final = 30  # without a byte, or of a connection


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StoredObject:
    """An object of a store, or a file on a web server.

    Attributes
    ----------
    url : str
        Its address.
    store : obstore.store.ObjectStore
        Where it lies.
    key : str
        Its name there, with all folders.
    """

    url: str
    store: Any
    key: str

    @classmethod
    def at(cls, url: str) -> StoredObject:
        """Return the object of an address; nothing is asked for yet.

        Raises
        ------
        MissingLibraryError
            If obstore is not installed.
        ParameterError
            If the address names credentials.
        UnreachableSlideError
            If what the environment says about its store cannot be.
        """
        parts = urlsplit(checked_url(url))
        key = parts.path.lstrip("/")
        if parts.scheme.startswith("http"):
            key = unquote(key)
        try:
            store = _store(f"{parts.scheme}://{parts.netloc}", _environment())
        except DplabError:
            raise
        except Exception as error:  # noqa: BLE001 - of the library, or of that of profiles
            msg, name = "its store cannot be used", url.rpartition("/")[2]
            raise UnreachableSlideError(
                msg, slide=name, details=_shown(str(error)), remedy=_NO_CREDENTIALS
            ) from None
        return cls(url=url, store=store, key=key)

    @property
    def name(self) -> str:
        """Its name without folders."""
        return self.key.rpartition("/")[2]

    def child(self, name: str) -> StoredObject:
        """Return the object of a name below it, as if it were a folder."""
        key = f"{self.key}/{name}" if self.key else name
        return replace(self, url=f"{self.url}/{name}", key=key)

    def get(
        self, start: int, stop: int, *, state: SourceState | None = None
    ) -> tuple[memoryview, SourceState]:
        """Fetch a part of it, and wait for it.

        Parameters and result are those of `fetch`.

        Raises
        ------
        SlideError
            As `fetch`.
        """
        return answer_of(begin(self.fetch, start, stop, state=state))

    async def fetch(
        self, start: int, stop: int, *, state: SourceState | None = None
    ) -> tuple[memoryview, SourceState]:
        """Fetch a part of it, again where the connection or the server fails.

        Parameters
        ----------
        start, stop : int
            First byte, and the one after the last; what lies beyond its end is left out.
        state : SourceState, optional
            What it must be.

        Returns
        -------
        data : memoryview
            The bytes.
        state : SourceState
            What it is.

        Raises
        ------
        MissingSlideError
            If it, or its bucket, is not there.
        UnsupportedSlideError
            If the server hands out no parts of files, or this one is empty.
        ChangedSlideError
            If it is not what it must be.
        UnreachableSlideError
            If it cannot be had: no credentials, or refused; nobody answers.
        """
        options: dict[str, Any] = {"range": (start, stop)}
        if state is not None and state.etag.startswith('"'):  # others never match
            options["if_match"] = state.etag
        async with self._asking() as obstore:
            found = await obstore.get_async(self.store, self.key, options=options)
            meta, data = found.meta, memoryview(await found.bytes_async())
        now = SourceState(nbytes=int(meta["size"]), etag=meta["e_tag"] or "")
        if state is not None and now != state:
            raise self._changed()
        return data, now

    @asynccontextmanager
    async def _asking(self) -> AsyncGenerator[Any]:
        """Yield the library once it is its turn, and say its errors as ours.

        Raises
        ------
        SlideError
            For any.
        """
        obstore = _obstore()
        try:
            async with under_way():
                yield obstore
        except Exception as error:  # noqa: BLE001 - of the library, or built in
            # Its own text shows what was asked for, secrets included.
            raise self._error(error) from None

    def _ask(self, ask: Callable[[Any], Awaitable[_T]]) -> _T:
        """Return what the library answers."""

        async def asked() -> _T:
            async with self._asking() as obstore:
                return await ask(obstore)

        return answer_of(begin(asked))

    def _changed(self) -> ChangedSlideError:
        msg = "it has changed since it was opened"
        return ChangedSlideError(
            msg, slide=self.name, remedy="run again when nobody writes to it"
        )

    def _error(self, error: Exception) -> SlideError:
        """Return an error of the library as one of ours."""
        exceptions = _obstore().exceptions
        text = str(error)
        bucket = any(each in text for each in _NO_BUCKET)
        if bucket or isinstance(error, FileNotFoundError):
            msg = f"there is no {'bucket of' if bucket else 'slide file'} {self.url!r}"
            return MissingSlideError(msg, slide=self.name, remedy="check the address")
        if isinstance(error, exceptions.PreconditionError):
            return self._changed()
        if isinstance(error, exceptions.NotSupportedError):
            msg = "its server hands out no parts of files"
            remedy = "download it, or use a server that answers requests for ranges"
            return UnsupportedSlideError(msg, slide=self.name, remedy=remedy)
        if "416 Range Not Satisfiable" in text:
            return UnsupportedSlideError("it is empty", slide=self.name)
        refused = exceptions.UnauthenticatedError, exceptions.PermissionDeniedError
        if any(each in text for each in _METADATA_SERVICES):
            msg, remedy = "there are no credentials for its store", _NO_CREDENTIALS
        elif isinstance(error, refused) or any(each in text for each in _REFUSED):
            msg = "its store refuses access with the credentials that there are"
            remedy = f"check them and what they allow; {_NO_CREDENTIALS}"
        else:
            msg = f"its store cannot be reached, tried {_TRIES} times"
            remedy = "check the address and the network, and run again"
        return UnreachableSlideError(
            msg, slide=self.name, details=_shown(text), remedy=remedy
        )

    def put(self, content: Path | bytes) -> None:
        """Store a file, or bytes, as the object, which is there when it is whole.

        Raises
        ------
        SlideError
            As `get`.
        """
        self._ask(lambda obstore: obstore.put_async(self.store, self.key, content))

    def delete(self) -> None:
        """Remove it, if it is there.

        Raises
        ------
        SlideError
            As `get`.
        """
        with suppress(MissingSlideError):
            self._ask(lambda obstore: obstore.delete_async(self.store, self.key))

    def below(self) -> Iterator[tuple[str, SourceState]]:
        """Yield all objects below it, as if it were a folder: addresses and states.

        A state is what the list says, which need not be what `get` does.

        Raises
        ------
        SlideError
            As `get`.
        """
        batches: AsyncIterator[Sequence[Mapping[str, Any]]]
        batches = _obstore().list(self.store, self.key or None)

        async def following(_: object) -> Sequence[Mapping[str, Any]]:
            async for batch in batches:
                return batch
            return ()

        while batch := self._ask(following):
            yield from map(self._listed, batch)

    def beside(self) -> list[tuple[str, SourceState]]:
        """Return all objects of its folder, itself too, as `below` does.

        Raises
        ------
        SlideError
            As `get`.
        """
        found = self._directly_in(self.key.rpartition("/")[0])
        return list(map(self._listed, found["objects"]))

    def _directly_in(self, folder: str) -> Mapping[str, Any]:
        return self._ask(
            lambda obstore: obstore.list_with_delimiter_async(self.store, folder or None)
        )

    def _listed(self, meta: Mapping[str, Any]) -> tuple[str, SourceState]:
        parts = urlsplit(self.url)
        state = SourceState(nbytes=int(meta["size"]), etag=meta["e_tag"] or "")
        return f"{parts.scheme}://{parts.netloc}/{meta['path']}", state

    def names(self) -> frozenset[str]:
        """Return what is directly below it, as if it were a folder: objects and folders.

        Raises
        ------
        SlideError
            As `get`.
        """
        found = self._directly_in(self.key)
        paths = [*found["common_prefixes"], *(each["path"] for each in found["objects"])]
        return frozenset(path.rpartition("/")[2] for path in paths)


def _shown(text: str) -> str:
    """Return what a message of the library says, without what was asked for."""
    first = (text.splitlines() or [""])[0]
    return without_secrets(first.rpartition(" - ")[2])


def _obstore() -> Any:  # noqa: ANN401 - loaded where it is needed
    return optional("obstore", what="slides that lie elsewhere", extra="remote")


def _environment() -> frozenset[tuple[str, str]]:
    """Return what stores are told by the environment, which may be mended on the way."""
    return frozenset(each for each in os.environ.items() if each[0].startswith(_TELLING))


@cache
def _store(base: str, _told: frozenset[tuple[str, str]]) -> Any:  # noqa: ANN401 - loaded where it is needed
    """Return the store of a bucket or web server; its connections are used again."""
    _obstore()
    from datetime import timedelta

    from obstore.store import from_url

    options: dict[str, Any] = {
        "client_options": {
            "allow_http": True,
            "connect_timeout": f"{_TIMEOUT_S // 3}s",
            "timeout": f"{_TIMEOUT_S}s",
        },
        "retry_config": {
            "max_retries": _TRIES - 1,
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=5),
                "base": 2,
            },
            "retry_timeout": timedelta(seconds=4 * _TIMEOUT_S),
        },
    }
    if base.startswith("s3:") and os.environ.get("AWS_PROFILE"):
        profiles = optional("obstore.auth.boto3", what="profiles of AWS", extra="remote")
        options["credential_provider"] = profiles.Boto3CredentialProvider()
    return from_url(base, **options)
