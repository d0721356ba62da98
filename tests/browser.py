"""Headless Chromium for the tests of report and dashboard, over its debugging protocol."""

import asyncio
import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here (Debian: apt install chromium)"
)
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")


class Page:
    """One tab."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._loop, self._socket, self._sent = loop, socket, 0

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol and its answer."""
        return self._loop.run_until_complete(asyncio.wait_for(self._send(method, parameters), 60))

    async def _send(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._sent += 1
        await self._socket.send_json({"id": self._sent, "method": method, "params": parameters})
        while True:
            answer = json.loads((await self._socket.receive()).data)
            if answer.get("id") == self._sent:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def look_like(self, *, width: int, height: int, dark: bool = False, phone: bool = False) -> None:
        """Size of the screen, colour scheme, and whether it is a phone's."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.send("Emulation.setDeviceMetricsOverride", **screen)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, address: str) -> None:
        """Start to load `address`; wait with `until`."""
        self.send("Page.navigate", url=address)

    def ask(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        result = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def text(self) -> str:
        """What a person can read."""
        return self.ask("document.body ? document.body.innerText : ''")

    def until(self, script: str, seconds: float = 60) -> None:
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + seconds
        while not self.ask(script):
            assert time.monotonic() < deadline, f"{script} never came true; the page says:\n{self.text()}"
            time.sleep(0.2)

    def until_it_says(self, *words: str) -> None:
        """Wait until all `words` can be read."""
        for each in words:
            self.until(f"document.body && document.body.innerText.includes({json.dumps(each)})")

    def screenshot(self, path: Path) -> bytes:
        """What the screen shows, as PNG, also written to `path`."""
        content = base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])
        path.write_bytes(content)
        return content


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """A fresh browser whose profile lies in `folder`."""
    profile = folder / "profile"
    command = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--remote-debugging-port=0",
        *QUIET,
    ]
    command += ["--disable-dev-shm-usage", "--allow-file-access-from-files", f"--user-data-dir={profile}"]
    browser = subprocess.Popen(
        [*command, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    loop = asyncio.new_event_loop()
    session = loop.run_until_complete(_session())
    try:
        socket = loop.run_until_complete(_attach(session, _port(profile, browser)))
        yield Page(loop, socket)
        loop.run_until_complete(socket.close())
    finally:
        loop.run_until_complete(session.close())
        loop.close()
        browser.kill()
        browser.wait()


async def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession()


def _port(profile: Path, browser: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + 60
    said = profile / "DevToolsActivePort"
    while not (said.exists() and said.read_text().strip()):
        assert browser.poll() is None, "Chromium ended"
        assert time.monotonic() < deadline, "Chromium does not answer"
        time.sleep(0.1)
    return int(said.read_text().split()[0])


async def _attach(session: aiohttp.ClientSession, port: int) -> aiohttp.ClientWebSocketResponse:
    async with session.get(f"http://127.0.0.1:{port}/json") as answer:
        pages = [each for each in await answer.json() if each["type"] == "page"]
    return await session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0)
