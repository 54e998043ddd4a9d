#!/usr/bin/env python3
"""The checks must fail when they should: each test breaks one rule in a small made-up tree."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).parent
GOOD = {
    "tests/layout/arrows.txt": "serve/base:\nserve/queue:\nserve/http : serve/queue\nserve/config : serve/*/options.h\n"
                               "<boost/asio : serve/http\n",
    "serve/base/status.h": "#pragma once\n",
    "serve/base/README.md": "Base.\n",
    "serve/queue/queue.h": '#pragma once\n#include "serve/base/status.h"\n',
    "serve/queue/options.h": "#pragma once\n",
    "serve/queue/README.md": "Queue.\n",
    "serve/http/inner/server.cc": '#include <boost/asio.hpp>\n\n#include "serve/queue/queue.h"\n',
    "serve/http/README.md": "HTTP.\n",
    "serve/config/config.cc": '#include "serve/queue/options.h"\n',
    "serve/config/README.md": "Config.\n",
    ".clang-format": "BasedOnStyle: Google\n",
}


class LayoutTest(unittest.TestCase):
    def run_check(self, command, changes):
        """Exit code and output of a check on the good tree with `changes`; None removes a file."""
        with tempfile.TemporaryDirectory() as root:
            for path, text in {**GOOD, **changes}.items():
                if text is not None:
                    file = pathlib.Path(root, path)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(text.encode())
            result = subprocess.run([sys.executable, HERE / command[0], *command[1:], root],
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            return result.returncode, result.stdout

    def assert_found(self, command, changes, expected):
        code, output = self.run_check(command, changes)
        self.assertEqual(code, 1, output)
        self.assertIn(expected, output)
        self.assertIn("1 problems", output)

    def test_the_good_tree_passes_every_check(self):
        for command in (["arrows.py"], ["sources.py", "text"], ["sources.py", "readmes"], ["sources.py", "format"]):
            code, output = self.run_check(command, {})
            self.assertEqual(code, 0, output)

    def test_an_include_against_the_arrows_is_found_with_its_line(self):
        changes = {"serve/queue/queue.cc": '// why\n#include "serve/http/server.h"\n', "serve/http/server.h": ""}
        self.assert_found(["arrows.py"], changes, "serve/queue/queue.cc:2: \"serve/http/server.h\" breaks an arrow")

    def test_config_may_include_options_and_nothing_else(self):
        changes = {"serve/config/config.cc": '#include "serve/queue/queue.h"\n'}
        self.assert_found(["arrows.py"], changes, "serve/config/config.cc:1:")

    def test_a_library_stays_behind_its_wall(self):
        changes = {"serve/queue/queue.h": "#include <boost/asio/post.hpp>\n"}
        self.assert_found(["arrows.py"], changes, "serve/queue/queue.h:1: <boost/asio/post.hpp> stays behind its wall")

    def test_our_own_header_in_angle_brackets_does_not_slip_through(self):
        changes = {"serve/queue/queue.h": "#include <serve/http/inner/server.cc>\n"}
        self.assert_found(["arrows.py"], changes, "in quotes")

    def test_an_include_relative_to_the_file_is_refused(self):
        changes = {"serve/queue/queue.cc": '#include "queue.h"\n'}
        self.assert_found(["arrows.py"], changes, "no file below the repository root")

    def test_a_room_that_does_not_exist_is_named(self):
        rules = GOOD["tests/layout/arrows.txt"] + "serve/ghost : \n"
        self.assert_found(["arrows.py"], {"tests/layout/arrows.txt": rules}, "serve/ghost, which does not exist")

    def test_a_file_outside_every_room_is_found(self):
        self.assert_found(["arrows.py"], {"serve/stray.h": ""}, "serve/stray.h:1: belongs to no room")

    def test_a_ring_of_arrows_is_found(self):
        rules = GOOD["tests/layout/arrows.txt"].replace("serve/queue:", "serve/queue: serve/http")
        self.assert_found(["arrows.py"], {"tests/layout/arrows.txt": rules}, "ring: serve/queue -> serve/http")

    def test_untidy_text_is_found(self):
        for text, expected in (("a\tb\n", "a tab"), ("a \n", "a blank"), ("no newline", "no newline"),
                               ("// TO" "DO later\n", "a reminder")):
            self.assert_found(["sources.py", "text"], {"serve/queue/queue.h": text}, expected)
        for path, text in (("tests/a.py", "x = 1"), ("deploy/steps/watch", "#!/usr/bin/env python3\n")):
            self.assert_found(["sources.py", "text"], {path: text + " " * 120 + "# wide\n"}, "columns, 120 are allowed")
        code, output = self.run_check(["sources.py", "text"], {"serve/queue/queue.h": "a\r\n"})
        self.assertEqual(code, 1)
        self.assertIn("serve/queue/queue.h:1: a carriage return", output)

    def test_a_room_without_a_readme_is_found(self):
        self.assert_found(["sources.py", "readmes"], {"serve/queue/README.md": None}, "serve/queue: no README.md")

    def test_an_unformatted_file_is_found_with_the_command_that_formats_it(self):
        code, output = self.run_check(["sources.py", "format"], {"serve/queue/queue.h": "int   a ;\n"})
        self.assertEqual(code, 1)
        self.assertIn("clang-format-14 -i serve/queue/queue.h", output)


if __name__ == "__main__":
    unittest.main()
