"""Who may ask: browsers on pages of this server, with the key that it printed when it started."""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import URL, Headers, MutableHeaders, QueryParams
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ptypinn.config.view import EVERYWHERE, LOOPBACK

KEY = "key"
"""Query parameter that carries the key once; a cookie does from then on."""
SAFE = ("GET", "HEAD")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""On every answer that has none of its own: nothing from elsewhere, and nothing for pages from elsewhere."""


class KeyMiddleware:
    """Middleware that lets in only those who hold the key.

    The loopback is open to everybody on a machine, and to every page in its browsers; names are checked before, by
    `TrustedHostMiddleware`, against pages that have their own name lead here.

    Args:
        app: What is behind the door.
        key: The key; an empty one lets everybody in.
        port: Of this server, so that several on one machine keep their cookies apart.
    """

    def __init__(self, app: ASGIApp, key: str, port: int) -> None:
        self._app, self._key, self._cookie = app, key, f"ptypinn-view-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._refusal(scope) or self._app
        await answer(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        """The answer to a request that does not get through: refused, or sent on with the key as a cookie."""
        if scope["method"] not in SAFE:
            return PlainTextResponse("The viewer only shows: GET and HEAD", 405)
        if not self._key or self._is_key(self._of_cookie(Headers(scope=scope))):
            return None
        if self._is_key(QueryParams(scope["query_string"]).get(KEY, "")):
            clean = URL(scope=scope).remove_query_params(KEY)
            path = "/" + clean.path.lstrip("/")  # two slashes would lead to another server
            answer = RedirectResponse(f"{path}?{clean.query}" if clean.query else path, 303)
            answer.set_cookie(self._cookie, self._key, httponly=True, samesite="lax")
            return answer
        return PlainTextResponse("Open the address that `ptypinn view` has printed: it carries the key", 403)

    def _is_key(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._key.encode())

    def _of_cookie(self, headers: Headers) -> str:
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return ""
        return "" if found is None else found.value


def allowed_names(host: str) -> list[str]:
    """Names under which a server at an address may be asked for.

    A server on every address cannot know its names; there the key alone keeps the door.
    """
    if host in EVERYWHERE:
        return ["*"]
    names = LOOPBACK if host in LOOPBACK else (host,)
    return [f"[{name}]" if ":" in name else name for name in names]
