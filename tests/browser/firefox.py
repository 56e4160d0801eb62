"""An installed Firefox over WebDriver BiDi, which it speaks by itself, without a driver.

Playwright drives only a Firefox of its own build. `FirefoxTab` has the methods of Playwright's
`Page` that these tests use, with the same meaning.
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
    # Every page that asks gets a moving picture and a tone.
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    # Peers find each other on this machine by its addresses.
    "media.peerconnection.ice.loopback": True,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    # Only one window is in front. The others must be as fast.
    "dom.min_background_timeout_value": 4,
    "dom.timeout.enable_budget_timer_throttling": False,
    "widget.windows.window_occlusion_tracking.enabled": False,
    # The browser must not look for anything beyond this machine.
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}
LISTENING = re.compile(r"WebDriver BiDi listening on (ws://\S+)")
EVENTS = ["log.entryAdded", "network.beforeRequestSent"]
FUNCTION = re.compile(r"\s*(async\s*)?(\([^)]*\)|\w+)\s*=>")
POLLING = 0.03  # In seconds.


@contextmanager
def running_firefox(path: str, timeout: float, preload: str) -> Iterator["Firefox"]:
    """Run a Firefox that shows no windows; `preload` is JavaScript that runs in each page.

    `timeout` is how long anything may take that a test waits for, in seconds.
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
            # The output from now on is not kept, but must be read so that the pipe does not fill.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return match[1]
    raise RuntimeError(f"Firefox has ended with {process.wait()}")


class Firefox:
    """A running Firefox."""

    def __init__(self, socket: ClientConnection, timeout: float) -> None:
        self.timeout = timeout
        self._socket = socket
        self._numbers = itertools.count()
        self._tabs: dict[str, FirefoxTab] = {}

    def open(self, url: str, html: str) -> "FirefoxTab":
        """Open a tab that shares nothing with the others, in which `html` is found at the URL."""
        user = self.command("browser.createUserContext")["userContext"]
        # Each tab is a window, since tabs in the background are slowed down.
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
        """Return a command's result, handling events meanwhile; raise RuntimeError on error."""
        number = self._send(method, params)
        while True:
            # Only a browser that hangs takes longer than a page may.
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
            # The answer is not awaited: it may come after the answer to the command that goes on.
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
    """A tab with methods of Playwright's `Page`. They raise RuntimeError if the page throws."""

    def __init__(self, firefox: Firefox, context: str, html: str) -> None:
        self.html = html
        self.complaints: list[str] = []
        self._firefox = firefox
        self._context = context
        self._closed = False

    def evaluate(self, expression: str, arg: Any = None) -> Any:
        """Return the result, awaited if it is a promise. A function is called with the argument."""
        if FUNCTION.match(expression):
            expression = f"({expression})({json.dumps(arg)})"
        # The result comes as JSON, since BiDi has its own notation for each type.
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
        """Wait until the expression is true; raise TimeoutError if that takes too long."""
        deadline = time.monotonic() + self._firefox.timeout
        while not self.evaluate(expression, arg):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{expression} is not true in {self._firefox.timeout} s")
            time.sleep(POLLING)

    def close(self) -> None:
        """Close the tab. A second call does nothing."""
        if not self._closed:
            self._closed = True
            self._firefox.command("browsingContext.close", context=self._context)
