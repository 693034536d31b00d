"""Looks at a live page in headless Chromium while its run is on, and says what it saw: one JSON document on stdout.

    python3 live.py CHROMIUM AXE URL PID

Opens the page late, waits for figures, checks it, holds the run's process (SIGSTOP) until the page says that it is stale,
lets it go on, and waits for the last state.
"""

import json
import os
import pathlib
import signal
import sys
import time

from browser import FIGURES, WIDER, Browser, evaluate, told

PATIENCE_S = 120


def until(browser, session, what, expression):
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        value = evaluate(browser, session, expression)
        if value:
            return value
        time.sleep(0.1)
    text = evaluate(browser, session, "document.body.innerText.slice(0, 500)")
    raise RuntimeError(f"never seen: {what}; the page says: {text}")


def main():
    program, axe, url, pid = sys.argv[1:]
    pid = int(pid)
    browser = Browser(program)
    try:
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Log", "Network"]:
            browser.call(f"{domain}.enable", session)
        browser.events.clear()
        browser.call("Page.navigate", session, url=url)
        browser.wait("Page.loadEventFired")
        word = "document.getElementById('word').textContent"
        result = {"live": until(browser, session, "live", f"{word} === 'live' && {word}")}
        until(browser, session, "figures", "!!document.querySelector('[data-exact]') && !!document.querySelector('figure svg')")
        result["now"] = evaluate(browser, session, "document.getElementById('now').textContent")
        result["first_second"] = evaluate(browser, session, "document.querySelector('figure tbody tr th').textContent")
        result["seconds"] = evaluate(browser, session, "document.querySelectorAll('figure:first-of-type tbody tr').length")
        # What somebody reads is left alone: an opened table stays open while the figures go on.
        opened = "(() => { const d = document.querySelector('figure details'); d.open = true; window.mine = d; return true })()"
        evaluate(browser, session, opened)
        before = evaluate(browser, session, "document.getElementById('now').textContent")
        until(browser, session, "news", f"document.getElementById('now').textContent !== {json.dumps(before)}")
        time.sleep(3)
        result["kept_open"] = evaluate(browser, session, "window.mine.isConnected && window.mine.open")
        evaluate(browser, session, pathlib.Path(axe).read_text(encoding="utf-8") + ";0")
        result["violations"] = evaluate(browser, session, "axe.run(document).then(r => r.violations.map(v => "
                                        "({id: v.id, impact: v.impact, where: v.nodes.slice(0, 3).map(n => n.html.slice(0, 160))})))")
        os.kill(pid, signal.SIGSTOP)
        try:
            result["stale"] = until(browser, session, "stale", f"{word}.startsWith('STALE') && {word}")
        finally:
            os.kill(pid, signal.SIGCONT)
        until(browser, session, "live again", f"{word} === 'live'")
        until(browser, session, "the end", f"{word}.startsWith('over')")
        result["last"] = evaluate(browser, session, "document.getElementById('now').textContent")
        result["figures"] = evaluate(browser, session, FIGURES)
        result["scripts"] = evaluate(browser, session, "document.scripts.length")
        browser.call("Emulation.setDeviceMetricsOverride", session, width=390, height=800, deviceScaleFactor=1, mobile=True)
        result["wider_than_a_phone"] = evaluate(browser, session, WIDER)
        console, requests = told(browser.events)
        result.update(console=console, requests=requests)
        json.dump(result, sys.stdout, indent=1)
    finally:
        browser.close()


main()
