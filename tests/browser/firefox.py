"""Firefox as it is installed, over WebDriver BiDi: it speaks that by itself, without a driver.

Playwright drives only a Firefox of its own making. `FirefoxTab` has what these tests use of
Playwright's `Page`, and means the same by it.
"""

import itertools
import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from websockets.sync.client import ClientConnection, connect

PREFERENCES = {
    # A moving picture and a tone, for every page that asks.
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    # Peers find each other on this machine, by its addresses.
    "media.peerconnection.ice.loopback": True,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    # Only one window is in front, and the others are to be as fast.
    "dom.min_background_timeout_value": 4,
    "dom.timeout.enable_budget_timer_throttling": False,
    "widget.windows.window_occlusion_tracking.enabled": False,
    # Nothing beyond this machine is looked for.
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}
LISTENING = re.compile(r"WebDriver BiDi listening on (ws://\S+)")
EVENTS = ["log.entryAdded", "network.beforeRequestSent"]
FUNCTION = re.compile(r"\s*(async\s*)?(\([^)]*\)|\w+)\s*=>")
POLLING = 0.03  # Seconds.


@contextmanager
def running_firefox(path: str, timeout: float, preload: str) -> Iterator["Firefox"]:
    """Run one without windows on the screen; `preload` is JavaScript that runs in each page.

    `timeout` is in seconds, for whatever a test waits for.
    """
    with TemporaryDirectory(prefix="firefox-", ignore_cleanup_errors=True) as profile:
        lines = [f"user_pref({json.dumps([*it])[1:-1]});\n" for it in PREFERENCES.items()]
        (Path(profile) / "user.js").write_text("".join(lines))
        with subprocess.Popen(
            [path, "--headless", "--profile", profile, "--no-remote", "--remote-debugging-port=0"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process:
            try:
                with connect(f"{_url(process)}/session", max_size=None, proxy=None) as socket:
                    firefox = Firefox(socket, timeout)
                    firefox.command("session.new", capabilities={})
                    firefox.command("session.subscribe", events=EVENTS)
                    function = f"() => {{ {preload} }}"
                    firefox.command("script.addPreloadScript", functionDeclaration=function)
                    yield firefox
                    firefox.command("browser.close")
                    process.wait(timeout)
            finally:
                process.kill()


def _url(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if match := LISTENING.search(line):
            # What it says from now on is not kept, but has to be taken from it.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return match[1]
    raise RuntimeError(f"Firefox has ended with {process.wait()}")


class Firefox:
    """What there is to do with a running one."""

    def __init__(self, socket: ClientConnection, timeout: float) -> None:
        self.timeout = timeout
        self._socket = socket
        self._numbers = itertools.count()
        self._tabs: dict[str, FirefoxTab] = {}

    def open(self, url: str, html: str) -> "FirefoxTab":
        """Open a tab that shares nothing with the others, and in which this is at the URL."""
        user = self.command("browser.createUserContext")["userContext"]
        # Windows, for tabs in the back are slowed down.
        context = self.command("browsingContext.create", type="window", userContext=user)["context"]
        tab = self._tabs[context] = FirefoxTab(self, context, html)
        self.command(
            "network.addIntercept",
            phases=["beforeRequestSent"],
            contexts=[context],
            urlPatterns=[{"type": "string", "pattern": url}],
        )
        self.command("browsingContext.navigate", context=context, url=url, wait="complete")
        return tab

    def command(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the result, and attend to what happens meanwhile; RuntimeError if refused."""
        number = self._send(method, params)
        while True:
            # Beyond a page's own patience only a browser that hangs.
            message = json.loads(self._socket.recv(self.timeout * 3))
            if message["type"] == "event":
                self._handle(message["method"], message["params"])
            elif message["id"] == number:
                if message["type"] == "error":
                    raise RuntimeError(f"{method}: {message['error']}: {message['message']}")
                result: dict[str, Any] = message["result"]
                return result

    def _send(self, method: str, params: dict[str, Any]) -> int:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        return number

    def _handle(self, event: str, params: dict[str, Any]) -> None:
        source = params["source"] if event == "log.entryAdded" else params
        tab = self._tabs.get(source["context"])
        if event == "log.entryAdded" and tab and params["level"] == "error":
            tab.complaints.append(params["text"])
        elif event == "network.beforeRequestSent" and params["isBlocked"] and tab:
            content_type = {"type": "string", "value": "text/html; charset=utf-8"}
            # Not waited for: its answer may come after that of the command that goes on.
            self._send(
                "network.provideResponse",
                {
                    "request": params["request"]["request"],
                    "statusCode": 200,
                    "headers": [{"name": "Content-Type", "value": content_type}],
                    "body": {"type": "string", "value": tab.html},
                },
            )


class FirefoxTab:
    """What the tests use of Playwright's `Page`; raises RuntimeError for exceptions of the page."""

    def __init__(self, firefox: Firefox, context: str, html: str) -> None:
        self.html = html
        self.complaints: list[str] = []
        self._firefox = firefox
        self._context = context
        self._closed = False

    def evaluate(self, expression: str, arg: Any = None) -> Any:
        """Return what it results in, or its promise; a function is called with the argument."""
        if FUNCTION.match(expression):
            expression = f"({expression})({json.dumps(arg)})"
        # As JSON, for BiDi has its own way to write down each type.
        result = self._firefox.command(
            "script.callFunction",
            functionDeclaration=f"async () => JSON.stringify(await ({expression}))",
            target={"context": self._context},
            awaitPromise=True,
        )
        if result["type"] == "exception":
            raise RuntimeError(result["exceptionDetails"]["text"])
        return json.loads(result["result"].get("value", "null"))

    def wait_for_function(self, expression: str, *, arg: Any = None) -> None:
        """Wait until it is true; raise TimeoutError if that takes too long."""
        deadline = time.monotonic() + self._firefox.timeout
        while not self.evaluate(expression, arg):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{expression} is not true in {self._firefox.timeout} s")
            time.sleep(POLLING)

    def close(self) -> None:
        """Close it; nothing happens the second time."""
        if not self._closed:
            self._closed = True
            self._firefox.command("browsingContext.close", context=self._context)
