"""A real browser, driven over its debugging pipe: keys as a person presses them, pictures of what is seen."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Name of a key: its code, the number Windows gave it, the text it types.
KEYS = {
    "Tab": ("Tab", 9, ""), "Enter": ("Enter", 13, "\r"), "Escape": ("Escape", 27, ""),
    "ArrowLeft": ("ArrowLeft", 37, ""), "ArrowRight": ("ArrowRight", 39, ""), "ArrowUp": ("ArrowUp", 38, ""),
    "ArrowDown": ("ArrowDown", 40, ""), "+": ("NumpadAdd", 107, "+"), "-": ("Minus", 189, "-"), " ": ("Space", 32, " "),
}  # fmt: skip


# The browser takes its commands from file 3 and answers on file 4, which may be something else here.
START = """
import os, sys
high = [os.dup2(int(file), number) for number, file in zip((100, 101), sys.argv[1:3])]
for number, file in zip((3, 4), high):
    os.dup2(file, number)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One page of a headless Chromium."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._rest = b""
        self._number = 0
        self.complaints: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Give a command and wait for its answer; what the page complains of meanwhile is kept."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": arguments}
        if hasattr(self, "_session"):
            message["sessionId"] = self._session
        text = json.dumps(message).encode() + b"\0"
        while text:
            text = text[os.write(self._commands, text) :]
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._answers, 1 << 20)
            assert more, "the browser is gone"
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        answer: dict[str, Any] = json.loads(text)
        method, said = answer.get("method"), answer.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(said["exceptionDetails"]))
        elif method == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
            self.complaints.append(said["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not said["request"]["url"].startswith(
            ("file:", "data:", "about:")
        ):
            self.complaints.append(f"fetched {said['request']['url']}")
        return answer

    def open(self, page: Path) -> None:
        """Open a page and wait until it is loaded."""
        self.call("Page.navigate", url=page.resolve().as_uri())
        for _ in range(200):
            if self.value("document.readyState === 'complete' && location.protocol === 'file:'"):
                return
            self.value("new Promise((done) => setTimeout(done, 50))")
        raise AssertionError("the page is not loaded")

    def value(self, script: str) -> Any:
        """What an expression is in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, *names: str, shift: bool = False) -> None:
        """Press and release keys, one after another."""
        for name in names:
            code, number, text = KEYS[name]
            key = {"key": name, "code": code, "windowsVirtualKeyCode": number, "modifiers": 8 * shift}
            typed = {"text": text} if text else {}
            self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **key, **typed)
            self.call("Input.dispatchKeyEvent", type="keyUp", **key)
        self.value("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)))")

    def seen(self, file: Path, *, width: int = 1280, height: int | None = None, dark: bool = False) -> None:
        """Take a picture of the page, whole or the window only."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        view = {"width": width, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", height=height or 900, **view)
        tall = height or int(self.value("document.documentElement.scrollHeight"))
        self.call("Emulation.setDeviceMetricsOverride", height=tall, **view)
        picture = self.call("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(picture["data"]))


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with its profile in a folder; skips where there is none."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is installed")
    from_us, commands = os.pipe()
    answers, to_us = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", START, str(from_us), str(to_us), program, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
         f"--user-data-dir={folder / 'profile'}"],
        pass_fds=(from_us, to_us), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(from_us)
    os.close(to_us)
    try:
        yield Browser(commands, answers)
    finally:
        os.close(commands)  # it leaves when nobody speaks to it any more
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)
        os.close(answers)
