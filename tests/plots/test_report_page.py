"""The page of a report: what is escaped, and what it does in a browser under its own policy."""

import base64
import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from landscape_cli.plots.interactive import interactive_page
from landscape_cli.plots.pages import digest
from landscape_cli.plots.report_page import Panel, Section, report_page
from tests.plots.browser import browser
from tests.plots.test_prediction_figures import EVIL, in_browser
from tests.plots.test_prediction_figures import made as embedded

PICTURE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="300" height="200" viewBox="0 0 300 200">'
    '<rect width="300" height="200" fill="{}"/></svg>'
)
RUNS = [
    {"path": "runs/b", "test_error": 0.25, "epoch": 10.0},
    {"path": "runs/a", "test_error": 0.125, "epoch": 9.0},
    {"path": "runs/c", "epoch": 100.0},
]


def made(**more: Any) -> str:
    """Three panels, one of them with a page to turn, one without a picture, and three runs."""
    panels = [
        Panel("one", "One", PICTURE.format("red").encode(), command="landscape barrier 'a<b'", numbers=("one.csv", "x\n1\n")),
        Panel("two", "Two", PICTURE.format("blue").encode(), page=interactive_page(embedded())),
        Panel("three", "Three", problem="not measured yet"),
        Panel("four", "Four", PICTURE.format("green").encode()),
    ]  # fmt: skip
    words: dict[str, Any] = {
        "title": "A report", "caption": "3 runs", "sections": [Section("fort", "Weights", "Of a paper", panels)],
        "runs": RUNS, "columns": [("path", "run"), ("test_error", "test error"), ("epoch", "epoch"), ("no", "none")],
        "runs_csv": "path\nruns/b\n", "settings": [("split", "test")], "missing": [("velocity", "needs more")],
    }  # fmt: skip
    return report_page(**{**words, **more})


DRIVER = """
const told = { errors: [] };
addEventListener("error", (event) => told.errors.push(event.message));
document.addEventListener("securitypolicyviolation", (event) => told.errors.push(event.violatedDirective));
const key = (name) => large.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));
const picture = () => document.querySelector("#room img");
const large = document.getElementById("large");
const buttons = [...document.querySelectorAll("button.open")];
const first = () => [...document.querySelectorAll("tbody tr")].map((row) => row.cells[0].textContent).join(" ");
function drawn(frame) {
  const seen = [];
  for (const canvas of frame.contentDocument.querySelectorAll("canvas")) {
    const flat = document.createElement("canvas");
    flat.width = canvas.width; flat.height = canvas.height;
    if (!flat.width || !flat.height) continue;
    const pen = flat.getContext("2d");
    pen.drawImage(canvas, 0, 0);
    seen.push(new Set(new Uint32Array(pen.getImageData(0, 0, flat.width, flat.height).data.buffer)).size);
  }
  return Math.max(0, ...seen);
}
addEventListener("load", () => setTimeout(() => {
  told.pictures = buttons.map((b) => b.querySelector("img")).map((i) => i.naturalWidth > 0 && i.offsetWidth > 0);
  told.open = [large.open];
  buttons[0].click();
  told.open.push(large.open);
  told.width = picture().offsetWidth;
  told.shown = [picture().alt];
  told.moved = [picture().style.transform];
  key("+");
  told.moved.push(picture().style.transform);
  key("-");
  told.moved.push(picture().style.transform);
  for (const name of ["ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"]) { key(name); told.shown.push(picture().alt); }
  told.moved.push(picture().style.transform);
  const wheel = { deltaY: -400, clientX: 50, clientY: 50, bubbles: true, cancelable: true };
  document.getElementById("room").dispatchEvent(new WheelEvent("wheel", wheel));
  told.moved.push(picture().style.transform);
  large.requestClose ? large.requestClose() : large.close();
  told.open.push(large.open);
  buttons[1].click();
  document.getElementById("close").click();
  told.open.push(large.open);
  told.rows = [first()];
  for (const column of [0, 0, 1, 1, 2]) { document.querySelectorAll("th button")[column].click(); told.rows.push(first()); }
  told.sorted = [...document.querySelectorAll("th")].map((head) => head.getAttribute("aria-sort"));
  const frame = document.querySelector("iframe");
  frame.closest("details").open = true;
  setTimeout(() => {
    told.colours = drawn(frame);
    told.focus = document.activeElement === buttons[1];
    const end = document.createElement("pre");
    end.id = "told";
    end.textContent = JSON.stringify(told);
    document.body.append(end);
  }, 500);
}, 300));
"""


def driven(page: str, folder: Path) -> tuple[dict[str, Any], str]:
    """What the driver saw of a page that it was put into, its digest beside the page's own in the policy."""
    own = f"<script>{DRIVER}</script>"
    page = page.replace("script-src ", f"script-src '{digest(DRIVER)}' ", 1).replace("</body>\n</html>\n", own)
    assert own in page
    done = in_browser(page, folder)
    found = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr
    return json.loads(html.unescape(found[1])), done.stderr


def test_it_works_in_a_browser_under_its_policy(tmp_path: Path) -> None:
    told, stderr = driven(made(), tmp_path)
    assert "CONSOLE" not in stderr
    assert told["errors"] == []
    assert told["pictures"] == [True, True, True]
    assert told["open"] == [False, True, False, False]
    assert told["width"] > 300
    assert told["shown"] == ["One", "Two", "Four", "One", "Four"]
    start, larger, back, next_, wheeled = told["moved"]
    assert start == back == next_ == "translate(0px, 0px) scale(1)"
    assert larger.endswith("scale(1.25)")
    assert float(wheeled.rpartition("scale(")[2][:-1]) == pytest.approx(2.71828, rel=1e-3)
    assert told["focus"]
    assert told["rows"] == [
        "runs/b runs/a runs/c",
        "runs/a runs/b runs/c",
        "runs/c runs/b runs/a",
        "runs/a runs/b runs/c",
        "runs/b runs/a runs/c",  # what has no value stays last
        "runs/a runs/b runs/c",  # 9 before 10 before 100
    ]
    assert told["sorted"] == [None, None, "ascending"]
    assert told["colours"] > 5


def test_a_person_reaches_all_of_it_with_the_keys(tmp_path: Path) -> None:
    """Keys as a keyboard gives them: the browser's own answers to Tab, Enter and Esc are part of it."""
    (tmp_path / "page.html").write_text(made(), encoding="utf-8")
    with browser(tmp_path) as seen:
        seen.open(tmp_path / "page.html")
        panels = seen.value(
            "[...document.querySelectorAll('button.open')].map((one) => one.getAttribute('aria-label'))"
        )
        reached = []
        for _ in range(30):
            seen.press("Tab")
            reached.append(
                seen.value("document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText")
            )
            if reached[-1] == panels[0]:
                break
        assert reached[0] == "Weights"  # the way through the page comes first
        assert reached[-1] == "One, large"
        focus = "document.activeElement.getAttribute('aria-label')"
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert seen.value(outline) == "solid"
        large, picture = "document.getElementById('large').open", "document.querySelector('#room img')"
        assert not seen.value(large)
        seen.press("Enter")
        assert seen.value(large)
        place = f"{picture}.style.transform"
        home = seen.value(place)
        seen.press("+", "+")
        assert seen.value(place).endswith("scale(1.5625)")
        seen.press("-", "-")
        assert seen.value(place) == home
        seen.press("+", "ArrowRight")
        assert (seen.value(f"{picture}.alt"), seen.value(place)) == ("Two", home)
        seen.press("ArrowLeft", "ArrowLeft")
        assert seen.value(f"{picture}.alt") == "Four"
        for _ in range(3):  # the page behind it is out of reach
            seen.press("Tab")
            assert seen.value("document.activeElement === document.body || !!document.activeElement.closest('dialog')")
        seen.press("Escape")
        assert not seen.value(large)
        assert seen.value(focus) == "Four, large"
        seen.press("Tab", shift=True)
        assert seen.value(focus) != "Four, large"
        assert seen.complaints == []


def test_numbers_are_saved_without_a_network(tmp_path: Path) -> None:
    text = "run,error\nü,0.125\n"
    panel = Panel("one", "One", PICTURE.format("red").encode(), numbers=("one.csv", text))
    page = made(sections=[Section("fort", "Weights", "Of a paper", [panel], [("fort.png", b"\x89PNG")])])
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    saved = tmp_path / "saved"
    saved.mkdir()
    with browser(tmp_path) as seen:
        off = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        seen.call("Network.emulateNetworkConditions", **off)
        seen.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(saved))
        seen.open(tmp_path / "page.html")
        for name in ("one.csv", "fort.png", "runs.csv"):
            seen.value(f"document.querySelector('a[download=\"{name}\"]').focus()")
            seen.press("Enter")
            for _ in range(200):
                if (saved / name).exists():
                    break
                seen.value("new Promise((done) => setTimeout(done, 50))")
        assert seen.complaints == []
    assert (saved / "one.csv").read_text(encoding="utf-8") == text
    assert (saved / "fort.png").read_bytes() == b"\x89PNG"
    assert (saved / "runs.csv").read_text(encoding="utf-8") == "path\nruns/b\n"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 800, 400])
def test_nothing_is_wider_than_the_window(tmp_path: Path, width: int, dark: bool) -> None:
    broad = '<svg xmlns="http://www.w3.org/2000/svg" width="780pt" height="200pt" viewBox="0 0 780 200"></svg>'
    panels = [Panel(f"p{k}", f"Panel {k}", (broad if k == 2 else PICTURE.format("red")).encode()) for k in range(4)]
    line = "landscape barrier " + " ".join(f"runs/with-a-long-name-{k}" for k in range(40))
    page = made(sections=[Section("fort", "Weights", "Of a paper", panels)], commands=[line], title="R" * 60)
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    with browser(tmp_path) as seen:
        seen.open(tmp_path / "page.html")
        seen.seen(tmp_path / "seen.png", width=width, dark=dark)
        assert seen.value("document.documentElement.scrollWidth") <= width
        boxes = seen.value(
            "[...document.querySelectorAll('.panel')].map((one) => {"
            "const box = one.getBoundingClientRect(); return [box.left, box.top, box.right, box.bottom]; })"
        )
        ink, page_color = (
            seen.value(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor")
        )
    for k, one in enumerate(boxes):
        for other in boxes[:k]:
            assert one[0] >= other[2] or one[2] <= other[0] or one[1] >= other[3] or one[3] <= other[1]
    bright = [sum(map(int, re.findall(r"\d+", color)[:3])) for color in (ink, page_color)]
    assert (bright[0] > bright[1]) is dark
    assert abs(bright[0] - bright[1]) > 400
    if width == 1280:
        assert boxes[2][2] - boxes[2][0] > 2 * (boxes[0][2] - boxes[0][0])  # a broad one takes both columns


def test_what_is_the_same_for_all_runs_is_said_once(tmp_path: Path) -> None:
    runs = [{"path": name, "lr": 0.1, "network": "<b>", "seed": k} for k, name in enumerate("ab")]
    columns = [("path", "run"), ("network", "network"), ("lr", "rate"), ("seed", "seed"), ("none", "none")]
    page = made(runs=runs, columns=columns)
    assert "The same for all: network &lt;b&gt;, rate 0.1." in page
    assert re.findall(r'class="sort">([^<]*)<', page) == ["run", "seed"]
    alone = made(runs=runs[:1], columns=columns)
    assert re.findall(r'class="sort">([^<]*)<', alone) == ["run", "network", "rate", "seed"]
    assert "The same for all" not in alone
    assert "<dt>nothing" not in made(settings=[("nothing", ""), ("split", "test")])


def test_words_stay_words(tmp_path: Path) -> None:
    panel = Panel(
        "one", EVIL, PICTURE.format("red").encode(), problem=EVIL, command=EVIL, draw=EVIL, numbers=(f"{EVIL}.csv", EVIL)
    )  # fmt: skip
    text = made(
        title=EVIL, caption=EVIL, sections=[Section("fort", EVIL, EVIL, [panel], [(f"{EVIL}.png", b"x")])],
        runs=[{"path": EVIL}], settings=[(EVIL, EVIL)], missing=[(EVIL, EVIL)], commands=[EVIL],
    )  # fmt: skip
    assert EVIL not in text
    assert "<img src=x" not in text
    assert text.count("<script>") == 1
    done = in_browser(text, tmp_path)
    assert "CONSOLE" not in done.stderr
    assert "<!-- " not in done.stdout.replace("&lt;!-- ", "")


def test_numbers_are_links_that_hold_their_file() -> None:
    page = made()
    held = dict(re.findall(r'download="([^"]+)" href="data:text/csv;base64,([^"]*)"', page))
    assert {name: base64.b64decode(text).decode() for name, text in held.items()} == {
        "one.csv": "x\n1\n", "runs.csv": "path\nruns/b\n"
    }  # fmt: skip
    assert "<li>velocity: needs more</li>" in page
    assert "not measured yet" in page
    assert ">none<" not in page  # a column without a value
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_commands_stand_once_and_in_order() -> None:
    lines = ["landscape predict", "landscape barrier 'a<b'"]
    listed = re.findall(r"<pre>(.*?)</pre>", made(commands=lines), re.DOTALL)[-1]
    assert html.unescape(listed).splitlines() == lines


def test_a_policy_lets_nothing_else_run(tmp_path: Path) -> None:
    attacked = made().replace("</main>", "<script>document.title = 'taken'</script></main>")
    done = in_browser(attacked, tmp_path)
    assert "<title>A report</title>" in done.stdout
    assert "Content Security Policy" in done.stderr
