"""Serves the demo page and the SDK that it is built on."""

from http import HTTPStatus
from pathlib import Path
from typing import Any

from tornado.routing import URLSpec
from tornado.web import RequestHandler, StaticFileHandler

PAGE = Path(__file__).parent / "page"
SDK = Path(__file__).parent.parent / "sdk"

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
    ".ts": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}
"""The types of the files that are served. Those of Python's `mimetypes` depend on the system, where
`.js` may have an odd one, and `.ts`, which is plain text here, is a video's."""

NAME = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
"""The name of a file in the directory itself, but not of a hidden one."""

HEADERS = {
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(self), display-capture=(self)",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # A cached copy is used only after asking whether the file has changed.
    "Cache-Control": "no-cache",
}


def demo_routes() -> list[URLSpec]:
    """Return the routes of the page at `/` and its files, and of the SDK at `/sdk/`.

    Other files in the two directories, and those in directories below, have no route.
    """
    return [
        URLSpec(
            rf"/((?:{NAME}\.(?:css|html|js|svg|webmanifest))?)",
            PageHandler,
            {"path": str(PAGE)},
        ),
        URLSpec(rf"/sdk/({NAME}\.(?:js|d\.ts))", SdkHandler, {"path": str(SDK)}),
    ]


class DemoHandler(RequestHandler):
    """What all responses have in common, refusals too: headers, and errors in plain text."""

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", "GET, HEAD")
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code} {HTTPStatus(status_code).phrase}\n")


class PageHandler(DemoHandler, StaticFileHandler):
    """Serves the page and its files."""

    def parse_url_path(self, url_path: str) -> str:
        return url_path or "index.html"

    def compute_etag(self) -> str | None:
        """Return the tag of the file as it is now, not as it was when it was first asked for."""
        return f'"{self.get_content_version(self.absolute_path)}"' if self.absolute_path else None

    def get_content_type(self) -> str:
        return CONTENT_TYPES[Path(self.path).suffix]

    def get_cache_time(self, *_: object) -> int:
        """Return 0, even for a URL that ends in `?v=`: browsers have to ask each time."""
        return 0


class SdkHandler(PageHandler):
    """Serves the SDK, to pages from other origins too."""

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Access-Control-Allow-Origin", "*")
        self.set_header("Cross-Origin-Resource-Policy", "cross-origin")
