"""check_layers.py reports every violation of the direction of dependencies, and nothing else."""

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
                            'from the top of the tree, such as "core/topic/topic.hpp", got "topic.hpp"')

    def test_a_room_must_not_link_upwards(self):
        self.assert_refused(
            {"core/CMakeLists.txt": "backplane_room(core\n  SOURCES a.cpp\n  DEPENDS backplane::gateway)\n"},
            "core/CMakeLists.txt:1: core must not use gateway")

    def test_the_plain_name_of_a_target_counts_as_well(self):
        self.assert_refused(
            {"broker/CMakeLists.txt": "backplane_room(broker SOURCES a.cpp DEPENDS backplane::core)\n"
                                      "target_link_libraries(backplane_broker PRIVATE backplane_publisher)\n"},
            "broker/CMakeLists.txt:2: broker must not use publishers")

    def test_an_undeclared_target_is_reported(self):
        self.assert_refused(
            {"broker/CMakeLists.txt": "backplane_room(broker SOURCES a.cpp DEPENDS backplane::brocker)\n"},
            "there is no target backplane::brocker")

    def test_a_comment_is_not_a_dependency(self):
        self.assertEqual(self.found_with({"core/CMakeLists.txt": "# backplane::gateway\n"
                                          "backplane_room(core SOURCES a.cpp DEPENDS backplane::proto)\n"}), [])

    def test_folders_must_not_include_each_other_in_a_cycle(self):
        self.assert_refused(
            {"broker/state/a.hpp": '#include "broker/control/b.hpp"\n',
             "broker/control/b.hpp": '#include "broker/state/c.hpp"\n',
             "broker/state/c.hpp": ""},
            "broker: its folders must not depend on each other in a cycle, got "
            "broker/control -> broker/state -> broker/control "
            '(broker/control/b.hpp:1 includes "broker/state/c.hpp"; '
            'broker/state/a.hpp:1 includes "broker/control/b.hpp")')

    def test_a_cycle_of_three_folders_is_reported_once(self):
        self.assert_refused(
            {f"broker/{user}/a.hpp": f'#include "broker/{used}/a.hpp"\n'
             for user, used in [("one", "two"), ("two", "three"), ("three", "one"), ("four", "one")]},
            "got broker/one -> broker/two -> broker/three -> broker/one (")

    def test_a_cycle_through_subfolders_counts_for_the_folders_above_them(self):
        self.assert_refused(
            {"gateway/protocols/http/a.hpp": '#include "gateway/session/b.hpp"\n',
             "gateway/session/b.hpp": '#include "gateway/protocols/line/c.hpp"\n',
             "gateway/protocols/line/c.hpp": ""},
            "gateway: its folders must not depend on each other in a cycle, got "
            "gateway/protocols -> gateway/session -> gateway/protocols")

    def test_folders_within_a_folder_must_not_include_each_other_in_a_cycle(self):
        self.assert_refused(
            {"gateway/protocols/http/a.hpp": '#include "gateway/protocols/sse/b.hpp"\n',
             "gateway/protocols/sse/b.hpp": '#include "gateway/protocols/http/c.hpp"\n',
             "gateway/protocols/http/c.hpp": ""},
            "gateway/protocols: its folders must not depend on each other in a cycle, got "
            "gateway/protocols/http -> gateway/protocols/sse -> gateway/protocols/http")

    def test_files_directly_in_a_folder_count_as_a_folder_in_its_cycles(self):
        self.assert_refused(
            {"gateway/protocols/http/a.hpp": '#include "gateway/protocols/b.hpp"\n',
             "gateway/protocols/b.hpp": '#include "gateway/protocols/http/c.hpp"\n',
             "gateway/protocols/http/c.hpp": ""},
            "gateway/protocols -> gateway/protocols/http -> gateway/protocols")

    def test_folders_must_not_include_files_directly_in_the_room(self):
        self.assert_refused({"broker/state/a.hpp": '\n#include "broker/pipeline.hpp"\n'},
                            "broker/state/a.hpp:2: broker/state must not use files directly in broker")

    def test_files_directly_in_the_room_may_include_its_folders(self):
        self.assertEqual(self.found_with({"broker/loop.hpp": '#include "broker/state/a.hpp"\n',
                                          "broker/state/a.hpp": ""}), [])

    def test_tests_and_benchmarks_may_share_files_directly_in_the_room(self):
        self.assertEqual(self.found_with({"bench/median.hpp": "",
                                          "bench/broker/a.cpp": '#include "bench/median.hpp"\n'}), [])

    def test_public_headers_take_part_in_the_cycles_of_their_room(self):
        self.assert_refused(
            {"publishers/include/backplane/a.hpp": '#include "publishers/lib/b.hpp"\n',
             "publishers/lib/b.hpp": '#include "backplane/publisher.hpp"\n'},
            "publishers/include -> publishers/lib -> publishers/include")

    def test_a_target_must_not_compile_sources_of_another_folder(self):
        self.assert_refused(
            {"broker/state/CMakeLists.txt": "backplane_room(broker_state SOURCES a.cpp ../loop.cpp)\n"},
            "broker/state/CMakeLists.txt:1: backplane_broker_state must compile only sources of broker/state, "
            "lists broker/loop.cpp, which belongs to broker")

    def test_a_target_must_not_compile_what_a_CMakeLists_below_compiles(self):
        self.assert_refused(
            {"broker/state/CMakeLists.txt": "backplane_room(broker_state SOURCES a.cpp)\n",
             "broker/CMakeLists.txt": "backplane_room(broker SOURCES a.cpp)\n"
                                      'target_sources(backplane_broker PRIVATE\n'
                                      '  "${CMAKE_SOURCE_DIR}/broker/state/b.cpp")\n'},
            "broker/CMakeLists.txt:2: backplane_broker must compile only sources of broker, "
            "lists broker/state/b.cpp, which belongs to broker/state")

    def test_a_target_may_compile_folders_below_and_generated_sources(self):
        sources = 'egress/a.cpp "${CMAKE_CURRENT_SOURCE_DIR}/b.cpp" "${CMAKE_CURRENT_BINARY_DIR}/c.cpp"'
        self.assertEqual(self.found_with(
            {"broker/CMakeLists.txt": f"backplane_room(broker SOURCES {sources})\n"}), [])

    def test_the_sources_of_one_folder_go_into_one_library(self):
        self.assert_refused(
            {"broker/CMakeLists.txt": "backplane_room(broker SOURCES a.cpp egress/b.cpp)\n"
                                      "backplane_room(egress SOURCES egress/c.cpp egress/d.cpp)\n"},
            "broker/CMakeLists.txt:2: the sources of broker/egress must go into one library, "
            "lists broker/egress/c.cpp in backplane_egress, but others go into backplane_broker")


if __name__ == "__main__":
    unittest.main()
