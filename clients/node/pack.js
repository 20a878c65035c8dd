// Before `npm pack`: copies the .proto files of the source tree into the package. With --clean, after it: removes them.
import { cpSync, rmSync } from "node:fs";

const target = new URL("proto/", import.meta.url);
rmSync(target, { recursive: true, force: true });
if (!process.argv.includes("--clean")) {
  cpSync(new URL("../../proto/backplane/", import.meta.url), new URL("backplane/", target), { recursive: true });
}
