// Runs Chromium for web_harness.py: one line of JSON per command, [name, ...arguments], and one per reply.

import { chromium } from "playwright-core";

import { serve } from "../integration/command_loop.mjs";

const [executablePath, hostRules, timeout] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath,
  args: ["--disable-dev-shm-usage", `--host-resolver-rules=${hostRules}`],
  timeout: Number(timeout),
});
const pages = new Map();

const commands = {
  version: () => browser.version(),
  async open(name, options) {
    const context = await browser.newContext(options);
    context.setDefaultTimeout(Number(timeout));
    const page = await context.newPage();
    const problems = [];
    page.on("console", (message) => {
      if (message.type() === "error") problems.push(`console: ${message.text()} (${message.location().url})`);
    });
    page.on("pageerror", (error) => problems.push(`uncaught: ${error}`));
    // Chromium reports blocked violations of the policy on the console, too; report-only ones to the page alone.
    await context.exposeBinding("backplaneTestViolation", (_, what) => problems.push(`policy: ${what}`));
    await context.addInitScript(() => document.addEventListener("securitypolicyviolation",
      (event) => globalThis.backplaneTestViolation(`${event.violatedDirective} ${event.blockedURI}`)));
    pages.set(name, { page, problems });
  },
  async goto(name, url) {
    const response = await pages.get(name).page.goto(url, { waitUntil: "load" });
    return { status: response.status(), headers: response.headers() };
  },
  // The expression may be a function of the argument.
  evaluate: (name, expression, argument) => pages.get(name).page.evaluate(within(expression), argument),
  wait: async (name, expression, argument) =>
    (await pages.get(name).page.waitForFunction(within(expression), argument, { polling: 50 })).jsonValue(),
  locate: (name, selector, method, ...args) => pages.get(name).page.locator(selector)[method](...args),
  press: (name, key) => pages.get(name).page.keyboard.press(key),
  type: (name, text) => pages.get(name).page.keyboard.type(text),
  resize: (name, width, height) => pages.get(name).page.setViewportSize({ width, height }),
  emulate: (name, media) => pages.get(name).page.emulateMedia(media),
  async screenshot(name, path, fullPage) {
    await pages.get(name).page.screenshot({ path, fullPage });
  },
  problems: (name) => pages.get(name).problems,
  async close_page(name) {
    await pages.get(name).page.context().close();
    pages.delete(name);
  },
  close: () => browser.close(),
};

// Turns a function's text into a function of the page; Playwright would take it for a string.
const within = (expression) => (/^\s*(async\s*)?\(?[\w\s,{}[\]]*\)?\s*=>/.test(expression)
  ? new Function("argument", `return (${expression})(argument)`) : expression);

await serve(commands);
await browser.close();
