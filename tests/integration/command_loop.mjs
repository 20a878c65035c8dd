// The loop of a driver: reads one command per line from standard input, [name, ...arguments] in JSON, and writes one
// line in reply.
import { createInterface } from "node:readline";

// Calls commands[name](...arguments) for each line, until the input ends. `describe` turns an error into a reply.
export async function serve(commands, describe = (error) => ({ error: error.name, text: error.message })) {
  for await (const line of createInterface({ input: process.stdin })) {
    const [name, ...args] = JSON.parse(line);
    let answer;
    try {
      answer = { value: await commands[name](...args) ?? null };
    } catch (error) {
      answer = describe(error);
    }
    console.log(JSON.stringify(answer));
  }
}
