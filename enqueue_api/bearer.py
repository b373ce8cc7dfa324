"""Who may ask over HTTP: anybody, or whoever names one of the keys, if there are any."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Annotated

from fastapi import Depends, HTTPException, status
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr

_REFUSED = "This API answers those who name a key: Authorization: Bearer KEY"

_credentials = HTTPBearer(auto_error=False)


class KeyHolders:
    """Lets requests pass that hold a key; a dependency of FastAPI's."""

    def __init__(self, keys: Iterable[SecretStr]) -> None:
        """Without any key everybody passes."""
        self._keys = [key.get_secret_value().encode() for key in keys]

    async def __call__(
        self, named: Annotated[HTTPAuthorizationCredentials | None, Depends(_credentials)]
    ) -> None:
        """Raises HTTPException (401, as RFC 6750 has it) for a request that names none of them."""
        if self._keys and not (named and self._is_key(named.credentials)):
            raise HTTPException(
                status.HTTP_401_UNAUTHORIZED, _REFUSED, headers={"WWW-Authenticate": "Bearer"}
            )

    def _is_key(self, named: str) -> bool:
        """Takes as long for a wrong one as for a right one."""
        return sum(secrets.compare_digest(named.encode(), key) for key in self._keys) > 0
