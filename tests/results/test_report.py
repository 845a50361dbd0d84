"""The report: whole in itself, opens without a network, links to what is there, and shows foreign text as text."""

import base64
import re
from html.parser import HTMLParser

import pytest

from tasks.inputs.csv_text import csv_from_table
from tasks.jobs.checkpoints import parquet_from_table
from tests.jobs.test_collect import LAYOUT, collected, put_task
from tests.support.buckets import FakeBucket
from tests.support.recovered import merged_demo

HOSTILE = '<script>alert("1")</script> & <b>'


class Page(HTMLParser):
    """Collects what a browser would load, link to and show."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.links, self.tags, self.text = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name in {"src", "srcset", "data", "action", "poster"} or (tag == "link" and name == "href"):
                self.loads.append(value)
            elif name == "href":
                self.links.append(value)

    def handle_data(self, data):
        self.text.append(data)


def collect_demo(output):
    """A job with one task that found orbits, one that failed with a hostile message."""
    merged, observations = merged_demo()
    bucket = FakeBucket()
    bucket.write(LAYOUT.observations, csv_from_table(observations))
    bucket.write(LAYOUT.config, f'key,value\nengine,builtin\nnote,"{HOSTILE.replace(chr(34), chr(34) * 2)}"\n'.encode())
    orbits = merged.orbits.drop_columns(["task_id", "found_by", "num_found_by"])
    files = {
        "recovered_orbits.parquet": parquet_from_table(orbits),
        "recovered_orbit_members.parquet": parquet_from_table(merged.members),
        "thor.log": b"one line\n",
    }
    put_task(bucket, "good", files)
    put_task(bucket, "bad", {"error_message.txt": b"why", "thor.log": b"log"}, state="failed", error=HOSTILE)
    collected(bucket, ["good", "bad"], output)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    output = tmp_path_factory.mktemp("found")
    collect_demo(output)
    return output


def page_of(output):
    return Page((output / "report.html").read_text())


def test_it_loads_nothing_from_anywhere(report):
    page = page_of(report)

    assert page.loads != []
    assert [each for each in page.loads if not each.startswith("data:image/svg+xml;base64,")] == []
    assert page.tags.count("script") == 1  # the page's own, which sorts its table: what is told is escaped
    assert not any(word in (report / "report.html").read_text() for word in ("@import", "url(", "http:", "https:"))


def test_its_pictures_are_svg_of_all_kinds_and_load_nothing_either(report):
    svgs = [base64.b64decode(each.partition(",")[2]).decode() for each in page_of(report).loads]

    assert len(svgs) == 7
    for svg in svgs:
        assert "<svg" in svg
        hrefs = [part.partition('"')[0] for part in svg.split('href="')[1:]]
        assert [each for each in hrefs if not each.startswith(("#", "data:"))] == []


def test_every_link_leads_to_a_file_beside_it(report):
    links = page_of(report).links

    assert "tasks/good/outputs/thor.log" in links
    assert "tasks/bad/outputs/error_message.txt" in links
    assert "recovered_orbits.csv" in links
    assert [link for link in links if not (report / link).is_file()] == []


def test_foreign_text_is_shown_as_text(report):
    text = "".join(page_of(report).text)

    assert text.count(HOSTILE) == 2  # the error and the setting
    assert "b" not in page_of(report).tags


def test_it_shows_orbits_tasks_settings_and_versions(report):
    text = " ".join(page_of(report).text)

    merged, _ = merged_demo()
    assert all(orbit_id in text for orbit_id in merged.orbits["orbit_id"].to_pylist())
    for part in (
        "survey-07",
        "1 of 2",
        "failed",
        "builtin 1.0",
        "numpy here",
        "main belt",
        "RMS [arcsec]",
        "by it alone",
    ):
        assert part in text


def test_what_speaks_against_an_orbit_stands_before_a_list_that_may_be_long(report):
    heads = page_of(report).text

    assert heads.index("flags") < heads.index("found by")


def test_printed_it_loses_no_column_and_no_folded_table(report, chromium, tmp_path):
    """As on a sheet of A4: what is for printing holds for the screen, and the page is as narrow."""
    printed = (report / "report.html").read_text().replace("@media print{", "@media all{body{width:700px}")
    printed = printed.replace("<details open>", "<details>")  # as long tables are
    lost = (
        "<script>document.title = [...document.querySelectorAll('.scroll')].map("
        "each => each.checkVisibility() ? each.scrollWidth - each.clientWidth : 'folded').join(' ')</script>"
    )
    page = tmp_path / "printed.html"
    page.write_text(printed.replace("</body>", f"{lost}</body>"))

    title = chromium.text_of(page.as_uri(), wait_ms=1000).partition("<title>")[2].partition("</title>")[0]

    assert title.split() == ["0"] * 8


def test_a_second_collect_writes_the_same_page(report, tmp_path):
    collect_demo(tmp_path)

    assert (tmp_path / "report.html").read_bytes() == (report / "report.html").read_bytes()


def orbits_as_shown(chromium, report, path, *, script):
    """The cells of the table of orbits in a browser, row for row, after a script acted like a person."""
    page = (report / "report.html").read_text()
    path.write_text(page.replace("</body>", f"<script>{script}</script></body>"))
    rows = re.findall(
        r"<tr( hidden=\"\")?>(.*?)</tr>", chromium.text_of(path.as_uri()).split('id="orbits"')[1], re.DOTALL
    )
    heads, *cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for hidden, row in rows if not hidden]
    return [dict(zip(heads, row, strict=False)) for row in cells if len(row) == len(heads)]


def test_a_click_on_a_heading_sorts_the_orbits(chromium, report, tmp_path):
    click = "heads().find((head) => head.textContent === 'a [au]').click();"
    heads = "const heads = () => [...document.querySelectorAll('#orbits th')];"

    once = orbits_as_shown(chromium, report, tmp_path / "once.html", script=heads + click)
    twice = orbits_as_shown(chromium, report, tmp_path / "twice.html", script=heads + click + click)

    axes = [float(row["a [au]"]) for row in once]
    assert len(set(axes)) == 3
    assert axes == sorted(axes)
    assert [float(row["a [au]"]) for row in twice] == axes[::-1]


def test_words_filter_the_orbits(chromium, report, tmp_path):
    write = "filter.value = 'TJN'; filter.dispatchEvent(new Event('input'));"

    shown = orbits_as_shown(chromium, report, tmp_path / "filtered.html", script=write)

    assert {row["class"] for row in shown} == {"TJN"}
