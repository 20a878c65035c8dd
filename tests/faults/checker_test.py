"""The checker finds each kind of offence, and finds none where a promise was kept."""

import json
import unittest

from checker import Account, Options, Publications, Rules, Truth, check, matches
from records import Lost, Notice, Recovered, Reset, Resumed, Seen, parse

ORIGIN = 0xAAAA
OLD, NEW = (ORIGIN << 32) + 1, (ORIGIN << 32) + 2  # two incarnations of one broker
OTHER = (0xBBBB << 32) + 1                         # another broker


def seen(offset, topic="t.a", stream=OLD, position=None, text=None, **options):
    return Seen(topic, stream, offset, position or offset, text or f"{topic} {stream:x} {offset}", **options)


def run(*offsets, **options):
    return [seen(offset, **options) for offset in offsets]


def lost(first, last, topic="t.a", stream=OLD, reason="history_gone"):
    return Lost(topic, stream, first, last, reason)


class Checker(unittest.TestCase):
    def check(self, records, everything=None, history=(), publications=(), rules=Rules(), died="", **options):
        """The row of a subscriber with these records, beside one that saw everything in order."""
        truth = Truth()
        for stream, events in dict(history).items():
            truth.add_history(stream, events)
        for event in everything or ():
            truth.add(event)
        self.verdict = check([Account("it", list(records), rules, died)], list(publications), truth, Options(**options))
        [row] = self.verdict.rows
        return row

    def assert_kept(self, row):
        self.assertFalse(self.verdict.offences)
        self.assertFalse(row.broken)

    def assert_broken(self, row, **numbers):
        kinds = ("missing", "twice", "out_of_order", "false_losses", "without_reset")
        self.assertEqual({kind: getattr(row, kind) for kind in kinds}, {**dict.fromkeys(kinds, 0), **numbers})
        self.assertTrue(row.broken)
        self.assertTrue(self.verdict.offences)

    # What is kept.

    def test_all_events_in_order_are_no_offence(self):
        row = self.check(run(1, 2, 3), run(1, 2, 3))
        self.assert_kept(row)
        self.assertEqual((row.seen, row.announced, row.resets, row.recovered), (3, 0, 0, None))

    def test_a_gap_accounts_for_its_offsets(self):
        row = self.check([*run(1), lost(2, 3), *run(4)], run(1, 2, 3, 4))
        self.assert_kept(row)
        self.assertEqual((row.seen, row.announced), (2, 2))

    def test_a_gap_without_a_beginning_accounts_for_all_before_it(self):
        self.assert_kept(self.check([lost(0, 3), *run(4)], run(1, 2, 3, 4)))

    def test_a_gap_without_a_beginning_begins_behind_the_gap_before_it(self):
        self.assert_kept(self.check([*run(1), lost(2, 3), lost(0, 5), *run(6)]))

    def test_a_gap_without_an_end_accounts_for_what_its_pattern_matches(self):
        self.assert_kept(self.check([lost(0, 0, topic="t.*"), *run(4)], run(1, 2, 3, 4)))

    def test_a_reset_accounts_for_the_end_of_the_old_stream(self):
        records = [*run(1, 2), Reset(NEW, old=OLD), *run(1, stream=NEW)]
        self.assert_kept(self.check(records, [*run(1, 2, 3), *run(1, stream=NEW)]))
        by_topic = Rules(resets_by_topic=True)
        records = [*run(1, 2), Reset(NEW, "t.a"), *run(1, stream=NEW)]
        row = self.check(records, [*run(1, 2, 3), *run(1, stream=NEW)], rules=by_topic)
        self.assert_kept(row)
        self.assertEqual(row.resets, 1)

    def test_a_reset_accounts_for_topics_that_were_never_read(self):
        records = [*run(1, 2), Reset(NEW, "t.a"), *run(1, stream=NEW)]
        self.assert_kept(self.check(records, [seen(1, topic="t.b")], rules=Rules(resets_by_topic=True)))

    def test_a_new_topic_needs_no_reset_of_its_own(self):
        records = [*run(1), Reset(NEW, "t.a"), *run(1, stream=NEW), *run(1, stream=NEW, topic="t.b")]
        self.assert_kept(self.check(records, rules=Rules(resets_by_topic=True)))

    def test_the_streams_of_two_brokers_are_in_no_order_and_need_no_reset(self):
        records = [seen(1), seen(1, stream=OTHER), seen(2), seen(2, stream=OTHER)]
        self.assert_kept(self.check(records, rules=Rules(position_order=True)))

    def test_a_late_event_may_be_out_of_order(self):
        records = [seen(1), seen(1, topic="t.b", position=3), seen(2, position=2, late=True)]
        row = self.check(records, rules=Rules(position_order=True))
        self.assert_kept(row)
        self.assertEqual(row.late, 1)
        silent = Rules(position_order=True, says_late=False)
        records[-1] = records[-1]._replace(late=False)
        self.assert_kept(self.check(records, rules=silent))
        self.assert_broken(self.check(records, rules=silent, late_unsaid=False), out_of_order=1)

    def test_what_its_token_does_not_cover_may_come_again_after_a_new_connection(self):
        self.assert_kept(self.check([*run(1, 2, 3), Resumed(OLD, 1), *run(2, 3, 4)]))

    def test_after_a_new_connection_topics_may_come_one_after_the_other(self):
        records = [seen(1), Resumed(), seen(1, topic="t.b", position=5), seen(2, position=4)]
        self.assert_kept(self.check(records, rules=Rules(position_order=True)))

    def test_slow_consumers_may_lose_what_history_has(self):
        self.assert_kept(self.check([lost(1, 1, reason="slow_consumer"), *run(2)], history={OLD: run(1, 2)}))

    def test_a_kind_that_does_not_ask_for_ends_may_miss_one(self):
        plain = Rules(knows_ends=False)
        everything = [*run(1, 2, 3, 4), *run(1, topic="t.b")]
        self.assert_kept(self.check(run(1, 2), everything, rules=plain))
        self.assert_broken(self.check(run(1, 3), everything, rules=plain), missing=1)

    def test_other_topics_do_not_count(self):
        row = self.check([*run(1), *run(3, topic="other")], [seen(2, topic="other")],
                         wanted=lambda topic: topic != "other")
        self.assert_kept(row)
        self.assertEqual(row.seen, 1)

    def test_an_event_that_was_unconfirmed_may_be_in_two_streams(self):
        event = ("t.a", "x")
        records = [seen(1, text="x"), seen(1, stream=OTHER, text="x")]
        published = [Publications("p", [event])]
        self.assert_kept(self.check(records, publications=published, doubles_allowed=True))
        self.assertEqual(self.verdict.doubles, {"p": 1})

    def test_what_was_acknowledged_just_before_a_kill_is_announced_by_the_reset(self):
        published = [Publications("p", [("t.a", "gone")])]
        self.assert_kept(self.check([*run(1), Reset(NEW, old=OLD)], publications=published))

    # What is broken.

    def test_a_missing_event_is_found_at_the_beginning_in_the_middle_and_at_the_end(self):
        self.assert_broken(self.check(run(2, 3), run(1, 2, 3)), missing=1)
        self.assert_broken(self.check(run(1, 3), run(1, 2, 3)), missing=1)
        self.assert_broken(self.check(run(1, 2), run(1, 2, 3)), missing=1)
        self.assertIn(f"it: missing: t.a {OLD:016x} 3 't.a {OLD:x} 3'", self.verdict.offences)

    def test_a_topic_that_was_never_seen_is_missing(self):
        self.assert_broken(self.check(run(1), run(1, 2, topic="t.b")), missing=2)

    def test_a_stream_that_was_never_seen_is_missing(self):
        self.assert_broken(self.check(run(1), run(1, 2, stream=OTHER)), missing=2)

    def test_an_event_that_nobody_saw_between_two_others_is_missing(self):
        self.assert_broken(self.check(run(1, 3)), missing=1)

    def test_a_gap_accounts_for_no_more_than_it_says(self):
        self.assert_broken(self.check([*run(1), lost(2, 2), *run(4)], run(1, 2, 3, 4)), missing=1)
        self.assert_broken(self.check([*run(1), lost(2, 3, topic="t.b"), *run(4)], run(1, 2, 3, 4)), missing=2)

    def test_a_reset_accounts_for_nothing_that_came_before_or_that_follows(self):
        records = [*run(1, 3), Reset(NEW, old=OLD), *run(1, 3, stream=NEW)]
        self.assert_broken(self.check(records), missing=2)

    def test_a_reset_accounts_for_nothing_of_a_stream_that_goes_on(self):
        records = [*run(1), Reset(OTHER, old=OLD), *run(1, stream=OTHER)]
        self.assert_kept(self.check(records, run(1, 2)))
        self.assert_broken(self.check(records, history={OLD: run(1, 2)}), missing=1)

    def test_a_reset_of_one_topic_or_broker_accounts_for_no_other(self):
        records = [*run(1), *run(1, topic="t.b"), Reset(NEW, "t.a"), *run(1, stream=NEW)]
        self.assert_broken(self.check(records, run(1, 2, topic="t.b"), rules=Rules(resets_by_topic=True)), missing=1)
        records = [*run(1), *run(1, stream=OTHER), Reset(NEW, "t.a"), *run(1, stream=NEW)]
        self.assert_broken(self.check(records, run(1, 2, stream=OTHER)), missing=1)

    def test_an_event_that_comes_twice_is_found(self):
        self.assert_broken(self.check(run(1, 2, 2, 3)), twice=1)
        self.assert_broken(self.check([*run(1, 2), Resumed(), *run(2, 3)]), twice=1)
        self.assert_broken(self.check([*run(1, 2), Resumed(OLD, 2), *run(2, 3)]), twice=1)

    def test_what_may_come_again_may_do_so_once_for_each_connection(self):
        again = [*run(1, 2), Resumed(OLD, 1), *run(2)]
        self.assert_broken(self.check([*again, *run(2, 3)]), twice=1)
        self.assert_kept(self.check([*again, Resumed(OLD, 1), *run(2, 3)]))

    def test_nothing_before_the_beginning_of_the_reading_is_missing(self):
        everything = [seen(offset, position=offset + 10) for offset in (1, 2, 3)]
        self.assert_kept(self.check(everything[2:], everything, after={OLD: 12}))
        self.assert_broken(self.check(everything[2:], everything, after={OLD: 11}), missing=1)

    def test_a_reset_accounts_for_nothing_if_nothing_may_be_lost(self):
        records = [*run(1, 2), Reset(NEW, old=OLD), *run(1, stream=NEW)]
        self.assert_broken(self.check(records, run(1, 2, 3), resets_account=False), missing=1)
        published = [Publications("p", [("t.a", "gone")])]
        self.assert_broken(self.check(records, publications=published, resets_account=False), missing=1)

    def test_a_loss_that_is_announced_twice_is_found(self):
        self.assert_broken(self.check([lost(1, 2), lost(2, 3)]), twice=1)

    def test_a_topic_that_is_out_of_order_is_found(self):
        self.assert_broken(self.check(run(1, 3, 2)), out_of_order=1)

    def test_a_stream_that_is_out_of_order_is_found_if_order_is_promised(self):
        records = [seen(1), seen(1, topic="t.b", position=3), seen(2)]
        self.assert_broken(self.check(records, rules=Rules(position_order=True)), out_of_order=1)
        self.assert_kept(self.check(records))

    def test_an_old_incarnation_after_the_new_one_is_out_of_order(self):
        records = [*run(1), Reset(NEW, old=OLD), *run(1, stream=NEW), *run(2)]
        self.assert_broken(self.check(records), out_of_order=1)

    def test_a_loss_of_what_was_seen_is_found(self):
        self.assert_broken(self.check([*run(1, 2), lost(2, 2), *run(3)]), false_losses=1)
        self.assert_broken(self.check([*run(1), lost(2, 2), seen(2, late=True), *run(3)]), false_losses=1)

    def test_a_loss_of_what_history_has_is_found(self):
        self.assert_broken(self.check([*run(1), lost(2, 2, reason="recovery_timeout"), *run(3)],
                                      history={OLD: run(2, 3)}), false_losses=1)
        self.assert_kept(self.check([*run(1), lost(2, 2), *run(3)], history={OLD: run(3)}))

    def test_a_new_incarnation_without_a_reset_is_found(self):
        self.assert_broken(self.check([*run(1), *run(1, stream=NEW)]), without_reset=1)
        self.assert_broken(self.check([*run(1), *run(1, stream=NEW), Reset(NEW, old=OLD)]), without_reset=1)
        by_topic = Rules(resets_by_topic=True)
        self.assert_broken(self.check([*run(1), Reset(NEW, "t.b"), *run(1, stream=NEW)], rules=by_topic),
                           without_reset=1)

    def test_an_acknowledged_event_that_is_nowhere_is_missing(self):
        published = [Publications("p", [("t.a", "gone")])]
        self.assert_broken(self.check(run(1), publications=published), missing=1)
        self.assertIn("acknowledged, and nowhere: 1 events, the first ('t.a', 'gone')", self.verdict.offences)

    def test_an_event_that_is_published_twice_is_found(self):
        event = ("t.a", "x")
        for published in ([Publications("p", [event])], [Publications("p", unknown=[event])]):
            self.check([seen(1, text="x"), seen(2, text="x")], publications=published, doubles_allowed=True)
            self.assertRegex(self.verdict.offences[0], "^p: published twice: 'x' is t.a .* 1, t.a .* 2$")
            self.check([seen(1, text="x"), seen(1, stream=OTHER, text="x")], publications=published)
            self.assertRegex(self.verdict.offences[0], "^p: published twice: ")

    def test_a_refused_event_that_is_published_is_found(self):
        self.check([seen(1, text="x")], publications=[Publications("p", refused=[("t.a", "x")])])
        self.assertEqual(self.verdict.offences, ["p: refused, and published: t.a 'x'"])

    def test_two_events_with_one_offset_are_found(self):
        self.check([seen(1, text="x")], [seen(1, text="y")])
        self.assertRegex(self.verdict.offences[0], "both 'y' and 'x'")

    def test_a_subscriber_that_died_is_found(self):
        self.assert_broken(self.check(run(1), died="exit code -6"))

    def test_the_table_has_every_sum_and_the_first_offences(self):
        published = [Publications("p", [("t.a", "x")], [("t.a", "r")], [("t.a", "u")])]
        self.check([seen(1, text="x"), *run(9), lost(10, 11), Recovered(7), Notice("!")], publications=published)
        lines = [line.split() for line in self.verdict.table().splitlines()]
        self.assertIn(["it", "2", "7", "0", "2", "0", "7", "0", "0", "0", "0"], lines)
        self.assertIn(["p", "3", "1", "1", "1", "0"], lines)
        self.assertEqual(sum(": missing: " in offence for offence in self.verdict.offences), 4)


class Records(unittest.TestCase):
    def test_every_kind_of_line_is_read(self):
        stream = f"{OLD:016x}"
        for fields, record in (
                ({"topic": "t", "stream": stream, "position": 9, "offset": 2, "text": "x"}, Seen("t", OLD, 2, 9, "x")),
                ({"topic": "t", "stream": stream, "position": 9, "offset": 2, "text": "x", "late": True},
                 Seen("t", OLD, 2, 9, "x", True)),
                ({"gap": {"topic": "t", "stream": stream, "first": 1, "last": 2, "reason": "r"}},
                 Lost("t", OLD, 1, 2, "r")),
                ({"reset": {"topic": "t", "stream": stream}}, Reset(OLD, "t")),
                ({"reset": {"old": f"{NEW:016x}", "stream": stream}}, Reset(OLD, None, NEW)),
                ({"resumed": {"stream": stream, "position": 3}}, Resumed(OLD, 3)),
                ({"resumed": {}}, Resumed()), ({"recovered": 4}, Recovered(4)),
                ({"wait": "broker"}, Notice('{"wait": "broker"}'))):
            self.assertEqual(parse(json.dumps(fields)), record)

    def test_patterns(self):
        for pattern, topic, wanted in (
                ("a", "a", True), ("a", "a.b", False), ("a.*", "a.b", True), ("a.*", "a", False),
                ("a.>", "a.b.c", True), ("a.>", "a", False), (">", "a", True), ("*.b", "a.b", True)):
            self.assertEqual(matches(pattern, topic), wanted, (pattern, topic))


if __name__ == "__main__":
    unittest.main()
