#!/usr/bin/env python3
"""bench_table_test.py SCRIPT: scripts/bench_table on a folder made up here."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parent.parent / "scripts/bench_table"
MARKERS = ("<!-- bench:begin, made by scripts/bench_table -->\n"
           "<!-- bench:end -->\n")


def row(**fields):
    return {"model": "m", "transport": "tagged", "threads": None, "test": "tg",
            "tokens": 128, "depth": 512, "check": "same 128 tokens",
            "tokens_per_s": 1567.04, "us_per_token": 638.1,
            "us_per_token_min": 637, "us_per_token_max": 640,
            "stream_percent": 42.6} | fields


def result(rows, **fields):
    return {"date_utc": "2026-11-21T09:30:00Z", "commit": "0123456789ab",
            "hardware": "A GPU", "driver": "580", "command": "mkvm bench",
            "stream_gb_per_s": {"before": 4590, "after": 4585},
            "rows": rows} | fields


class BenchTableTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        (self.root / "bench/results").mkdir(parents=True)
        (self.root / "docs").mkdir()
        self.page = self.root / "docs/benchmarking.md"
        self.page.write_text(f"before\n{MARKERS}after\n")

    def write(self, name, value):
        (self.root / "bench/results" / name).write_text(json.dumps(value))

    def run_script(self, *arguments):
        done = subprocess.run(
            [sys.executable, SCRIPT, "--root", self.root, *arguments],
            capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    def test_writes_then_is_fresh_then_stale(self):
        self.write("a.json", result([row()]))
        self.assertEqual(self.run_script("--check")[0], 1)
        self.assertEqual(self.run_script(), (0, ""))
        text = self.page.read_text()
        self.assertIn("| 512-639 | 1,567.0 | 638.1 (637.0..640.0) | 42.6 % | "
                      "same 128 tokens |", text)
        self.assertTrue(text.startswith("before\n"))
        self.assertTrue(text.endswith("after\n"))
        self.assertEqual(self.run_script("--check"), (0, ""))
        self.write("a.json", result([row(tokens_per_s=1600)]))
        code, error = self.run_script("--check")
        self.assertEqual(code, 1)
        self.assertIn("stale: docs/benchmarking.md", error)

    def readme_rows(self):
        """What the script writes into a README.md, row by row."""
        readme = self.root / "README.md"
        readme.write_text(MARKERS)
        self.assertEqual(self.run_script(), (0, ""))
        return [line for line in readme.read_text().splitlines()
                if line.startswith("| A GPU")]

    def test_the_readme_has_the_newest_rows(self):
        self.write("a.json", result([row(tokens_per_s=1, stream_percent=10)]))
        self.write("b.json", result(
            [row(tokens_per_s=2000, stream_percent=60, ablations="none")],
            date_utc="2026-12-01T00:00:00Z"))
        self.assertEqual(self.readme_rows(), [
            "| A GPU, 2026-12-01 | m | 512-639 | 2,000.0 | 60.0 % |"])

    def test_the_readme_leaves_out_results_that_compare(self):
        self.write("a.json", result([row(tokens_per_s=1, stream_percent=10)]))
        for name, other in (("b.json", {"ablations": "no_fuse"}),
                            ("c.json", {"transport": "counters"})):
            self.write(name, result(
                [row(tokens_per_s=2000), row(tokens_per_s=5, **other)],
                date_utc="2026-12-01T00:00:00Z"))
        self.assertEqual(self.readme_rows(), [
            "| A GPU, 2026-11-21 | m | 512-639 | 1.0 | 10.0 % |"])

    def test_gpus_come_first_then_the_newest(self):
        self.write("a.json", result([row(model="on-cpu", threads=2)],
                                    driver=None, hardware="A CPU",
                                    date_utc="2027-01-01T00:00:00Z"))
        self.write("b.json", result([row(model="old")]))
        self.write("c.json", result([row(model="new")],
                                    date_utc="2026-12-01T00:00:00Z"))
        self.assertEqual(self.run_script()[0], 0)
        text = self.page.read_text()
        self.assertLess(text.index("| new |"), text.index("| old |"))
        self.assertLess(text.index("| old |"), text.index("| on-cpu | 2 thr"))

    def test_first_tokens_have_a_table(self):
        self.write("a.json", result([row(), row(test="ttft", us=20500.0,
                                                tokens=32)]))
        self.assertEqual(self.run_script()[0], 0)
        self.assertIn("| 32 | 20.50 |", self.page.read_text())

    def test_ablations_are_named_where_there_are_any(self):
        self.write("a.json", result([row(model="one", ablations="none"),
                                     row(model="two", ablations="no_fuse"),
                                     row(model="three", threads=2,
                                         ablations="no_split_kv")]))
        self.assertEqual(self.run_script()[0], 0)
        text = self.page.read_text()
        self.assertIn("| one | tagged |", text)
        self.assertIn("| two | tagged, no_fuse |", text)
        self.assertIn("| three | 2 threads, no_split_kv |", text)

    def test_interpretation_has_a_table(self):
        nops = result([])
        del nops["rows"], nops["stream_gb_per_s"]
        nops["interpretation"] = [
            {"test": "nop", "what": "waits for nothing", "threads": None,
             "ablations": "fetch_depth=1", "workers": 132,
             "ns_per_instruction": 123.45, "ns_per_instruction_min": 120,
             "ns_per_instruction_max": 125}]
        self.write("a.json", nops)
        self.assertEqual(self.run_script(), (0, ""))
        text = self.page.read_text()
        self.assertIn("| nop | waits for nothing | fetch_depth=1 | 132 | 123.5 "
                      "(120.0..125.0) |", text)
        self.assertNotIn("GB/s before", text)

    def test_notes_stand_with_the_source(self):
        self.write("a.json", result([row()], notes="at 300 W"))
        self.assertEqual(self.run_script()[0], 0)
        self.assertIn("4,585.0 after; at 300 W\n", self.page.read_text())

    def test_refused_and_unchecked_rows_are_no_results(self):
        self.write("a.json", result([row(refused="token 3 differs")]))
        code, error = self.run_script()
        self.assertEqual(code, 1)
        self.assertIn("a.json: a row was refused: token 3 differs", error)
        self.write("a.json", result([row(check="")]))
        self.assertIn("no check", self.run_script()[1])

    def test_bad_input_is_one_line(self):
        for text in ("{", "[]", '{"rows": [1]}'):
            (self.root / "bench/results/a.json").write_text(text)
            code, error = self.run_script()
            self.assertEqual(code, 1)
            self.assertIn("a.json is no result of mkvm bench", error)
            self.assertEqual(error.count("\n"), 1)

    def test_markers_must_be_there(self):
        self.write("a.json", result([row()]))
        self.page.write_text("none\n")
        self.assertIn("no page holds", self.run_script()[1])
        self.page.write_text(MARKERS + MARKERS)
        self.assertIn("once", self.run_script()[1])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        SCRIPT = sys.argv.pop(1)
    unittest.main()
