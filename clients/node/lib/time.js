// Monotonic time, in milliseconds, and waiting.

export const now = () => performance.now();

/** { done, cancel }: `done` resolves after `ms`. Keeps the process alive until then, unless it is cancelled. */
export function sleep(ms) {
  let timer;
  const done = new Promise((resolve) => { timer = setTimeout(resolve, Math.max(0, ms)); });
  return { done, cancel: () => clearTimeout(timer) };
}

/** Lets the event loop do its other work. */
export const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Like sleep(), but does not keep the process alive. */
export function unheldSleep(ms) {
  let timer;
  const done = new Promise((resolve) => { timer = setTimeout(resolve, Math.max(0, ms)).unref(); });
  return { done, cancel: () => clearTimeout(timer) };
}
