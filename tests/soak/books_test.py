"""The soak's bookkeeping finds what it is there to find."""

import unittest

from ledger import Books, Ledger


class TheLedger(unittest.TestCase):
    def setUp(self):
        self.books = Books()
        self.ledger = Ledger(self.books, "lines")

    def offsets(self, *offsets, topic="t", stream=1):
        for offset in offsets:
            self.ledger.event(stream, topic, offset)

    def test_everything_in_order_is_no_offence(self):
        self.offsets(5, 6, 7)
        self.offsets(1, 2, topic="u")
        self.offsets(1, 2, stream=2)
        self.assertEqual(self.books.offences, [])
        self.assertEqual(self.books.counts["lines"]["events"], 7)

    def test_a_hole_is_an_offence_unless_it_is_announced(self):
        self.offsets(5, 7)
        self.assertEqual(self.books.offences, ["lines: t 7 after 5 of stream 1, nothing announced"])
        self.ledger.gap(1, "t", 8, 10, "slow_consumer")
        self.offsets(11)
        self.assertEqual(len(self.books.offences), 1)
        self.assertEqual(self.books.counts["lines"]["announced"], 3)

    def test_an_announcement_that_leaves_a_hole_is_an_offence(self):
        self.offsets(5)
        self.ledger.gap(1, "t", 7, 8, "slow_consumer")
        self.assertEqual(self.books.offences, ["lines: t: 7 to 8 announced after 5 of stream 1"])

    def test_a_repeat_is_an_offence_unless_the_client_resumes(self):
        self.offsets(5, 6, 5)
        self.assertEqual(self.books.offences, ["lines: t 5 after 6 of stream 1"])
        self.ledger = Ledger(self.books, "sse", may_repeat=True)
        self.offsets(5, 6, 5, 7)
        self.assertEqual(len(self.books.offences), 1)
        self.offsets(9)
        self.assertEqual(len(self.books.offences), 2)

    def test_with_every_events_may_be_missing_but_not_come_back(self):
        self.ledger = Ledger(self.books, "lines", may_skip=True)
        self.offsets(5, 9)
        self.assertEqual(self.books.offences, [])
        self.offsets(7)
        self.assertEqual(len(self.books.offences), 1)


if __name__ == "__main__":
    unittest.main()
