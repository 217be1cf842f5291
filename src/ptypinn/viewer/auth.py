"""Access control: requests need the key that the server printed at start, and changes a page of this server as well."""

from __future__ import annotations

import hmac
import re
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import URL, Headers, MutableHeaders, QueryParams
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ptypinn.config.view import EVERYWHERE, LOOPBACK

KEY = "key"
"""Query parameter that carries the key once; afterwards a cookie does."""
LONG_NUMBER = re.compile(r"\d{19}")
"""Numbers in addresses that no row, column or pattern has."""
SAFE_METHODS = ("GET", "HEAD")
MAX_BODY_BYTES = 2**16
"""Longest body of a request."""
READ_ONLY = "This viewer is read-only: use GET or HEAD"
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Default headers of every response: pages load nothing from other origins, nor other origins from here."""


class KeyMiddleware:
    """Middleware that refuses requests without the key.

    Every user of a machine, and every page in its browsers, reaches the loopback address. Host names are checked
    before, by `TrustedHostMiddleware`, against DNS rebinding.

    Args:
        app: The protected application.
        key: The key; an empty one disables the check.
        port: Port of this server, which distinguishes the cookies of several servers on one machine.
        read_only: Refuse every request that changes something.
    """

    def __init__(self, app: ASGIApp, key: str, port: int, read_only: bool) -> None:
        self._app, self._key, self._cookie, self._read_only = app, key, f"ptypinn-view-{port}", read_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        app = self._refuse(scope) or self._app
        await app(scope, receive, send_with_headers)

    def _refuse(self, scope: Scope) -> Response | None:
        """Return the refusal of a request, a redirect that sets the cookie, or None where the request is allowed."""
        headers = Headers(scope=scope)
        if scope["method"] not in (*SAFE_METHODS, "POST") or (scope["method"] == "POST" and self._read_only):
            return PlainTextResponse(READ_ONLY if self._read_only else "Use GET, HEAD or POST", 405)
        if not self._key or self._is_key(self._read_cookie(headers)):
            if scope["method"] == "POST" and (refusal := _refuse_change(headers)) is not None:
                return refusal
            return PlainTextResponse("no such number", 404) if LONG_NUMBER.search(scope["path"]) else None
        if scope["method"] == "POST":  # the key comes as a cookie, never in the address
            return PlainTextResponse("Open the address that `ptypinn view` printed: it contains the key", 403)
        if self._is_key(QueryParams(scope["query_string"]).get(KEY, "")):
            clean = URL(scope=scope).remove_query_params(KEY)
            path = "/" + clean.path.lstrip("/")  # two slashes would redirect to another server
            redirect = RedirectResponse(f"{path}?{clean.query}" if clean.query else path, 303)
            redirect.set_cookie(self._cookie, self._key, httponly=True, samesite="lax")
            return redirect
        return PlainTextResponse("Open the address that `ptypinn view` printed: it contains the key", 403)

    def _is_key(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self._key.encode())

    def _read_cookie(self, headers: Headers) -> str:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return ""
        return "" if cookie is None else cookie.value


def _refuse_change(headers: Headers) -> Response | None:
    """Return the refusal of a request that changes something, or None where a page of this server has sent it.

    Browsers state the origin of every such request, and send JSON to another origin only where that has allowed it.
    """
    origin = headers.get("origin", "")
    same = re.fullmatch(r"https?://([^/]+)", origin)
    if same is None or same[1] != headers.get("host", ""):
        return PlainTextResponse("Only pages of this viewer may change something", 403)
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return PlainTextResponse("Only pages of this viewer may change something", 403)
    if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return PlainTextResponse("Send JSON", 415)
    length = headers.get("content-length", "")
    if not length.isascii() or not length.isdigit() or int(length[:9]) > MAX_BODY_BYTES or len(length) > 9:
        return PlainTextResponse(f"State the length of the body, at most {MAX_BODY_BYTES} bytes", 413)
    return None


def list_host_names(host: str) -> list[str]:
    """Return the host names that requests may use.

    A server that listens on every address accepts any name; there the key alone protects it.

    Examples:
        >>> list_host_names("::1")
        ['127.0.0.1', 'localhost', '[::1]']
    """
    if host in EVERYWHERE:
        return ["*"]
    names = LOOPBACK if host in LOOPBACK else (host,)
    return [f"[{name}]" if ":" in name else name for name in names]
