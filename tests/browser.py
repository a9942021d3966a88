"""A page in headless Chromium, driven over its debugging pipe: real clicks and keys, no network, no further packages."""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --hide-scrollbars "
    "--disable-component-update --disable-sync --remote-debugging-pipe --host-resolver-rules=MAP,*,~NOTFOUND"
)


class Browser:
    """One page; a context manager that ends the browser."""

    def __init__(self, page: Path, profile: Path, *, scripts: bool = True, width: int = 1200, height: int = 900) -> None:
        program = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
        if program is None:
            pytest.skip("no Chromium here to draw the page")
        (wanted, self._out), (self._in, given) = os.pipe(), os.pipe()
        # the browser reads its descriptor 3 and writes its descriptor 4
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (wanted, given)]
        start = f"import os, sys; os.dup2({ends[0]}, 3); os.dup2({ends[1]}, 4); os.execv(sys.argv[1], sys.argv[1:])"
        call = [sys.executable, "-c", start, program, *OPTIONS.split()]
        call += [f"--window-size={width},{height}", f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(call, pass_fds=ends, stderr=subprocess.DEVNULL, start_new_session=True)
        for end in (wanted, given, *ends):
            os.close(end)
        self._number, self._left, self._session = 0, b"", ""
        self.errors: list[str] = []
        target = next(t for t in self.send("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for name in ("Page.enable", "Runtime.enable"):
            self.send(name)
        self.send("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.send("Page.navigate", url=page.as_uri())
        self.wait("Page.loadEventFired")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *exc: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            assert select.select([self._in], [], [], 60)[0], "the browser does not answer"
            more = os.read(self._in, 1 << 16)
            assert more, "the browser ended"
            self._left += more
        first, self._left = self._left.split(b"\0", 1)
        found: dict[str, Any] = json.loads(first)
        if found.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(found["params"]["exceptionDetails"]))
        return found

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """A call of the debugging protocol and its result."""
        self._number += 1
        document = {"id": self._number, "method": method, "params": params}
        if self._session:
            document["sessionId"] = self._session
        os.write(self._out, json.dumps(document).encode() + b"\0")
        while True:
            found = self._message()
            if found.get("id") == self._number:
                assert "error" not in found, found
                return found["result"]

    def wait(self, event: str) -> None:
        """Until an event comes."""
        while self._message().get("method") != event:
            pass

    def value(self, expression: str) -> Any:
        """Value of a JavaScript expression (also where the page's own scripts are off)."""
        return self.send("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def click(self, element: str) -> None:
        """Press the left button in the middle of an element, given as an expression."""
        x, y = self.value(
            f"(() => {{ const e = {element}; e.scrollIntoView({{block: 'center'}}); const r = e.getBoundingClientRect(); "
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def key(self, name: str, code: int, text: str = "") -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code, text=text)

    def picture(self, path: Path, *, whole: bool = False) -> Path:
        """PNG of the window, or of the whole page."""
        options: dict[str, Any] = {}
        if whole:
            size = self.send("Page.getLayoutMetrics")["cssContentSize"]
            options = {"captureBeyondViewport": True, "clip": {**size, "scale": 1}}
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png", **options)["data"]))
        return path
