"""check_layers.py must see what goes against the direction of the dependencies, and nothing else."""

import pathlib
import tempfile
import unittest

from check_layers import check

SOUND = {
    "proto/CMakeLists.txt": "add_library(backplane_proto STATIC x.proto)\n",
    "proto/backplane/v1/event.proto": "",
    "core/CMakeLists.txt": "backplane_room(core SOURCES a.cpp DEPENDS backplane::proto fmt::fmt)\n",
    "core/topic/topic.hpp": "#include <string>\n",
    "broker/CMakeLists.txt": "backplane_room(broker SOURCES a.cpp DEPENDS backplane::core)\n",
    "broker/pipeline.hpp": '#include "core/topic/topic.hpp"\n#include "backplane/v1/event.pb.h"\n',
    "publishers/CMakeLists.txt": "backplane_room(publisher SOURCES a.cpp DEPENDS backplane::core)\n",
    "publishers/include/backplane/publisher.hpp": "#include <memory>\n",
    "gateway/CMakeLists.txt": "backplane_room(gateway SOURCES a.cpp DEPENDS backplane::publisher)\n",
    "gateway/gateway.hpp": '#include "backplane/publisher.hpp"\n',
    "cli/CMakeLists.txt": "add_executable(program main.cpp)\n"
                          "target_link_libraries(program PRIVATE backplane::broker backplane::gateway)\n",
    "cli/main.cpp": '#include "broker/pipeline.hpp"\n',
}


class CheckLayers(unittest.TestCase):
    def found_with(self, changed):
        with tempfile.TemporaryDirectory() as top:
            for name, text in {**SOUND, **changed}.items():
                path = pathlib.Path(top, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            return check(top)

    def assert_refused(self, changed, *expected):
        found = self.found_with(changed)
        self.assertEqual(len(found), len(expected), found)
        for line, part in zip(found, expected):
            self.assertIn(part, line)

    def test_a_sound_tree_passes(self):
        self.assertEqual(self.found_with({}), [])

    def test_core_must_not_include_what_builds_on_it(self):
        self.assert_refused({"core/a.cpp": '\n#include "broker/pipeline.hpp"\n'},
                            "core/a.cpp:2: core must not use broker")

    def test_the_four_in_the_middle_must_not_include_each_other(self):
        self.assert_refused({"broker/a.cpp": '#include "backplane/publisher.hpp"\n'},
                            "broker must not use publishers")

    def test_the_gateway_must_not_include_the_broker(self):
        self.assert_refused({"gateway/a.cpp": '#include "broker/pipeline.hpp"\n'},
                            "gateway must not use broker")

    def test_angle_brackets_do_not_hide_an_include(self):
        self.assert_refused({"core/a.hpp": "#  include <gateway/gateway.hpp>\n"},
                            "core must not use gateway")

    def test_an_include_must_be_written_from_the_top(self):
        self.assert_refused({"core/topic/pattern.hpp": '#include "topic.hpp"\n'},
                            "includes are written from the top")

    def test_a_room_must_not_link_upwards(self):
        self.assert_refused(
            {"core/CMakeLists.txt": "backplane_room(core\n  SOURCES a.cpp\n  DEPENDS backplane::gateway)\n"},
            "core/CMakeLists.txt:1: core must not use gateway")

    def test_the_plain_name_of_a_target_counts_as_well(self):
        self.assert_refused(
            {"broker/CMakeLists.txt": "backplane_room(broker SOURCES a.cpp DEPENDS backplane::core)\n"
                                      "target_link_libraries(backplane_broker PRIVATE backplane_publisher)\n"},
            "broker/CMakeLists.txt:2: broker must not use publishers")

    def test_a_target_that_nobody_declares_is_named(self):
        self.assert_refused(
            {"broker/CMakeLists.txt": "backplane_room(broker SOURCES a.cpp DEPENDS backplane::brocker)\n"},
            "there is no target backplane::brocker")

    def test_a_comment_is_not_a_dependency(self):
        self.assertEqual(self.found_with({"core/CMakeLists.txt": "# backplane::gateway\n"
                                          "backplane_room(core SOURCES a.cpp DEPENDS backplane::proto)\n"}), [])


if __name__ == "__main__":
    unittest.main()
