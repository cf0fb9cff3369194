"""Drives a headless Chromium over its debugging pipe, with Python alone.

Chromium reads commands from file descriptor 3 and answers on 4 when started
with --remote-debugging-pipe: JSON messages that end in a zero byte (Chrome
DevTools Protocol).
"""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find():
    """The browser's path, or None."""
    asked = os.environ.get("CHROMIUM")
    if asked:
        return asked
    return next((p for p in map(shutil.which, NAMES) if p), None)


class Page:
    """One page of one browser. Use it in a `with`."""

    def __init__(self, browser, width=1440, height=900, dark=False, ratio=1):
        self._profile = tempfile.TemporaryDirectory()
        commands_read, self._commands = os.pipe()
        self._answers, answers_write = os.pipe()
        self._process = subprocess.Popen(
            # The shell puts the pipes where Chromium looks for them.
            ["/bin/sh", "-c",
             f'exec "$@" 3<&{commands_read} 4>&{answers_write}', "sh",
             browser, "--headless=new", "--remote-debugging-pipe",
             "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--no-first-run", "--disable-extensions",
             "--disable-background-networking", "--hide-scrollbars",
             f"--user-data-dir={self._profile.name}",
             f"--window-size={width},{height}"],
            pass_fds=(commands_read, answers_write),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        os.close(commands_read)
        os.close(answers_write)
        self._rest = b""
        self._next_id = 0
        self._session = None
        self._loaded = False
        self.problems = []  # exceptions, console errors, requests
        try:
            self._open(width, height, dark, ratio)
        except BaseException:
            self.close()
            raise

    def _open(self, width, height, dark, ratio):
        target = self.call("Target.createTarget", url="about:blank")
        self._session = self.call("Target.attachToTarget", flatten=True,
                                  targetId=target["targetId"])["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width,
                  height=height, deviceScaleFactor=ratio, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{
            "name": "prefers-color-scheme",
            "value": "dark" if dark else "light"}])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        os.close(self._commands)
        os.close(self._answers)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for _ in range(20):  # its children may still be writing there
            try:
                self._profile.cleanup()
                return
            except OSError:
                time.sleep(0.1)

    def _read(self, deadline):
        while b"\0" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                raise TimeoutError("the browser does not answer")
            data = os.read(self._answers, 1 << 16)
            if not data:
                raise RuntimeError("the browser ended")
            self._rest += data
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def _note(self, message):
        method, p = message.get("method"), message.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(p["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and p["type"] in (
                "error", "warning", "assert"):
            self.problems.append(json.dumps(p["args"]))
        elif method == "Log.entryAdded" and p["entry"]["level"] == "error":
            self.problems.append(p["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            url = p["request"]["url"]
            if not url.startswith(("file:", "data:", "about:")):
                self.problems.append("the page asks for " + url)

    def call(self, method, timeout=60, **params):
        """Sends a command; returns its result."""
        self._next_id += 1
        command = {"id": self._next_id, "method": method, "params": params}
        if self._session:
            command["sessionId"] = self._session
        data = json.dumps(command).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data):]
        deadline = time.monotonic() + timeout
        while True:
            message = self._read(deadline)
            if message.get("id") != self._next_id:
                self._note(message)
                continue
            if "error" in message:
                raise RuntimeError(f"{method}: {message['error']}")
            return message["result"]

    def load(self, path, timeout=60):
        self._loaded = False
        self.call("Page.navigate", url="file://" + os.path.abspath(path))
        deadline = time.monotonic() + timeout
        while not self._loaded:
            self._note(self._read(deadline))

    def run(self, expression):
        """The value of JavaScript; promises are waited for."""
        result = self.call("Runtime.evaluate", expression=expression,
                           returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(json.dumps(result["exceptionDetails"]))
        return result["result"].get("value")

    def frames(self, count=2):
        """Waits until so many frames have been shown."""
        self.run("new Promise((done) => { let left = %d; const next = () => "
                 "left-- > 0 ? requestAnimationFrame(next) : done(); next(); "
                 "})" % count)

    def mouse(self, kind, x, y, **more):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, x, y):
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, button="left", clickCount=1)

    def key(self, key):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key)

    def screenshot(self, path):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))
