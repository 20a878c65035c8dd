#pragma once
// Corrects what the program that started this one may have left behind.

#include <optional>

namespace backplane {

/// Gives the process a usable environment, whatever its parent's was. Call it first in main, before any
/// thread starts:
/// - no signal is blocked, and none is ignored (with SIGCHLD ignored, no exit code of a child is available)
///   except SIGHUP, which nohup ignores on purpose;
/// - a closed standard stream is replaced, because the next socket would get its number. Reading from or
///   writing to the replacement is an error;
/// - the umask does not hide new files from their owner or let everybody write to them.
void correct_inherited_state() noexcept;

/// Process 1 of a container inherits orphans and must reap them, and the kernel ignores signals to it whose
/// action is the default. If this process is process 1, it forks, forwards signals to the child, and reaps
/// whatever ends. @returns the child's exit code (128 plus the signal's number if a signal killed it) in
/// process 1; nothing in the child, and in any other process. Call it before any thread starts.
std::optional<int> run_as_init() noexcept;

}  // namespace backplane
