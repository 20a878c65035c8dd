#pragma once
// The subcommands of the program.

#include "cli/command_line.hpp"

namespace backplane::cli {

/// Each adds one subcommand to `program`, with its options and what it runs. Each is defined in a file of its
/// own.
void add_audit(const Command& program);
void add_bench(const Command& program);
void add_broker(const Command& program);
void add_cluster(const Command& program);
void add_config(const Command& program);
void add_context(const Command& program);
void add_doctor(const Command& program);
void add_gateway(const Command& program);
void add_get(const Command& program);
void add_keys(const Command& program);
void add_link(const Command& program);
void add_policy(const Command& program);
void add_pub(const Command& program);
void add_publish(const Command& program);
void add_replay(const Command& program);
void add_serve(const Command& program);
void add_store(const Command& program);
void add_sub(const Command& program);
void add_top(const Command& program);
void add_topics(const Command& program);
void add_up(const Command& program);
/// A subcommand of `broker`.
void add_drain(const Command& broker);
/// A subcommand of `store`.
void add_store_export(const Command& store);

}  // namespace backplane::cli
