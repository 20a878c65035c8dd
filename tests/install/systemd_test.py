"""The units for systemd are correct, and a sandbox."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

PROGRAM = os.environ["BACKPLANE_PROGRAM"]
UNITS = pathlib.Path(__file__).parents[2] / "config" / "systemd"


@unittest.skipUnless(shutil.which("systemd-analyze"), "without systemd")
class Units(unittest.TestCase):
    def check(self, *command):
        done = subprocess.run(["systemd-analyze", *command], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)

    def test_they_are_correct_and_a_sandbox(self):
        units = sorted(UNITS.glob("*.service"))
        self.assertEqual(len(units), 5)
        with tempfile.TemporaryDirectory() as folder:
            for unit in units:
                with self.subTest(unit=unit.name):
                    # An instance of backplane-publish@.service.
                    installed = pathlib.Path(folder, unit.name.replace("@.", "@clock."))
                    # The program must exist.
                    text = unit.read_text().replace("/usr/local/bin/backplane", PROGRAM)
                    installed.write_text(text)
                    self.check("verify", "--man=no", installed)
                    # In tenths; systemd calls services below 2.0 "OK", and those without a sandbox have 9.6.
                    self.check("security", "--offline=true", "--threshold=20", installed)


if __name__ == "__main__":
    unittest.main()
