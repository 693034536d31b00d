"""Opens pages in headless Chromium and says what they did: one JSON document on stdout.

    python3 browser.py CHROMIUM AXE PAGE... [--pictures DIR]

Speaks the browser's own protocol over a pipe; needs nothing but Python. Per page: messages and errors of the console,
every request that it made, what axe-core objects to, the figures that it shows, what the keyboard does, and how many
sheets it is printed on. With --pictures also what it looks like: light, dark, printed.
"""

import base64
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

PATIENCE_S = 120


class Browser:
    def __init__(self, program):
        self.home = tempfile.TemporaryDirectory()
        to_browser, self.write_end = os.pipe()
        self.read_end, from_browser = os.pipe()

        def adopt():
            # The protocol's pipes are descriptors 3 and 4.
            source = [os.dup(to_browser), os.dup(from_browser)]
            os.dup2(source[0], 3)
            os.dup2(source[1], 4)

        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
                 "--disable-background-networking", "--disable-extensions", f"--user-data-dir={self.home.name}"]
        self.process = subprocess.Popen(
            [program, *flags], preexec_fn=adopt, close_fds=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.buffer, self.number, self.events = b"", 0, []

    def receive(self):
        while b"\0" not in self.buffer:
            piece = os.read(self.read_end, 1 << 20)
            if not piece:
                raise RuntimeError("the browser has gone")
            self.buffer += piece
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, session=None, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.write_end, data):]
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def wait(self, event):
        while not any(seen.get("method") == event for seen in self.events):
            self.events.append(self.receive())

    def close(self):
        try:
            self.call("Browser.close")
        except (RuntimeError, OSError):
            pass
        self.process.wait(timeout=30)
        self.home.cleanup()


FIGURES = """Object.fromEntries([...document.querySelectorAll('article:first-of-type [data-figure]')]
    .map(e => [e.dataset.figure, e.dataset.exact === undefined ? null : Number(e.dataset.exact)]))"""
# What a reader without a mouse gets: the first plot with data takes the focus and tells its rows.
KEYBOARD = """(() => {
    const svg = document.querySelector('svg[tabindex]');
    if (!svg) return null;
    svg.focus();
    const key = name => svg.dispatchEvent(new KeyboardEvent('keydown', {key: name, bubbles: true, cancelable: true}));
    key('ArrowRight'); key('ArrowRight');
    const tip = document.getElementById('tip');
    const result = {focused: document.activeElement === svg, shown: !tip.hidden, text: tip.textContent,
                    said: document.getElementById('said').textContent};
    key('Escape');
    return {...result, hidden: tip.hidden};
})()"""
# Zooms in with the keyboard and with a drag, and back again.
ZOOM = """(() => {
    const svg = document.querySelector('svg[tabindex]');
    if (!svg) return null;
    const key = name => svg.dispatchEvent(new KeyboardEvent('keydown', {key: name, bubbles: true, cancelable: true}));
    const part = () => svg.querySelector('svg.part')?.viewBox.baseVal.width ?? null;
    const before = svg.innerHTML;
    const [, , from, to] = svg.dataset.scale.split(' ').map(Number);
    key('+'); const once = part();
    key('+'); const twice = part();
    key('0'); const back = svg.innerHTML === before;
    const box = svg.getBoundingClientRect();
    const at = share => ({clientX: box.left + box.width * (from + (to - from) * share) / svg.viewBox.baseVal.width,
                          clientY: box.top + 40, button: 0, pointerType: 'mouse', bubbles: true});
    svg.dispatchEvent(new PointerEvent('pointerdown', at(0.25)));
    svg.dispatchEvent(new PointerEvent('pointerup', at(0.5)));
    const dragged = part();
    svg.dispatchEvent(new MouseEvent('dblclick', {bubbles: true}));
    return {whole: to - from, once, twice, dragged, back: back && svg.innerHTML === before};
})()"""
STYLED = "getComputedStyle(document.querySelector('.tiles')).display"
OUTSIDE = """[...document.querySelectorAll('[src],[href],[action],[data]')].map(e => e.outerHTML.slice(0, 120))"""
SCRIPTS = "document.scripts.length"
WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


def evaluate(browser, session, text):
    answer = browser.call("Runtime.evaluate", session, expression=text, returnByValue=True, awaitPromise=True)
    if "exceptionDetails" in answer:
        raise RuntimeError(str(answer["exceptionDetails"])[:500])
    return answer["result"].get("value")


def sheets(pdf):
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf))


def open_page(browser, path, width):
    target = browser.call("Target.createTarget", url="about:blank")["targetId"]
    session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ["Page", "Runtime", "Log", "Network"]:
        browser.call(f"{domain}.enable", session)
    browser.call("Emulation.setDeviceMetricsOverride", session, width=width, height=900, deviceScaleFactor=1,
                 mobile=False)
    browser.events.clear()
    browser.call("Page.navigate", session, url=pathlib.Path(path).resolve().as_uri())
    browser.wait("Page.loadEventFired")
    return target, session


def told(events):
    """What the console said, and what was asked of the network."""
    console, requests = [], []
    for event in events:
        method, params = event.get("method", ""), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            console.append(str(params["exceptionDetails"])[:300])
        elif method == "Log.entryAdded":
            console.append(params["entry"]["text"][:300])
        elif method == "Runtime.consoleAPICalled":
            console.append(str(params["args"])[:300])
        elif method == "Page.javascriptDialogOpening":
            console.append("dialog: " + params["message"][:100])
        elif method == "Network.requestWillBeSent":
            requests.append(params["request"]["url"][:200])
    return console, requests


def look(browser, path, axe):
    target, session = open_page(browser, path, 1160)
    result = {"figures": evaluate(browser, session, FIGURES), "keyboard": evaluate(browser, session, KEYBOARD),
              "zoom": evaluate(browser, session, ZOOM)}
    result["styled"] = evaluate(browser, session, STYLED)
    result["outside"] = evaluate(browser, session, OUTSIDE)
    result["scripts"] = evaluate(browser, session, SCRIPTS)
    result["text"] = evaluate(browser, session, "document.body.innerText")[:20000]
    console, requests = told(browser.events)
    result.update(console=console, requests=[url for url in requests if not url.startswith("file:")])
    evaluate(browser, session, axe + ";0")
    violations = []
    for scheme in ["light", "dark"]:
        browser.call("Emulation.setEmulatedMedia", session,
                     features=[{"name": "prefers-color-scheme", "value": scheme}])
        found = evaluate(browser, session, "axe.run(document).then(r => r.violations.map(v => "
                         "({id: v.id, impact: v.impact, where: v.nodes.slice(0, 3).map(n => n.html.slice(0, 160))})))")
        violations += [dict(one, scheme=scheme) for one in found]
    result["violations"] = violations
    browser.call("Emulation.setEmulatedMedia", session, features=[])
    pdf = base64.b64decode(browser.call("Page.printToPDF", session, preferCSSPageSize=True,
                                        printBackground=True)["data"])
    result["sheets"] = sheets(pdf)
    browser.call("Emulation.setDeviceMetricsOverride", session, width=390, height=800, deviceScaleFactor=1, mobile=True)
    result["wider_than_a_phone"] = evaluate(browser, session, WIDER)
    browser.call("Target.closeTarget", targetId=target)
    return result


def picture(browser, path, folder):
    name = pathlib.Path(path).stem
    for scheme in ["light", "dark"]:
        target, session = open_page(browser, path, 1160)
        browser.call("Emulation.setEmulatedMedia", session, features=[{"name": "prefers-color-scheme", "value": scheme}])
        shot = browser.call("Page.captureScreenshot", session, captureBeyondViewport=True,
                            clip={"x": 0, "y": 0, "width": 1160,
                                  "height": evaluate(browser, session, "document.body.scrollHeight"), "scale": 1})
        (pathlib.Path(folder) / f"{name}-{scheme}.png").write_bytes(base64.b64decode(shot["data"]))
        if scheme == "light":
            pdf = browser.call("Page.printToPDF", session, preferCSSPageSize=True, printBackground=True)["data"]
            (pathlib.Path(folder) / f"{name}-print.pdf").write_bytes(base64.b64decode(pdf))
        browser.call("Target.closeTarget", targetId=target)


def main():
    program, axe, *pages = sys.argv[1:]
    folder = pages.pop() if "--pictures" in pages else None
    pages = [page for page in pages if page != "--pictures"]
    axe = pathlib.Path(axe).read_text(encoding="utf-8")
    browser = Browser(program)
    try:
        if folder:
            for page in pages:
                picture(browser, page, folder)
        json.dump({page: look(browser, page, axe) for page in pages}, sys.stdout, indent=1)
    finally:
        browser.close()


if __name__ == "__main__":
    main()
