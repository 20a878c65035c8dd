"""Promises that are broken today: by scenario, the kind of failure, a number in the list of failures found in use.
These tests are run and must fail; whoever fixes one removes its entry. Those in SOMETIMES are run, and are skipped with
their offences if they fail."""

SOMETIMES = {
    # On a busy machine, a program may need more than a second to find the first broker.
    "nothing_of_two": 40,
    "stalled_sub_egress_of_A": 41,
}

KNOWN_FAILURES = {
    # A list of brokers separates publishers from readers.
    "cut_gateway_ingress_of_A_of_two": 40,
    "cut_pub_ingress_of_A_of_two": 40,
    "first_killed_and_restarted": 40,
    "first_late": 40,
    "first_paused": 40,
    "refused_gateway_egress_of_A_of_two": 40,
    "refused_gateway_ingress_of_A_of_two": 40,
    "refused_pub_ingress_of_A_of_two": 40,
    "refused_sub_egress_of_A_of_two": 40,
    "stalled_gateway_control_of_A_of_two": 40,
    "stalled_gateway_egress_of_A_of_two": 40,
    "stalled_gateway_ingress_of_A_of_two": 40,
    "stalled_pub_control_of_A_of_two": 40,
    "stalled_pub_ingress_of_A_of_two": 40,
    "stalled_sub_egress_of_A_of_two": 40,
    # Subscribers of Python and Node abort, or discard what they had received.
    "behind_node_when_cut": 41,
    "behind_node_when_restarted": 41,
    "behind_python_when_cut": 41,
    "behind_python_when_restarted": 41,
    # The first events of the other broker are lost.
    "both_restarted": 42,
    "first_killed": 42,
    "first_killed_at_15000": 42,
    # A reset is missing or late.
    "each_killed_and_restarted_in_turn": 43,
    # One connection of Server-Sent Events gets events twice.
    "sse_resumed": 44,
    # What history has is given up after 1 s.
    "behind_cpp_when_cut": 45,
    "gateway_paused_at_15000": 45,
    "recovery_slow": 45,
    # An event far above the broker's limit blocks its publisher.
    "too_large_node": 46,
    "too_large_python": 46,
    # A source that was killed repeats what was on its way.
    "file_source_killed": 47,
    # A stranger's sequence in a publisher's session.
    "session_forged": 48,
    # How programs end.
    "broker_restarted": 49,
    "draining_node": 49,
    "draining_python": 49,
    "line_clients_that_have_gone": 49,
    "publish_at_its_end": 49,
    # Not on the list: json of the gateway and of `backplane sub` does not say that an event is late.
    "order_at_the_gateway": "late",
}
